"""The arrows that plan a way back: all of its compensations at once, before the first one runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Connection,
    insert,
    literal,
    null,
    update,
)

from backout.events import Event
from backout.identifiers import TaskId
from backout.ledger.dialects import after, now
from backout.ledger.models import entry, step
from backout.ledger.records import StepKey
from backout.ledger.transitions.parts import (
    key_is,
    key_parameters,
    one_of,
)
from backout.states import TRANSITIONS, StepState, sources


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


def plan_compensation(
    connection: Connection,
    planned: Sequence[NewCompensation],
    *,
    actor: str,
    resend_seconds: float,
) -> None:
    """Record the whole rollback plan, in the order of undoing. Needs the transaction of `begin_rollback`."""
    for row in planned:
        if row.state.value not in TRANSITIONS["plan_compensation"].targets:
            message = f"a compensation cannot be planned as {row.state}"
            raise ValueError(message)
        write = plan_again if row.is_planned_again else _insert
        write(connection, row, resend_seconds=resend_seconds)
        connection.execute(
            insert(entry).values(
                at=now(),
                **_key_columns(row.key),
                step=row.step,
                event=_PLANNED_EVENTS[row.state].value,
                actor=actor,
                reason=row.reason or None,
            ),
        )


def _planned_values(row: NewCompensation, resend_seconds: float) -> dict[str, Any]:
    is_ready = row.state is StepState.READY
    return {
        "state": row.state.value,
        "start_order": row.start_order,
        "task_id": row.task_id,
        "sends": 1 if is_ready else 0,
        "sweep_at": after(literal(resend_seconds)) if is_ready else row.wait_until,
        "dispatched_at": now() if is_ready else null(),
        "finished_at": now() if row.state.is_finished else null(),
    }


def plan_again(connection: Connection, row: NewCompensation, *, resend_seconds: float) -> None:
    """Plan a compensation that an earlier rollback has left, with its undo failed, left out or kept.

    Its attempts and its idempotency key stay: what an earlier undo has done, this one must not do twice.

    Raises:
        RuntimeError: it is under way, or has succeeded; the caller's transaction must be rolled back.
    """
    again = (
        update(step)
        .where(key_is(), one_of(step.c.state, sources("plan_again")))
        .values(
            **_planned_values(row, resend_seconds),
            claim_token=null(),
            forgiven_attempts=step.c.attempt - step.c.lost_attempts,
        )
    )
    if connection.execute(again, key_parameters(row.key)).rowcount != 1:
        message = f"the compensation of {row.step} in run {row.key.run_id} is under way already"
        raise RuntimeError(message)


def _insert(connection: Connection, row: NewCompensation, *, resend_seconds: float) -> None:
    connection.execute(
        insert(step).values(
            **_key_columns(row.key),
            **_planned_values(row, resend_seconds),
            step=row.step,
            attempt=0,
            lost_attempts=0,
            idempotency_key=row.idempotency_key,
            external_ids={},
        ),
    )


def _key_columns(key: StepKey) -> dict[str, Any]:
    return {
        "run_id": key.run_id,
        "round": key.round,
        "position": key.position,
        "direction": key.direction.value,
    }
