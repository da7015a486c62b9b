"""Very many runs at once, as rows like one that is there: the pages must not care how many there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import insert, select

from backout.identifiers import RunId, new_run_id
from backout.ledger.models import run
from backout.ledger.session import Ledger
from backout.states import RunState

MANY: Final = 10_000
RARE: Final = 7
"""How many of them have failed, far from the newest."""
PIPELINE: Final = "imported"


def record_many(ledger: Ledger, like: RunId) -> list[RunId]:
    """Record them; return the ids of those that have failed, oldest first."""
    with ledger.transaction() as connection:
        row = dict(connection.execute(select(run).where(run.c.id == like)).mappings().one())
        rows = list(_make_rows(row))
        for start in range(0, len(rows), 1_000):
            connection.execute(insert(run), rows[start : start + 1_000])
    return [one["id"] for one in rows if one["state"] == RunState.FAILED.value]


def _make_rows(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for number in range(MANY):
        state = RunState.FAILED if number < RARE else RunState.SUCCEEDED
        yield {
            **row,
            "id": new_run_id(),
            "pipeline": PIPELINE,
            "source_event_id": f"order-{number}",
            "subject_id": f"customer-{number % 100}",
            "state": state.value,
            "finished_at": row["created_at"],
            "requires_human_review": False,
            "error_summary": "no answer" if state is RunState.FAILED else None,
        }
