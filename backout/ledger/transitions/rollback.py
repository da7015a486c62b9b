"""The arrows of a rollback: planned all at once, readied one after the other, each undoing its forward step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, func, insert, literal, null, update

from backout.events import Event
from backout.identifiers import TaskId
from backout.jsontext import JsonValue
from backout.ledger.change import Change
from backout.ledger.dialects import after, apply, now
from backout.ledger.models import entry, run, step
from backout.ledger.records import Claim, StepKey
from backout.ledger.transitions.parts import (
    ENGINE,
    MATCHED,
    bind,
    claimed_step,
    ended,
    key_is,
    key_parameters,
    one_of,
    seconds,
    step_entry,
    this_run,
)
from backout.states import TRANSITIONS, Direction, StepState, sources


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


_SUCCEED: Final = Change(
    guard=claimed_step("succeed_step").values(
        {**ended(StepState.SUCCEEDED), "output": bind(step.c.output), "error": null()},
    ),
    returning=MATCHED,
    rows=(step_entry(Event.STEP_SUCCEEDED),),
    run_update=this_run().values(attempt_count=run.c.attempt_count + 1, operator_state=bind(run.c.operator_state)),
)
_SKIP: Final = Change(
    guard=claimed_step("skip_step").values(ended(StepState.SKIPPED)),
    returning=MATCHED,
    rows=(step_entry(Event.STEP_SKIPPED, reason=bind(entry.c.reason)),),
    run_update=this_run().values(attempt_count=run.c.attempt_count + 1, operator_state=bind(run.c.operator_state)),
)


def succeed_compensation(connection: Connection, claim: Claim, *, output: JsonValue, operator_state: str) -> bool:
    """Walk `succeed_step` for a compensation. Needs a transaction: `undo_step` and what comes next belong into it.

    Returns:
        False when the claim was lost meanwhile: nothing was written (R3).
    """
    parameters = {
        **key_parameters(claim.key),
        "b_claim_token": claim.token,
        "b_actor": ENGINE,
        "b_output": output,
        "b_operator_state": operator_state,
    }
    return apply(connection, _SUCCEED, parameters) is not None


def skip_compensation(connection: Connection, claim: Claim, *, reason: str, operator_state: str) -> bool:
    """Walk `skip_step` for a compensation that found nothing to undo. Needs a transaction; returns as above."""
    parameters = {
        **key_parameters(claim.key),
        "b_claim_token": claim.token,
        "b_actor": ENGINE,
        "b_reason": reason,
        "b_operator_state": operator_state,
    }
    return apply(connection, _SKIP, parameters) is not None


_UNDO: Final = Change(
    guard=update(step)
    .where(key_is(), one_of(step.c.state, sources("undo_step")))
    .values(state=StepState.UNDONE.value, exclusive_key=null()),
    returning=MATCHED,
    rows=(step_entry(Event.STEP_UNDONE),),
)
_READY: Final = Change(
    guard=update(step)
    .where(key_is(), one_of(step.c.state, sources("ready_step")))
    .values(
        state=StepState.READY.value,
        sends=1,
        sweep_at=after(seconds("resend")),
        dispatched_at=now(),
        task_id=func.coalesce(bind(step.c.task_id), step.c.task_id),
    ),
    returning=MATCHED,
    rows=(step_entry(Event.STEP_READY, attempt=null(), reason=bind(entry.c.reason)),),
)


def undo_step(connection: Connection, compensated: StepKey, *, actor: str = ENGINE) -> bool:
    """Mark a forward success as undone: its output is void. Needs the transaction of the compensation's success.

    Args:
        connection: the transaction.
        compensated: the forward row, or its compensation's (only the direction differs).
        actor: for the entry.

    Returns:
        False when the forward step had not succeeded (it failed after it started): it keeps its state.
    """
    forward = {**key_parameters(compensated), "b_direction": Direction.FORWARD.value}
    return apply(connection, _UNDO, {**forward, "b_actor": actor}) is not None


def ready_step(
    connection: Connection,
    key: StepKey,
    *,
    resend_seconds: float,
    actor: str = ENGINE,
    reason: str | None = None,
    task_id: TaskId | None = None,
) -> bool:
    """Let the next compensation, or a row that was held, be claimed. Needs the transaction of what comes before it.

    Args:
        connection: the transaction.
        key: the row.
        resend_seconds: when the sweeper sends the message again if nobody takes it up.
        actor: for the entry.
        reason: for the entry, where a person asks.
        task_id: of a new message; `None`: the one that was promised.

    Returns:
        False when it was not pending: nothing was written.
    """
    parameters = {
        **key_parameters(key),
        "b_actor": actor,
        "b_reason": reason,
        "b_resend": resend_seconds,
        "b_task_id": task_id,
    }
    return apply(connection, _READY, parameters) is not None
