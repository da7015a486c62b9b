"""Remove what is old: whole runs, in bounded batches, each in one transaction, and messages that were refused.

A run goes with all its rows, or stays with all of them. Each page of runs is the next stretch of the index on state and
id: ids sort by the time of enqueue, and what finished before an instant was enqueued before it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self, TypeAlias, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, CursorResult, Table, case, delete, func, or_, select

from backout.identifiers import RunId, first_run_id_at
from backout.ledger.dialects import now, skip_locked
from backout.ledger.models import entry, review, run, step
from backout.ledger.session import Ledger
from backout.states import FINAL_RUN_STATES, RunState, StepState

BATCH: Final = 1_000
MOST_IN_BATCH: Final = 10_000
"""Every id is a parameter of a statement; SQLite takes 32,766 of them."""

FIRST: Final = RunId(str(UUID(int=0)))
"""Before every run."""

REMOVABLE: Final = tuple(state for state in RunState if state in FINAL_RUN_STATES)

_UNSETTLED: Final = (StepState.READY, StepState.RUNNING, StepState.RETRY_SCHEDULED, StepState.WAITING)


class Kept(StrEnum):
    """Why a run that is old enough stays."""

    HOLDS_KEY = "holds_key"
    OPEN_REVIEW = "open_review"
    MAY_RUN = "may_run"
    BUSY = "busy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which runs are meant.

    Attributes:
        finished_before: aware UTC; a run that finished at this very instant stays.
        states: final ones.
        pipeline: only of this pipeline; `None`: of all.
        forget_keys: also runs that hold an idempotency key of their own. Afterwards nobody knows that the step has
            happened, and another run under the same key does it again.
    """

    finished_before: datetime
    states: tuple[RunState, ...] = REMOVABLE
    pipeline: str | None = None
    forget_keys: bool = False

    def __post_init__(self) -> None:
        """Refuse a state in which a run may still move on."""
        if not set(self.states) <= FINAL_RUN_STATES:
            raise ValueError(f"only final runs can be removed, not {', '.join(sorted(self.states))}")

    @property
    def is_everything(self) -> bool:
        """It leaves runs out by their age only."""
        return self.pipeline is None and set(self.states) == FINAL_RUN_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """What was removed, or would be.

    Attributes:
        runs: in all.
        states: state to the number of runs that ended in it.
        steps: rows, of all rounds and directions.
        entries: of these runs.
        reviews: decided ones.
        source_events: runs that had one; enqueued again, it starts a new run.
        keys: runs that held an idempotency key of their own, which is forgotten.
        stray_entries: messages that were refused and named no run, and what was told about runs after they had gone.
        partitions: of entries, dropped as a whole; their entries are counted above, those of no run too.
        kept: reason (`holds_key`, `open_review`, `may_run`, `busy`) to the number of runs that are old enough and stay.
    """

    runs: int = 0
    states: Mapping[RunState, int] = field(default_factory=dict)
    steps: int = 0
    entries: int = 0
    reviews: int = 0
    source_events: int = 0
    keys: int = 0
    stray_entries: int = 0
    partitions: int = 0
    kept: Mapping[Kept, int] = field(default_factory=dict)

    def __add__(self, other: Self) -> Self:
        """Return both together."""
        return replace(
            self,
            states=Counter(self.states) + Counter(other.states),
            kept=Counter(self.kept) + Counter(other.kept),
            **{name: getattr(self, name) + getattr(other, name) for name in _NUMBERS},
        )


_NUMBERS: Final = tuple(name for name in Purged.__dataclass_fields__ if name not in ("states", "kept"))

BeforeRemoval: TypeAlias = Callable[[Connection, Sequence[RunId]], None]
"""Is called with the runs that are about to be removed, in the transaction that removes them and before it does. What
it raises keeps them. After a deadlock it is called again."""

_Page: TypeAlias = tuple[RunState, list[RunId]]


def remove_runs(
    ledger: Ledger,
    wanted: Wanted,
    *,
    batch: int = BATCH,
    limit: int | None = None,
    pause_seconds: float = 0.0,
    before_removal: BeforeRemoval | None = None,
    entries_from: datetime | None = None,
) -> Iterator[Purged]:
    """Remove runs with all their rows; tell after each batch what went with it, and what stayed.

    Each batch is one transaction. It locks the runs as an action by hand does, before all else, and passes over those
    that somebody holds: of a person who reopens a run and a batch that removes it, one comes first, and the other finds
    another state or no run.

    Args:
        ledger: any.
        wanted: which runs.
        batch: the most runs in one transaction, up to 10,000.
        limit: the most runs in all; `None`: all.
        pause_seconds: between two batches, for replicas and for others who write.
        before_removal: writes them somewhere else first.
        entries_from: leave entries that are older than this to the caller, who drops their partitions; `None`: remove
            all.
    """

    def remove(state: RunState, page: Sequence[RunId]) -> Purged:
        return ledger.repeat(lambda: _remove_page(ledger, wanted, state, page, before_removal, entries_from))

    return _up_to(limit, _gently(_pages(ledger, wanted, batch=batch), pause_seconds), remove)


