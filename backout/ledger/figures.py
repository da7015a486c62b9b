"""The numbers that a monitoring system asks for again and again: what is open, and how long it has waited."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select

from backout.ledger.health import count_silent_runs
from backout.ledger.models import run, step
from backout.ledger.queries import read_clock
from backout.ledger.statistics import OpenReviews, count_open_reviews
from backout.states import ACTIVE_RUN_STATES, FINAL_RUN_STATES, OPEN_RUN_STATES, RunState, StepState

RunCounts: TypeAlias = Mapping[tuple[str, RunState], int]
"""Pipeline and state to the number of runs; pairs without runs are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How a ledger is doing.

    Attributes:
        now: the ledger's time when it was read, aware UTC.
        runs: that are not final.
        reviews: pipeline to what waits there; pipelines without open reviews are left out.
        overdue_steps: rows that a sweeper should have looked at.
        lag_seconds: how long the row that has been due for longest waits for a worker or a sweeper; 0: none is due.
        silent_runs: runs that should move and have nothing that will move them (R4).
    """

    now: datetime
    runs: RunCounts
    reviews: Mapping[str, OpenReviews]
    overdue_steps: int
    lag_seconds: float
    silent_runs: int


def read_figures(connection: Connection, *, overdue_seconds: float) -> Figures:
    """Return how the ledger is doing.

    The cost grows with what is open (runs, reviews, and rows that are under way), not with what is finished.

    Args:
        connection: any.
        overdue_seconds: a row is overdue this long after the sweeper should have looked at it.
    """
    now = read_clock(connection)
    limit = now - timedelta(seconds=overdue_seconds)
    overdue = select(func.count()).where(step.c.sweep_at.is_not(None), step.c.sweep_at < limit)
    return Figures(
        now=now,
        runs=_count_runs(connection, OPEN_RUN_STATES),
        reviews=count_open_reviews(connection, now=now),
        overdue_steps=connection.execute(overdue).scalar_one(),
        lag_seconds=_read_lag(connection, now),
        silent_runs=count_silent_runs(connection),
    )


def count_final_runs(connection: Connection) -> RunCounts:
    """Return how many runs of each pipeline ended how. Reads a row for every finished run: do it seldom."""
    return _count_runs(connection, FINAL_RUN_STATES)


def _count_runs(connection: Connection, states: Collection[RunState]) -> RunCounts:
    statement = (
        select(run.c.pipeline, run.c.state, func.count().label("runs"))
        .where(run.c.state.in_(sorted(state.value for state in states)))
        .group_by(run.c.pipeline, run.c.state)
    )
    return {(row.pipeline, RunState(row.state)): row.runs for row in connection.execute(statement)}


def _read_lag(connection: Connection, now: datetime) -> float:
    statement = (
        select(func.min(_due_since()).label("oldest"))
        .join_from(step, run, run.c.id == step.c.run_id)
        # The first condition lets the index of the sweeper find the rows; in a run that a person has stopped, or was
        # asked about, nothing is due.
        .where(step.c.sweep_at.is_not(None), run.c.state.in_(sorted(state.value for state in ACTIVE_RUN_STATES)))
    )
    oldest: datetime | None = connection.execute(statement).scalar_one()
    return _seconds(now, oldest) if oldest is not None else 0.0


def _due_since() -> ColumnElement[Any]:
    """Return since when a row has been due; an instant to come where it is not."""
    is_sent = and_(step.c.state == StepState.READY.value, step.c.sends > 0, step.c.dispatched_at.is_not(None))
    # A resend moves `dispatched_at` and leaves the run as it was; whatever else happens in the run moves the other.
    was_touched_later = or_(step.c.sends == 1, run.c.updated_at > step.c.dispatched_at)
    return case(
        (and_(is_sent, was_touched_later), step.c.dispatched_at),
        (is_sent, run.c.updated_at),
        (step.c.state == StepState.RETRY_SCHEDULED.value, step.c.next_retry_at),
        else_=step.c.sweep_at,
    )


def _seconds(now: datetime, then: datetime) -> float:
    return max((now - then).total_seconds(), 0.0)
