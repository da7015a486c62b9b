"""Purge a ledger: runs that ended long ago, what belongs to no run, and partitions that are left without a run."""

from __future__ import annotations

from collections.abc import Iterator

from backout.ledger.partitioning import LOCK_SECONDS, drop_partitions
from backout.ledger.partitions import list_partitions_before
from backout.ledger.retention import BATCH, Purged, Wanted, foresee_runs, remove_runs
from backout.ledger.session import Ledger
from backout.ledger.strays import foresee_strays, remove_strays


def purge_ledger(
    ledger: Ledger,
    wanted: Wanted,
    *,
    batch: int = BATCH,
    limit: int | None = None,
    pause_seconds: float = 0.0,
    lock_seconds: float = LOCK_SECONDS,
) -> Iterator[Purged]:
    """Remove what is old; tell after each batch what went. See `remove_runs`.

    Where only the age chooses, strays go too. Where the entries are partitioned, those in partitions that are older as
    a whole are then not removed one by one: their partition is dropped once no run of it is left. When it cannot be
    dropped, because a run of that time stays or somebody holds the table, they go one by one as strays. Between the two
    they are entries of no run, which nobody reads.
    """
    if not wanted.is_everything or limit is not None:
        yield from remove_runs(ledger, wanted, batch=batch, limit=limit, pause_seconds=pause_seconds)
        return
    old = []
    if ledger.dialect.has_partitions:
        old = ledger.read(lambda connection: list_partitions_before(connection, wanted.finished_before))
    end = old[-1].ends_at if old else None
    yield from remove_runs(ledger, wanted, batch=batch, pause_seconds=pause_seconds, entries_from=end)
    for _, entries in drop_partitions(ledger, before=wanted.finished_before, lock_seconds=lock_seconds) if old else ():
        yield Purged(entries=entries, partitions=1)
    yield from remove_strays(ledger, before=wanted.finished_before, batch=batch)


def foresee_purge(ledger: Ledger, wanted: Wanted, *, batch: int = BATCH, limit: int | None = None) -> Iterator[Purged]:
    """Tell what `purge_ledger` would remove, but for partitions; change and lock nothing."""
    yield from foresee_runs(ledger, wanted, batch=batch, limit=limit)
    if wanted.is_everything and limit is None:
        yield from foresee_strays(ledger, before=wanted.finished_before, batch=batch)