def foresee_runs(ledger: Ledger, wanted: Wanted, *, batch: int = BATCH, limit: int | None = None) -> Iterator[Purged]:
    """Tell what `remove_runs` would do, batch by batch; change and lock nothing."""

    def foresee(state: RunState, page: Sequence[RunId]) -> Purged:
        return ledger.read(
            lambda connection: _count_all(connection, judge(connection, wanted, state, page, is_locking=False))
        )

    return _up_to(limit, _pages(ledger, wanted, batch=batch), foresee)


def export_runs(
    ledger: Ledger,
    wanted: Wanted,
    write: BeforeRemoval,
    *,
    batch: int = BATCH,
    limit: int | None = None,
) -> Iterator[Purged]:
    """Hand over the runs that `remove_runs` would remove, and remove nothing; tell what was handed over.

    They are locked meanwhile, so that each is handed over as it was at one moment.
    """

    def export_once(state: RunState, page: Sequence[RunId]) -> Purged:
        with ledger.transaction() as connection:
            judged = judge(connection, wanted, state, page, is_locking=True)
            if judged.removable:
                write(connection, judged.removable)
            return _count_all(connection, judged)

    def export(state: RunState, page: Sequence[RunId]) -> Purged:
        return ledger.repeat(lambda: export_once(state, page))

    return _up_to(limit, _pages(ledger, wanted, batch=batch), export)


def _gently(pages: Iterable[_Page], pause_seconds: float) -> Iterator[_Page]:
    for number, page in enumerate(pages):
        if number:
            time.sleep(pause_seconds)
        yield page


def _up_to(
    limit: int | None,
    pages: Iterable[_Page],
    work: Callable[[RunState, Sequence[RunId]], Purged],
) -> Iterator[Purged]:
    """Work page by page, until no more runs than the limit are done."""
    left = limit
    for state, page in pages:
        rest = page
        while rest:
            # Of these some may stay, and then those behind them get their turn.
            some = rest if left is None else rest[:left]
            rest = rest[len(some) :]
            done = work(state, some)
            yield done
            if left is not None:
                left -= done.runs
                if left <= 0:
                    return


def _pages(ledger: Ledger, wanted: Wanted, *, batch: int) -> Iterator[_Page]:
    """Go through the runs that are old enough, a bounded stretch of an index at a time, whether they go or stay."""
    for state in wanted.states:
        after: RunId | None = FIRST
        while after is not None:
            start = after
            page, after = ledger.read(lambda connection: next_page(connection, wanted, state, start, batch))  # noqa: B023 - now
            if page:
                yield state, page


def next_page(
    connection: Connection, wanted: Wanted, state: RunState, after: RunId, batch: int
) -> tuple[list[RunId], RunId | None]:
    """Return the runs of the next stretch that are old enough, and where the one after it starts; `None`: nowhere.

    What makes a run stay is looked at later: as a condition here, it would make the database go on until it has found a
    whole page of others.
    """
    statement = select(run.c.id, run.c.finished_at).where(
        run.c.state == state.value, run.c.id > after, run.c.id < first_run_id_at(wanted.finished_before)
    )
    if wanted.pipeline is not None:
        statement = statement.where(run.c.pipeline == wanted.pipeline)
    rows = connection.execute(statement.order_by(run.c.id).limit(batch)).all()
    # A run that was reopened in the meantime has no finish time any more.
    old = [RunId(row.id) for row in rows if row.finished_at is not None and row.finished_at < wanted.finished_before]
    return old, RunId(rows[-1].id) if len(rows) == batch else None


def _remove_page(
    ledger: Ledger,
    wanted: Wanted,
    state: RunState,
    page: Sequence[RunId],
    before_removal: BeforeRemoval | None,
    entries_from: datetime | None,
) -> Purged:
    with ledger.transaction() as connection:
        judged = judge(connection, wanted, state, page, is_locking=True)
        if judged.removable and before_removal is not None:
            before_removal(connection, judged.removable)
        return judged.as_purged(remove_rows(connection, judged.removable, entries_from=entries_from))


