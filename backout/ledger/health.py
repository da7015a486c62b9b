"""What the ledger says about how its installation is doing; nothing here changes a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, Select, exists, func, select

from backout.jsontext import JsonValue
from backout.ledger.dialects import dialect_of
from backout.ledger.durability import DurabilitySetting
from backout.ledger.models import review, run, step
from backout.ledger.queries import count_by_state, read_clock
from backout.states import FINAL_RUN_STATES, RunState, StepState

MOVING_STATES: Final = (RunState.PENDING, RunState.RUNNING, RunState.ROLLING_BACK)
"""A run in one of these is moved on by the engine, so one of its rows must be marked for the sweeper (R4)."""

MOST_EXAMPLES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """What a database says of itself.

    Attributes:
        name: SQLAlchemy's name for it, such as `postgresql`.
        version: such as `15.4`; empty when it does not say.
        most_connections: the server takes in all; `None` without a limit.
    """

    name: str
    version: str
    durability: tuple[DurabilitySetting, ...]
    most_connections: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UntakenStep:
    """Messages of one step that no worker takes up.

    Attributes:
        sends: the most messages that were sent for one attempt.
    """

    pipeline: str
    step: str
    rows: int
    sends: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the runs of a ledger are doing. Ages are seconds before the database's time; 0 when there is none.

    Attributes:
        runs: state to the number of runs in it; states without runs are left out.
        overdue_rows: rows that a sweeper should have looked at.
        overdue_seconds: how long the oldest of them has waited for it.
        untaken: steps whose messages were sent again and again, the most sent first.
        silent_runs: runs that should move and have nothing that will move them.
        silent_examples: ids of the first of them.
        reviews: questions that wait for a person.
        review_seconds: how long the oldest has waited.
        late_reviews: those whose deadline has passed.
    """

    runs: Mapping[RunState, int]
    overdue_rows: int
    overdue_seconds: float
    untaken: tuple[UntakenStep, ...]
    silent_runs: int
    silent_examples: tuple[str, ...]
    reviews: int
    review_seconds: float
    late_reviews: int


def read_database(connection: Connection) -> DatabaseFacts:
    """Return what the database says of itself."""
    dialect = dialect_of(connection.dialect.name)
    version = getattr(connection.dialect, "server_version_info", None) or ()
    return DatabaseFacts(
        name=connection.dialect.name,
        version=".".join(map(str, version)),
        durability=dialect.durability(connection),
        most_connections=dialect.most_connections(connection),
    )


def read_health(connection: Connection, *, overdue_seconds: float, most_sends: int) -> Health:
    """Return how the runs are doing.

    Args:
        connection: any.
        overdue_seconds: a row is overdue this long after the sweeper should have looked at it.
        most_sends: a message sent more often than this for one attempt counts as not taken up.
    """
    now = read_clock(connection)
    limit = now - timedelta(seconds=overdue_seconds)
    overdue = connection.execute(
        select(func.count().label("rows"), func.min(step.c.sweep_at).label("oldest")).where(
            step.c.sweep_at.is_not(None),
            step.c.sweep_at < limit,
        ),
    ).one()
    reviews = connection.execute(
        select(func.count().label("rows"), func.min(review.c.opened_at).label("oldest")).where(
            review.c.decision.is_(None)
        ),
    ).one()
    late = select(func.count()).where(review.c.decision.is_(None), review.c.deadline_at < now)
    examples = select(run.c.id).where(*_is_silent()).order_by(run.c.id).limit(MOST_EXAMPLES)
    return Health(
        runs=count_by_state(connection),
        overdue_rows=overdue.rows,
        overdue_seconds=(now - overdue.oldest).total_seconds() if overdue.oldest else 0.0,
        untaken=tuple(UntakenStep(**row._mapping) for row in connection.execute(_untaken(most_sends))),
        silent_runs=count_silent_runs(connection),
        silent_examples=tuple(row.id for row in connection.execute(examples)),
        reviews=reviews.rows,
        review_seconds=(now - reviews.oldest).total_seconds() if reviews.oldest else 0.0,
        late_reviews=connection.execute(late).scalar_one(),
    )


def count_silent_runs(connection: Connection) -> int:
    """Return how many runs should move and have nothing that will move them (R4)."""
    return connection.execute(select(func.count()).select_from(run).where(*_is_silent())).scalar_one()


def list_open_plans(connection: Connection, *, limit: int = 100) -> list[JsonValue]:
    """Return the plans of runs that are not final, each once; runs keep the plan that they started with."""
    is_open = run.c.state.not_in([state.value for state in FINAL_RUN_STATES])
    digests = connection.execute(select(run.c.definition_digest).where(is_open).distinct().limit(limit)).scalars().all()
    plans = (select(run.c.plan).where(is_open, run.c.definition_digest == digest).limit(1) for digest in digests)
    found = [connection.execute(plan).scalar_one_or_none() for plan in plans]
    return [plan for plan in found if plan is not None]


def _untaken(most_sends: int) -> Select[tuple[str, str, int, int]]:
    # The condition on `sweep_at` lets the index of the sweeper find the rows.
    return (
        select(
            run.c.pipeline,
            step.c.step,
            func.count().label("rows"),
            func.max(step.c.sends).label("sends"),
        )
        .join_from(step, run, run.c.id == step.c.run_id)
        .where(step.c.sweep_at.is_not(None), step.c.state == StepState.READY.value, step.c.sends > most_sends)
        .group_by(run.c.pipeline, step.c.step)
        .order_by(func.max(step.c.sends).desc(), run.c.pipeline, step.c.step)
        .limit(MOST_EXAMPLES)
    )


def _is_silent() -> tuple[ColumnElement[bool], ...]:
    will_move = exists().where(step.c.run_id == run.c.id, step.c.sweep_at.is_not(None))
    return run.c.state.in_([state.value for state in MOVING_STATES]), ~will_move
