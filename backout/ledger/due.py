"""What should have moved on and has not: the reads of the sweeper. Nothing here changes a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, bindparam, exists, func, literal, select

from backout.events import Event
from backout.identifiers import RunId, TaskId
from backout.ledger.change import constant
from backout.ledger.dialects import after, all_rows, now, skip_locked
from backout.ledger.models import entry, run, step
from backout.ledger.records import StepKey
from backout.states import Direction, RunState, StepState

_UNDER_WAY: Final = (RunState.PENDING.value, RunState.RUNNING.value, RunState.ROLLING_BACK.value)
_MOVING: Final = (
    StepState.READY.value,
    StepState.RUNNING.value,
    StepState.RETRY_SCHEDULED.value,
    StepState.WAITING.value,
)
"""States of a step row from which the engine goes on by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueStep:
    """A row that something must be done about, with what must be known of its run."""

    key: StepKey
    step: str
    state: StepState
    attempt: int
    sends: int
    claimed_by: str | None
    task_id: TaskId
    definition_digest: str
    run_state: RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class StalledRun:
    """A run that is under way and has nothing that could move it on."""

    id: RunId
    state: RunState
    operator_state: str
    updated_at: datetime


_ROWS: Final = select(
    step.c.run_id,
    step.c.round,
    step.c.position,
    step.c.direction,
    step.c.step,
    step.c.state,
    step.c.attempt,
    step.c.sends,
    step.c.claimed_by,
    step.c.task_id,
)
_DUE: Final = skip_locked(
    _ROWS.where(step.c.sweep_at.is_not(None), step.c.sweep_at <= now()).order_by(step.c.sweep_at),
)


_ALIVE: Final = select(func.max(step.c.may_run_until).label("until")).where(
    step.c.run_id == bindparam("b_run_id", type_=step.c.run_id.type),
    step.c.direction == constant(Direction.FORWARD.value),
    step.c.may_run_until > now(),
)
_STEP_ALIVE: Final = _ALIVE.where(
    step.c.round == bindparam("b_round", type_=step.c.round.type),
    step.c.position == bindparam("b_position", type_=step.c.position.type),
)


def take_due_steps(connection: Connection, *, limit: int) -> list[DueStep]:
    """Return rows whose time has come, longest due first, locked until the transaction ends.

    Rows that another sweeper or a worker has locked are passed over. Needs a transaction.
    """
    return _with_runs(connection, connection.execute(_DUE.limit(limit)).all())


def take_running_step(connection: Connection, key: StepKey) -> DueStep | None:
    """Return a row that is running, locked; `None` when it is not, or another process has locked it.

    Needs a transaction.
    """
    statement = _where_key(_ROWS, key).where(step.c.state == StepState.RUNNING.value)
    found = _with_runs(connection, connection.execute(skip_locked(statement)).all())
    return found[0] if found else None


def list_running_steps(connection: Connection, run_id: RunId) -> list[tuple[StepKey, str | None]]:
    """Return the rows of a run that are running, each with the process that holds its claim; `None`: nobody knows."""
    statement = select(step.c.run_id, step.c.round, step.c.position, step.c.direction, step.c.claimed_by).where(
        step.c.run_id == run_id,
        step.c.state == StepState.RUNNING.value,
    )
    return [(_key(row), row.claimed_by) for row in connection.execute(statement)]


def take_unclaimed_steps(connection: Connection, run_id: RunId) -> list[DueStep]:
    """Return the rows of a run that are ready, whose first message is all that was sent, and that nobody has claimed.

    Locked until the transaction ends; those that another process has locked are passed over.
    """
    statement = _ROWS.where(
        step.c.run_id == run_id,
        step.c.state == StepState.READY.value,
        step.c.sends == 1,
    )
    return _with_runs(connection, connection.execute(skip_locked(statement)).all())