def remove_rows(
    connection: Connection, runs: Sequence[RunId], *, entries_from: datetime | None = None
) -> dict[str, int]:
    """Remove runs with all their rows; return how many rows of each table. Needs the transaction that locks them."""
    if not runs:
        return {}
    of_entries = () if entries_from is None else (entry.c.at >= entries_from,)
    removed = {
        table.name: _delete(connection, table, runs, *conditions)
        for table, conditions in ((entry, of_entries), (review, ()), (step, ()))
    }
    connection.execute(delete(run).where(run.c.id.in_(runs)))
    return removed


def _count_all(connection: Connection, judged: _Judged) -> Purged:
    return judged.as_purged(
        {table.name: _count(connection, table, judged.removable) for table in (entry, review, step)}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """Which runs of a page go, and why the others stay."""

    state: RunState
    removable: list[RunId]
    source_events: int
    keys: int
    kept: Mapping[Kept, int]

    def as_purged(self, rows: Mapping[str, int] | None = None) -> Purged:
        """Return it as what was removed, with the numbers of rows by table."""
        rows = rows or {}
        return Purged(
            runs=len(self.removable),
            states={self.state: len(self.removable)} if self.removable else {},
            steps=rows.get(step.name, 0),
            entries=rows.get(entry.name, 0),
            reviews=rows.get(review.name, 0),
            source_events=self.source_events,
            keys=self.keys,
            kept=self.kept,
        )


def judge(
    connection: Connection, wanted: Wanted, state: RunState, page: Sequence[RunId], *, is_locking: bool
) -> _Judged:
    """Say which runs of a page go.

    With the runs locked, what is read of their rows stays true: all that opens a review or sets a row in motion holds
    its run first, and an attempt that is under way has a row that says so. So no step is locked; whoever holds a row of
    such a run has it in a state for which the run stays, or waits for nothing that is locked here. (READ COMMITTED on
    PostgreSQL and MariaDB, where each statement sees what was committed before it; SQLite has one writer.)
    """
    columns = (run.c.id, run.c.source_event_id, run.c.requires_human_review)
    statement = select(*columns).where(
        run.c.id.in_(page), run.c.state == state.value, run.c.finished_at < wanted.finished_before
    )
    if is_locking:
        statement = skip_locked(statement.order_by(run.c.id))
    runs = {RunId(row.id): row for row in connection.execute(statement)}
    keys, in_motion = _look_at_steps(connection, runs)
    reasons = {
        **dict.fromkeys(page, Kept.BUSY),
        **dict.fromkeys(runs),
        **dict.fromkeys(() if wanted.forget_keys else keys, Kept.HOLDS_KEY),
        **dict.fromkeys(in_motion, Kept.MAY_RUN),
        **dict.fromkeys(_with_open_review(connection, runs), Kept.OPEN_REVIEW),
        **{run_id: Kept.OPEN_REVIEW for run_id, row in runs.items() if row.requires_human_review},
    }
    removable = sorted(run_id for run_id, reason in reasons.items() if reason is None)
    return _Judged(
        state=state,
        removable=removable,
        source_events=sum(runs[run_id].source_event_id is not None for run_id in removable),
        keys=len(keys & set(removable)),
        kept=Counter(reason for reason in reasons.values() if reason is not None),
    )


def _look_at_steps(connection: Connection, runs: Collection[RunId]) -> tuple[set[RunId], set[RunId]]:
    """Return the runs that hold a key of their own, and those in which an attempt may be running or something is due.

    In one statement, by the primary key: asked for keys alone, PostgreSQL reads the index of all keys there are.
    """
    unsettled = step.c.state.in_([state.value for state in _UNSETTLED])
    may_run = or_(unsettled, step.c.sweep_at.is_not(None), step.c.may_run_until > now())
    statement = select(
        step.c.run_id,
        func.max(case((step.c.exclusive_key.is_not(None), 1), else_=0)).label("holds_key"),
        func.max(case((may_run, 1), else_=0)).label("may_run"),
    )
    rows = connection.execute(statement.where(step.c.run_id.in_(runs)).group_by(step.c.run_id)).all()
    return {RunId(row.run_id) for row in rows if row.holds_key}, {RunId(row.run_id) for row in rows if row.may_run}


def _with_open_review(connection: Connection, runs: Collection[RunId]) -> set[RunId]:
    statement = select(review.c.run_id).where(review.c.run_id.in_(runs), review.c.decision.is_(None)).distinct()
    return {RunId(found) for found in connection.execute(statement).scalars()}


def _delete(connection: Connection, table: Table, runs: Collection[RunId], *conditions: ColumnElement[bool]) -> int:
    statement = delete(table).where(table.c.run_id.in_(runs), *conditions)
    return cast("CursorResult[Any]", connection.execute(statement)).rowcount


def _count(connection: Connection, table: Table, runs: Collection[RunId]) -> int:
    return connection.execute(select(func.count()).select_from(table).where(table.c.run_id.in_(runs))).scalar_one()
