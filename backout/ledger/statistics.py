"""Numbers about pipelines: bounded reads, each on an index; nothing here changes a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, case, func, literal, select, union_all

from backout.events import Event
from backout.identifiers import RunId, first_run_id_at
from backout.ledger.lists import Narrowed, newest_ids
from backout.ledger.models import entry, review, run
from backout.states import OPEN_RUN_STATES, Direction, RunState

_ABOUT_ATTEMPTS: Final = (
    Event.ATTEMPT_STARTED.value,
    Event.STEP_SUCCEEDED.value,
    Event.RETRY_SCHEDULED.value,
    Event.STEP_FAILED.value,
    Event.RESULT_REUSED.value,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """The runs that were enqueued since an instant, or the newest of them.

    Attributes:
        runs: pipeline to state to number; what has none is left out.
        left_out: the newest run that was not counted any more; `None`: all were counted.
    """

    runs: Mapping[str, Mapping[RunState, int]]
    left_out: RunId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenState:
    """The runs of a pipeline that are in a state which is not final, whenever they were enqueued.

    Attributes:
        runs: up to one more than was counted to.
        oldest: the one that was enqueued first.
    """

    state: RunState
    runs: int
    oldest: RunId


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenReviews:
    """What waits for a person in a pipeline.

    Attributes:
        late: those whose deadline has passed.
        oldest_id: of the review that was opened first.
        oldest_at: when that was, aware UTC.
    """

    reviews: int
    late: int
    oldest_id: int
    oldest_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFact:
    """Something that happened to an attempt of a step or of a compensation: one entry.

    Attributes:
        event: that it started, succeeded, failed and is to be tried again, or failed for good.
    """

    run_id: RunId
    round: int
    position: int
    step: str
    direction: Direction
    attempt: int
    event: Event
    at: datetime


def list_pipelines(connection: Connection, *, limit: int) -> list[str]:
    """Return the names of the pipelines that the ledger has runs of, in order; one small read for each."""
    names: list[str] = []
    statement = select(func.min(run.c.pipeline))
    while len(names) < limit:
        after = statement.where(run.c.pipeline > names[-1]) if names else statement
        name = connection.execute(after).scalar_one()
        if name is None:
            break
        names.append(name)
    return names


def count_cohort(connection: Connection, *, since: datetime, limit: int) -> Cohort:
    """Return the runs enqueued at an instant or later, by pipeline and state.

    Args:
        connection: any.
        since: aware UTC, compared with the time in the ids of runs.
        limit: the most to count, from the newest on.
    """
    first = first_run_id_at(since)
    next_older = select(run.c.id).where(run.c.id >= first).order_by(run.c.id.desc()).offset(limit).limit(1)
    left_out = connection.execute(next_older).scalar_one_or_none()
    is_counted = run.c.id > left_out if left_out is not None else run.c.id >= first
    counted = select(run.c.pipeline, run.c.state, func.count().label("runs")).where(is_counted)
    runs: dict[str, dict[RunState, int]] = {}
    for row in connection.execute(counted.group_by(run.c.pipeline, run.c.state)):
        runs.setdefault(row.pipeline, {})[RunState(row.state)] = row.runs
    return Cohort(runs=runs, left_out=RunId(left_out) if left_out is not None else None)


def list_open_states(connection: Connection, pipeline: str, *, count_to: int) -> list[OpenState]:
    """Return how many runs of a pipeline are in each state that is not final, and the oldest; none are left out."""
    parts = []
    for state in sorted(OPEN_RUN_STATES):
        is_in_it = (run.c.pipeline == pipeline, run.c.state == state.value)
        counted = select(run.c.id).where(*is_in_it).limit(count_to + 1).subquery()
        first = select(run.c.id).where(*is_in_it).order_by(run.c.id).limit(1)
        parts.append(
            select(
                literal(state.value).label("state"),
                select(func.count()).select_from(counted).scalar_subquery().label("runs"),
                first.scalar_subquery().label("oldest"),
            ),
        )
    rows = connection.execute(union_all(*parts))
    return [
        OpenState(state=RunState(row.state), runs=row.runs, oldest=RunId(row.oldest))
        for row in rows
        if row.oldest is not None
    ]


def count_open_reviews(connection: Connection, *, now: datetime, limit: int | None = None) -> dict[str, OpenReviews]:
    """Return what waits for a person, by pipeline; pipelines without open reviews are left out.

    Args:
        connection: any.
        now: the ledger's time, aware UTC.
        limit: look at no more than so many, the oldest; `None`: at all.
    """
    oldest = (
        select(review.c.id, review.c.run_id, review.c.opened_at, review.c.deadline_at)
        .where(review.c.decision.is_(None))
        .order_by(review.c.id)
        .limit(limit)
        .subquery()
    )
    statement = (
        select(
            run.c.pipeline,
            func.count().label("reviews"),
            func.count(case((oldest.c.deadline_at < now, 1))).label("late"),
            func.min(oldest.c.id).label("oldest_id"),
            func.min(oldest.c.opened_at).label("oldest_at"),
        )
        .join_from(oldest, run, run.c.id == oldest.c.run_id)
        .group_by(run.c.pipeline)
    )
    return {
        row.pipeline: OpenReviews(reviews=row.reviews, late=row.late, oldest_id=row.oldest_id, oldest_at=row.oldest_at)
        for row in connection.execute(statement)
    }


def read_attempts(
    connection: Connection, pipeline: str, *, since: datetime, most_runs: int
) -> tuple[int, list[AttemptFact]]:
    """Return what happened to the attempts of the newest runs of a pipeline that were enqueued since an instant.

    Returns:
        The number of runs that were looked at, and the facts of each run in the order in which they happened.
    """
    wanted = Narrowed(
        pipeline=pipeline,
        states=(),
        text=None,
        needs_person=False,
        enqueued_since=since,
        changed_since=None,
        before=None,
    )
    run_ids = list(connection.execute(newest_ids(connection, wanted, limit=most_runs)).scalars())
    return len(run_ids), [fact for part in _in_parts(run_ids) for fact in _facts_of(connection, part)]


def _in_parts(run_ids: list[RunId]) -> Iterator[list[RunId]]:
    # SQLite takes no more than 32,766 parameters, and a server's planner should see how few runs are meant.
    for start in range(0, len(run_ids), 500):
        yield run_ids[start : start + 500]


def _facts_of(connection: Connection, run_ids: list[RunId]) -> Iterator[AttemptFact]:
    names = AttemptFact.__dataclass_fields__
    statement = (
        select(*(entry.c[name] for name in names))
        .where(
            entry.c.run_id.in_(run_ids),
            entry.c.event.in_(_ABOUT_ATTEMPTS),
            entry.c.direction.in_((Direction.FORWARD.value, Direction.COMPENSATION.value)),
            entry.c.attempt.is_not(None),
        )
        .order_by(entry.c.id)
    )
    for row in connection.execute(statement):
        yield AttemptFact(
            **{**row._mapping, "direction": Direction(row.direction), "event": Event(row.event)},
        )