def _with_runs(connection: Connection, rows: Sequence[Row[*tuple[Any, ...]]]) -> list[DueStep]:
    facts = select(run.c.id, run.c.definition_digest, run.c.state)
    runs = {row.id: row for row in connection.execute(facts.where(run.c.id.in_({row.run_id for row in rows})))}
    return [_due_step(row, runs[row.run_id]) for row in rows]


def _due_step(row: Row[*tuple[Any, ...]], of_run: Row[*tuple[Any, ...]]) -> DueStep:
    return DueStep(
        key=_key(row),
        step=row.step,
        state=StepState(row.state),
        attempt=row.attempt,
        sends=row.sends,
        claimed_by=row.claimed_by,
        task_id=TaskId(row.task_id),
        definition_digest=of_run.definition_digest,
        run_state=RunState(of_run.state),
    )


def find_attempt_start(connection: Connection, key: StepKey, attempt: int) -> datetime | None:
    """Return when the last attempt of this number started; `None` when no entry says so."""
    started: datetime | None = connection.execute(
        select(func.max(entry.c.at)).where(
            entry.c.run_id == key.run_id,
            entry.c.event == Event.ATTEMPT_STARTED.value,
            entry.c.round == key.round,
            entry.c.position == key.position,
            entry.c.direction == key.direction.value,
            entry.c.attempt == attempt,
        ),
    ).scalar_one()
    return started


def alive_until(connection: Connection, run_id: RunId, *, of: StepKey | None = None) -> datetime | None:
    """Return until when a forward attempt that was given up may still run (R5); `None` when none can any more.

    Args:
        connection: any.
        run_id: the run.
        of: only attempts of this step, whatever its direction says.
    """
    parameters: dict[str, Any] = {"b_run_id": run_id}
    statement = _ALIVE
    if of is not None:
        statement = _STEP_ALIVE
        parameters |= {"b_round": of.round, "b_position": of.position}
    (row,) = all_rows(connection, statement, parameters)
    until: datetime | None = row["until"]
    return until


def list_late_retries(connection: Connection, *, limit: int) -> list[StepKey]:
    """Return forward steps whose next attempt is scheduled although the deadline of their run has passed."""
    statement = (
        select(step.c.run_id, step.c.round, step.c.position, step.c.direction)
        .join_from(run, step, step.c.run_id == run.c.id)
        .where(
            run.c.deadline_at <= now(),
            run.c.finished_at.is_(None),
            run.c.state == RunState.RUNNING.value,
            step.c.direction == Direction.FORWARD.value,
            step.c.state == StepState.RETRY_SCHEDULED.value,
            step.c.next_retry_at > now(),
        )
        .limit(limit)
    )
    return [_key(row) for row in connection.execute(statement)]


def list_stalled_runs(connection: Connection, *, quiet_seconds: float, limit: int) -> list[StalledRun]:
    """Return runs that are under way, have not changed for a while, and have no step that could go on (R4).

    There should be none: what this finds is a defect, or rows that somebody has changed by hand.
    """
    moving = exists(select(literal(1)).where(step.c.run_id == run.c.id, step.c.state.in_(_MOVING)))
    statement = (
        select(run.c.id, run.c.state, run.c.operator_state, run.c.updated_at)
        .where(run.c.state.in_(_UNDER_WAY), run.c.updated_at <= after(literal(-quiet_seconds)), ~moving)
        .order_by(run.c.id)
        .limit(limit)
    )
    return [
        StalledRun(
            id=RunId(row.id),
            state=RunState(row.state),
            operator_state=row.operator_state,
            updated_at=row.updated_at,
        )
        for row in connection.execute(statement)
    ]


def _key(row: Row[*tuple[Any, ...]]) -> StepKey:
    return StepKey(
        run_id=RunId(row.run_id),
        round=row.round,
        position=row.position,
        direction=Direction(row.direction),
    )


def _where_key(statement: Select[Any], key: StepKey) -> Select[Any]:
    return statement.where(
        step.c.run_id == key.run_id,
        step.c.round == key.round,
        step.c.position == key.position,
        step.c.direction == key.direction.value,
    )
