"""Follow the entries of all runs with a cursor: everything that was committed, at least once.

The trap of every such reader: ids are given out before the commit. A reader that has seen entry 6 and remembers "6"
never sees entry 5, whose transaction commits a moment later. The databases have no common means to say which ids are
still on their way, but each missing id says so itself: a hole among fresh entries is a transaction that is not over, or
one that was rolled back. So holes are remembered and looked at again until they are filled, or too old; and the cursor
that a reader keeps stays in front of the oldest of them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from backout.ledger import following, queries
from backout.ledger.following import FollowedEntry
from backout.ledger.records import EntryRecord
from backout.ledger.session import Ledger, LedgerConnection
from backout.pipelines.engine import current_engine

BATCH: Final = 500
"""Entries that one look takes at most."""
LATE: Final = timedelta(minutes=5)
"""A transaction that is open for longer than this after it wrote an entry may be missed by those who follow."""
FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 1.0
PAUSE_GROWTH: Final = 1.5


def follow(
    *, after_id: int | None = None, pipeline: str | None = None, timeout: float | None = None
) -> FollowedEntries:
    """Return the entries of all runs as they are committed, of this process's ledger.

    Args:
        after_id: a `cursor` that was kept, 0 for everything that the ledger has; `None`: from now on.
        pipeline: only of runs of this pipeline.
        timeout: seconds without an entry after which it ends, 0 for what is there now; `None`: it never ends.

    Raises:
        ConfigurationError: no Celery app with backout is configured in this process.
    """
    follower = Follower(current_engine().ledger, after_id=after_id, pipeline=pipeline)
    return FollowedEntries(follower, timeout_seconds=timeout)


class FollowedEntries(Iterator[EntryRecord]):
    """The entries of all runs, each at least once, nearly in the order of their ids.

    An entry whose transaction took longer comes after entries with higher ids. A loop that has ended by its timeout, or
    by an error because the database was away, may be begun again and goes on where it was.
    """

    def __init__(self, follower: Follower, *, timeout_seconds: float | None) -> None:
        self._follower = follower
        self._timeout_seconds = timeout_seconds

    def __next__(self) -> EntryRecord:
        """Return the next entry; wait for it."""
        found = self._follower.take(timeout_seconds=self._timeout_seconds)
        if found is None:
            raise StopIteration
        return found.entry

    @property
    def cursor(self) -> int:
        """Where to go on after a restart (`after_id`): keep it when the entry in hand is dealt with.

        Not simply that entry's id: it stays in front of entries that may still come late. What came after it is told
        once more.
        """
        return self._follower.cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hole:
    """Ids that nobody has seen, first and last included, and until when they may still come."""

    first: int
    last: int
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What one look has found."""

    late: Sequence[FollowedEntry]
    new: Sequence[FollowedEntry]
    now: datetime


class Follower:
    """Reads what is new in a ledger. See `follow`."""

    def __init__(self, ledger: Ledger, *, after_id: int | None, pipeline: str | None) -> None:
        self._ledger = ledger
        self._pipeline = pipeline
        self._waiting: deque[FollowedEntry] = deque()
        self._holes: list[_Hole] = []
        self._last_id = after_id if after_id is not None else self._skip_to_now()

    @property
    def cursor(self) -> int:
        """The id up to which everything was taken, and nothing can come any more."""
        untaken = [hole.first for hole in self._holes] + [one.entry.id for one in self._waiting]
        return min(untaken) - 1 if untaken else self._last_id

    def take(self, *, timeout_seconds: float | None) -> FollowedEntry | None:
        """Return the next entry; `None` when none has come for this long."""
        ends_at = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        pause_seconds = FIRST_PAUSE_SECONDS
        while not self._waiting:
            is_full = self._look()
            if self._waiting or is_full:
                continue
            left = None if ends_at is None else ends_at - time.monotonic()
            if left is not None and left <= 0:
                return None
            time.sleep(pause_seconds if left is None else min(pause_seconds, left))
            pause_seconds = min(pause_seconds * PAUSE_GROWTH, LONGEST_PAUSE_SECONDS)
        return self._waiting.popleft()

    def _look(self) -> bool:
        """Read what is new and what came late; return whether there may be more at once."""
        look = self._ledger.read(self._read)
        self._holes = [
            left
            for hole in self._holes
            if hole.until > look.now
            for left in _without(hole, sorted(one.entry.id for one in look.late))
        ]
        self._keep(look.late)
        self._note_holes(self._last_id, look.new, look.now)
        if look.new:
            self._last_id = look.new[-1].entry.id
        self._keep(look.new)
        return BATCH in (len(look.late), len(look.new))

    def _read(self, connection: LedgerConnection) -> _Look:
        # The late ones first: what commits between the two statements then has a hole of its own, or is new.
        ranges = [(hole.first, hole.last) for hole in self._holes]
        late = following.list_entries_between(connection, ranges, limit=BATCH)
        new = following.list_entries_after(connection, self._last_id, limit=BATCH)
        return _Look(late=late, new=new, now=queries.read_clock(connection))

    def _keep(self, found: Iterable[FollowedEntry]) -> None:
        # Not left out by the query: every entry must be seen, or the others would look like holes.
        self._waiting += [one for one in found if self._pipeline in (None, one.pipeline)]

    def _note_holes(self, previous_id: int, found: Sequence[FollowedEntry], now: datetime) -> None:
        """Remember the ids that are missing in front of fresh entries: whoever got them, got them before those."""
        for one in found:
            until = one.entry.at + LATE
            if one.entry.id > previous_id + 1 and until > now:
                self._holes.append(_Hole(first=previous_id + 1, last=one.entry.id - 1, until=until))
            previous_id = one.entry.id

    def _skip_to_now(self) -> int:
        """Return the newest id; what is on its way to the ledger now will be taken."""

        def read(connection: LedgerConnection) -> _Look:
            newest = following.list_last_entries(connection, limit=BATCH)
            return _Look(late=(), new=newest, now=queries.read_clock(connection))

        look = self._ledger.read(read)
        if not look.new:
            return 0
        self._note_holes(look.new[0].entry.id, look.new[1:], look.now)
        return look.new[-1].entry.id


def _without(hole: _Hole, found_ids: Sequence[int]) -> Iterator[_Hole]:
    """Return what is left of a hole when some entries have come; their ids in order."""
    first = hole.first
    for found_id in found_ids:
        if first <= found_id <= hole.last:
            if found_id > first:
                yield replace(hole, first=first, last=found_id - 1)
            first = found_id + 1
    if first <= hole.last:
        yield replace(hole, first=first)
