"""Reads for pages: the newest of what there may be very much of, in bounded numbers; nothing here changes a row."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sqlalchemy import Connection, func, or_, select

from backout.events import Event
from backout.identifiers import RunId
from backout.ledger.models import entry, review, run
from backout.ledger.queries import list_entries, review_record, run_record
from backout.ledger.records import EntryRecord, Fact, ReviewRecord, RunRecord
from backout.states import Direction


def list_last_entries(connection: Connection, run_id: RunId, *, limit: int) -> list[EntryRecord]:
    """Return what happened last to a run, in the order in which it was written."""
    ids = select(entry.c.id).where(entry.c.run_id == run_id).order_by(entry.c.id.desc()).limit(limit)
    first = min(connection.execute(ids).scalars(), default=1)
    # What is written between the two statements is newer than what is read here: the page shows it the next time.
    return list_entries(connection, run_id, after_id=first - 1, limit=limit)


_FACTS: Final = (Event.EXTERNAL_ID_RECORDED, Event.LATE_RESULT, Event.STEP_REOPENED, Event.STEP_SETTLED)


def list_facts(connection: Connection, run_id: RunId) -> list[Fact]:
    """Return what attempts of a run have recorded that its rows may not have any more.

    External ids, one of which may have replaced another, answers that came too late, and what a row said before a
    person changed it.
    """
    columns = (entry.c.position, entry.c.direction, entry.c.event, entry.c.detail)
    found = select(*columns).where(entry.c.run_id == run_id, entry.c.event.in_([event.value for event in _FACTS]))
    return [
        Fact(
            position=row.position,
            direction=None if row.direction is None else Direction(row.direction),
            event=Event(row.event),
            detail=row.detail,
        )
        for row in connection.execute(found)
    ]


def count_entries(connection: Connection, run_id: RunId) -> int:
    """Return how many entries a run has."""
    return connection.execute(select(func.count()).where(entry.c.run_id == run_id)).scalar_one()


def list_open_reviews(
    connection: Connection, *, assignee: str | None = None, after_id: int = 0, limit: int
) -> list[ReviewRecord]:
    """Return reviews that nobody has decided, oldest first.

    Args:
        connection: any.
        assignee: only those that they look after; empty: only those of nobody; `None`: all.
        after_id: only those opened after this review; the last id of one page leads to the next.
        limit: the most to return.
    """
    statement = select(*review.c).where(review.c.decision.is_(None), review.c.id > after_id)
    if assignee is not None:
        of_nobody = or_(review.c.assignee.is_(None), review.c.assignee == "")
        statement = statement.where(review.c.assignee == assignee if assignee else of_nobody)
    return [review_record(row) for row in connection.execute(statement.order_by(review.c.id).limit(limit))]


def find_runs(connection: Connection, run_ids: Collection[RunId]) -> dict[RunId, RunRecord]:
    """Return the runs that there are of these, by id."""
    columns = [run.c[name] for name in RunRecord.__dataclass_fields__]
    found = connection.execute(select(*columns).where(run.c.id.in_(list(run_ids))))
    records = [run_record(row) for row in found]
    return {record.id: record for record in records}
