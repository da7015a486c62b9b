"""The arrows that plan a way back: all of its compensations at once, before the first one runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, case, insert, null, update

from backout.events import Event
from backout.identifiers import TaskId
from backout.ledger.dialects import after, now
from backout.ledger.models import entry, step
from backout.ledger.records import StepKey
from backout.ledger.transitions.parts import bind, key_is, key_parameters, one_of, seconds
from backout.states import FINISHED_STEP_STATES, TRANSITIONS, StepState, sources


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCompensation:
    """A row of the rollback plan that is not yet stored.

    Attributes:
        state: ready for the first to run, or waiting until a time; pending for the others, kept or skipped where
            nothing is run.
        start_order: the place in the order of undoing, from 1.
        reason: why it is kept or skipped; empty otherwise.
        wait_until: aware; given for a row that waits.
        is_planned_again: an earlier rollback has left the row, with its undo failed, left out or kept.
    """

    key: StepKey
    step: str
    state: StepState
    start_order: int
    idempotency_key: str
    task_id: TaskId
    reason: str = ""
    wait_until: datetime | None = None
    is_planned_again: bool = False


_PLANNED_EVENTS: Final = {
    StepState.READY: Event.STEP_READY,
    StepState.PENDING: Event.COMPENSATION_PLANNED,
    StepState.WAITING: Event.WAIT_STARTED,
    StepState.KEPT: Event.STEP_KEPT,
    StepState.SKIPPED: Event.STEP_SKIPPED,
}


_IS_READY: Final = bind(step.c.state) == StepState.READY.value
_PLANNED: Final[dict[str, Any]] = {
    "state": bind(step.c.state),
    "start_order": bind(step.c.start_order),
    "task_id": bind(step.c.task_id),
    "sends": case((_IS_READY, 1), else_=0),
    "sweep_at": case((_IS_READY, after(seconds("resend"))), else_=bind(step.c.sweep_at)),
    "dispatched_at": case((_IS_READY, now()), else_=null()),
    "finished_at": case((one_of(bind(step.c.state), FINISHED_STEP_STATES), now()), else_=null()),
}
_PLACE: Final = {column.name: bind(column) for column in (*step.primary_key, step.c.step)}
_INSERT: Final = insert(step).values(
    **_PLACE,
    **_PLANNED,
    attempt=0,
    lost_attempts=0,
    idempotency_key=bind(step.c.idempotency_key),
    external_ids={},
)
_PLAN_AGAIN: Final = (
    update(step)
    .where(key_is(), one_of(step.c.state, sources("plan_again")))
    .values(
        **_PLANNED,
        claim_token=null(),
        forgiven_attempts=step.c.attempt - step.c.lost_attempts,
    )
)
_ENTRY: Final = insert(entry).values(
    **_PLACE, at=now(), event=bind(entry.c.event), actor=bind(entry.c.actor), reason=bind(entry.c.reason)
)


def plan_compensation(
    connection: Connection,
    planned: Sequence[NewCompensation],
    *,
    actor: str,
    resend_seconds: float,
) -> None:
    """Record the rows of a rollback plan, in the order of undoing. Needs the transaction of `begin_rollback`.

    New rows are one statement, and so are the entries: a plan is as long as its pipeline.
    """
    for row in planned:
        if row.state.value not in TRANSITIONS["plan_compensation"].targets:
            message = f"a compensation cannot be planned as {row.state}"
            raise ValueError(message)
    for row in planned:
        if row.is_planned_again:
            plan_again(connection, row, resend_seconds=resend_seconds)
    new = [
        {**_place(row), **_planned(row, resend_seconds), "b_idempotency_key": row.idempotency_key}
        for row in planned
        if not row.is_planned_again
    ]
    if new:
        connection.execute(_INSERT, new)
    if planned:
        connection.execute(_ENTRY, [_told(row, actor) for row in planned])


def plan_again(connection: Connection, row: NewCompensation, *, resend_seconds: float) -> None:
    """Plan a compensation that an earlier rollback has left, with its undo failed, left out or kept.

    Its attempts and its idempotency key stay: what an earlier undo has done, this one must not do twice.

    Raises:
        RuntimeError: it is under way, or has succeeded; the caller's transaction must be rolled back.
    """
    parameters = {**key_parameters(row.key), **_planned(row, resend_seconds)}
    if connection.execute(_PLAN_AGAIN, parameters).rowcount != 1:
        message = f"the compensation of {row.step} in run {row.key.run_id} is under way already"
        raise RuntimeError(message)


def _place(row: NewCompensation) -> dict[str, Any]:
    return {**key_parameters(row.key), "b_step": row.step}


def _planned(row: NewCompensation, resend_seconds: float) -> dict[str, Any]:
    return {
        "b_state": row.state.value,
        "b_start_order": row.start_order,
        "b_task_id": row.task_id,
        "b_resend": resend_seconds,
        "b_sweep_at": row.wait_until,
    }


def _told(row: NewCompensation, actor: str) -> dict[str, Any]:
    return {
        **_place(row),
        "b_event": _PLANNED_EVENTS[row.state].value,
        "b_actor": actor,
        "b_reason": row.reason or None,
    }
