"""Which of many runs are there already, by source event or by id; nothing here changes a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Connection, literal, select

from backout.identifiers import RunId
from backout.ledger.cursors import RecordingConnection
from backout.ledger.dialects import as_committed
from backout.ledger.models import run

LISTED: Final = 500
"""How many values stand in one statement."""


def find_runs_of_events(connection: Connection, pipeline: str, source_event_ids: Sequence[str]) -> dict[str, RunId]:
    """Return the runs of source events, by event; those that have none are left out."""
    return _of_events(connection, pipeline, source_event_ids, is_refused=False)


def find_first_runs_of_events(
    connection: RecordingConnection, pipeline: str, source_event_ids: Sequence[str]
) -> dict[str, RunId]:
    """Return the runs for which `create_runs` was refused, by event; see `queries.find_first_run_of_event`."""
    return _of_events(connection, pipeline, source_event_ids, is_refused=True)


def find_known_ids(connection: Connection, run_ids: Sequence[RunId]) -> set[RunId]:
    """Return those of some ids that a run has."""
    statements = (select(run.c.id).where(is_any) for is_any in _each(run.c.id, run_ids))
    return {RunId(row[0]) for statement in statements for row in connection.execute(statement).all()}


def _of_events(
    connection: RecordingConnection, pipeline: str, source_event_ids: Sequence[str], *, is_refused: bool
) -> dict[str, RunId]:
    found: dict[str, RunId] = {}
    for is_any in _each(run.c.source_event_id, source_event_ids):
        statement = select(run.c.source_event_id, run.c.id).where(run.c.pipeline == pipeline, is_any)
        statement = as_committed(connection, statement) if is_refused else statement
        found |= {row[0]: RunId(row[1]) for row in connection.execute(statement).all()}
    return found


def _each(column: Column[Any], values: Sequence[str]) -> Iterator[ColumnElement[bool]]:
    # Not a list of plain values: their number changes the text of a statement after it was compiled, which only
    # SQLAlchemy's own connections can do.
    for start in range(0, len(values), LISTED):
        yield column.in_([literal(value, column.type) for value in values[start : start + LISTED]])
