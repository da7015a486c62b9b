"""Read whole runs, many at once: all that the ledger has of them, for an archive. Nothing here changes a row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, select

from backout.identifiers import RunId
from backout.jsontext import JsonValue
from backout.ledger.models import entry, review, run, step
from backout.ledger.queries import entry_record, review_record, run_record, step_record
from backout.ledger.records import EntryRecord, ReviewRecord, RunRecord, StepRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeRun:
    """A run with all its rows, as recorded: nothing is masked.

    Attributes:
        steps: by round and position.
        entries: in the order in which they were written.
        reviews: oldest first.
    """

    run: RunRecord
    plan: JsonValue
    steps: tuple[StepRecord, ...]
    entries: tuple[EntryRecord, ...]
    reviews: tuple[ReviewRecord, ...]


def read_whole_runs(connection: Connection, run_ids: Sequence[RunId]) -> list[WholeRun]:
    """Return the runs that there are of these, oldest first; five statements however many they are."""
    runs = [run.c[name] for name in RunRecord.__dataclass_fields__]
    found = connection.execute(select(*runs).where(run.c.id.in_(run_ids)).order_by(run.c.id)).all()
    plans = connection.execute(select(run.c.id, run.c.plan).where(run.c.id.in_(run_ids)))
    plan_of: dict[str, JsonValue] = {row.id: row.plan for row in plans}
    steps = _by_run(connection, _of(step, StepRecord, run_ids).order_by(step.c.round, step.c.position))
    entries = _by_run(connection, _of(entry, EntryRecord, run_ids).order_by(entry.c.id))
    reviews = _by_run(connection, _of(review, ReviewRecord, run_ids).order_by(review.c.id))
    return [
        WholeRun(
            run=run_record(row),
            plan=plan_of[row.id],
            steps=tuple(map(step_record, steps[row.id])),
            entries=tuple(map(entry_record, entries[row.id])),
            reviews=tuple(map(review_record, reviews[row.id])),
        )
        for row in found
    ]


def _of(table: Table, record: type[Any], run_ids: Sequence[RunId]) -> Select[Any]:
    columns = [table.c[name] for name in record.__dataclass_fields__]
    return select(*columns).where(table.c.run_id.in_(run_ids))


def _by_run(connection: Connection, statement: Select[Any]) -> dict[str, list[Row[Any]]]:
    found: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(statement):
        found[row.run_id].append(row)
    return found
