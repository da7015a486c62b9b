"""Remove old entries that belong to no run: messages that were refused, and what came when its run had gone already."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection, CursorResult, delete, func, select

from backout.identifiers import RunId, first_run_id_at
from backout.ledger.models import entry, run
from backout.ledger.retention import BATCH, FIRST, Purged
from backout.ledger.session import Ledger


def remove_strays(ledger: Ledger, *, before: datetime, batch: int = BATCH) -> Iterator[Purged]:
    """Remove entries that named no run, and entries whose run is not there any more.

    Args:
        ledger: any.
        before: aware UTC; what was written at this very instant stays.
        batch: the most entries, or the entries of the most runs, in one transaction.
    """
    for ids in _nameless(ledger, before, batch):
        yield Purged(stray_entries=ledger.repeat(lambda: _remove_entries(ledger, ids)))  # noqa: B023 - now
    for runs in _bereft(ledger, before, batch):
        yield Purged(stray_entries=ledger.repeat(lambda: _remove_of_runs(ledger, runs, before)))  # noqa: B023 - now


def foresee_strays(ledger: Ledger, *, before: datetime, batch: int = BATCH) -> Iterator[Purged]:
    """Tell what `remove_strays` would remove; change nothing."""
    for ids in _nameless(ledger, before, batch):
        yield Purged(stray_entries=len(ids))
    for runs in _bereft(ledger, before, batch):
        yield Purged(stray_entries=ledger.read(lambda connection: _count_of_runs(connection, runs, before)))  # noqa: B023 - now


def _nameless(ledger: Ledger, before: datetime, batch: int) -> Iterator[list[int]]:
    """Go through the entries that name no run, oldest first."""
    after: int | None = 0
    while after is not None:
        start = after
        page = ledger.read(lambda connection: next_nameless(connection, start, batch))  # noqa: B023 - now
        old = [entry_id for entry_id, at in page if at < before]
        # Ids are given out nearly in the order of time: what follows a young one will be old enough the next time.
        after = page[-1][0] if len(old) == batch else None
        if old:
            yield old


def next_nameless(connection: Connection, after: int, batch: int) -> list[tuple[int, datetime]]:
    """Return the next entries that name no run, as id and time: the index on run and id has them in this order."""
    statement = select(entry.c.id, entry.c.at).where(entry.c.run_id.is_(None), entry.c.id > after)
    return [(row.id, row.at) for row in connection.execute(statement.order_by(entry.c.id).limit(batch))]


def _bereft(ledger: Ledger, before: datetime, batch: int) -> Iterator[list[RunId]]:
    """Go through the runs that entries name, and return those that are not there."""
    after: RunId | None = FIRST
    while after is not None:
        start = after
        page = ledger.read(lambda connection: next_named(connection, start, before, batch))  # noqa: B023 - now
        there = ledger.read(lambda connection: _find_runs(connection, page)) if page else set()  # noqa: B023 - now
        after = page[-1] if len(page) == batch else None
        gone = [run_id for run_id in page if run_id not in there]
        if gone:
            yield gone


def next_named(connection: Connection, after: RunId, before: datetime, batch: int) -> list[RunId]:
    """Return the next runs that entries name, in the order of an index.

    Only up to those that were enqueued at the instant: a run that is just being enqueued is not missed.
    """
    statement = select(entry.c.run_id).where(entry.c.run_id > after, entry.c.run_id < first_run_id_at(before))
    found = connection.execute(statement.distinct().order_by(entry.c.run_id).limit(batch)).scalars()
    return [RunId(run_id) for run_id in found]


def _find_runs(connection: Connection, run_ids: Collection[RunId]) -> set[RunId]:
    return {RunId(found) for found in connection.execute(select(run.c.id).where(run.c.id.in_(run_ids))).scalars()}


def _remove_entries(ledger: Ledger, ids: Collection[int]) -> int:
    with ledger.transaction() as connection:
        removed = connection.execute(delete(entry).where(entry.c.run_id.is_(None), entry.c.id.in_(ids)))
        return cast("CursorResult[Any]", removed).rowcount


def _remove_of_runs(ledger: Ledger, runs: Collection[RunId], before: datetime) -> int:
    with ledger.transaction() as connection:
        removed = connection.execute(delete(entry).where(entry.c.run_id.in_(runs), entry.c.at < before))
        return cast("CursorResult[Any]", removed).rowcount


def _count_of_runs(connection: Connection, runs: Collection[RunId], before: datetime) -> int:
    statement = select(func.count()).select_from(entry).where(entry.c.run_id.in_(runs), entry.c.at < before)
    return connection.execute(statement).scalar_one()
