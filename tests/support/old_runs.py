"""Runs that finished long ago, written directly with rows in all tables."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, func, insert, select

from backout.events import Event
from backout.identifiers import RunId, first_run_id_at
from backout.ledger.models import entry, metadata, review, run, step
from backout.ledger.session import Ledger
from backout.states import ReviewReason, RunState, StepState
from tests.support.ledgers import LONG_AGO, key_of, put_run, put_step

A_DAY: Final = timedelta(days=1)
TABLES: Final = (run, step, entry, review)


def old_id(number: int, at: datetime = LONG_AGO) -> RunId:
    """Return the id of a run that was enqueued at an instant; those of the same instant sort by their numbers."""
    return RunId(str(UUID(int=UUID(first_run_id_at(at)).int + number)))


def put_old_run(ledger: Ledger, number: int, *, at: datetime = LONG_AGO, **values: Any) -> RunId:
    """Write a run that was enqueued and finished at an instant: with a step, two entries and a decided review.

    Args:
        ledger: any.
        number: makes its id.
        at: when.
        values: `step`, `review` and `entry` are columns of these; the others are columns of the run.
    """
    of_step, of_review = values.pop("step", {}), values.pop("review", {})
    state = values.pop("state", RunState.SUCCEEDED)
    with ledger.transaction() as connection:
        run_id = put_run(connection, id=old_id(number, at), state=state, **{"finished_at": at, **values})
        key = key_of(run_id)
        put_step(connection, key, **{"state": StepState.SUCCEEDED, "external_ids": {}, **of_step})
        put_entries(connection, run_id, at=at)
        connection.execute(insert(review).values({**_decided(run_id), **of_review}))
    return run_id


def put_entries(
    connection: Connection,
    run_id: RunId | None,
    *,
    at: datetime = LONG_AGO,
    events: Iterable[Event] = (Event.ATTEMPT_STARTED, Event.STEP_SUCCEEDED),
) -> None:
    """Write what happened to a run, or to none."""
    for event in events:
        connection.execute(insert(entry).values(at=at, run_id=run_id, event=event.value, actor="tests"))


def _decided(run_id: RunId) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "round": 1,
        "reason": ReviewReason.MAY_HAVE_DUPLICATED.value,
        "evidence": {},
        "opened_at": LONG_AGO,
        "decision": "done",
        "decided_at": LONG_AGO,
    }


OPEN: Final = {"decision": None, "decided_at": None}
"""A review that nobody has decided."""


def count_rows(ledger: Ledger) -> dict[str, int]:
    """Return how many rows each table has."""
    return {
        table.name.removeprefix("backout_"): ledger.read(
            lambda connection: connection.execute(select(func.count()).select_from(table)).scalar_one()  # noqa: B023 - now
        )
        for table in metadata.sorted_tables
    }


def find_ids(ledger: Ledger) -> list[RunId]:
    """Return the runs that there are, oldest first."""
    return ledger.read(
        lambda connection: [RunId(found) for found in connection.scalars(select(run.c.id).order_by(run.c.id))]
    )
