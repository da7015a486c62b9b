"""The arrows of a step row that only a person walks: it runs again, is settled, is closed, or starts.

Each is guarded by the state that the person's decision was made on (R13), and says who asked for it, and why. All need
a transaction in which the run is locked (`ledger.taking`).
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Update, case, func, insert, null, update

from backout.events import Event
from backout.identifiers import TaskId
from backout.jsontext import JsonValue
from backout.ledger.change import Change
from backout.ledger.dialects import after, apply, now
from backout.ledger.models import entry, step
from backout.ledger.records import StepKey, StepRecord
from backout.ledger.transitions.parts import (
    MATCHED,
    bind,
    key_is,
    key_parameters,
    one_of,
    seconds,
    step_entry,
)
from backout.states import StepState, sources


def _as_seen(arrow: str) -> Update:
    """Match a row that is still as the person saw it: in the same state, at the same attempt (R13)."""
    return update(step).where(
        key_is(),
        one_of(step.c.state, sources(arrow)),
        step.c.state == bind(step.c.state, "seen_state"),
        step.c.attempt == bind(step.c.attempt, "seen_attempt"),
    )


def _seen(row: StepRecord, *, actor: str, reason: str) -> dict[str, Any]:
    return {
        **key_parameters(row.key),
        "b_seen_state": row.state.value,
        "b_seen_attempt": row.attempt,
        "b_actor": actor,
        "b_reason": reason,
    }


_IS_READY: Final = bind(step.c.state) == StepState.READY.value
_REOPEN: Final = Change(
    guard=_as_seen("reopen_step").values(
        state=bind(step.c.state),
        sends=case((_IS_READY, 1), else_=0),
        sweep_at=case((_IS_READY, after(seconds("resend"))), else_=null()),
        dispatched_at=case((_IS_READY, now()), else_=step.c.dispatched_at),
        task_id=bind(step.c.task_id),
        claim_token=null(),
        finished_at=null(),
        # Asking again gives the step its retries again; attempts that were lost never counted against them.
        forgiven_attempts=step.c.attempt - step.c.lost_attempts,
    ),
    returning=MATCHED,
    rows=(step_entry(Event.STEP_REOPENED, reason=bind(entry.c.reason), detail=bind(entry.c.detail)),),
)


def reopen_step(
    connection: Connection,
    row: StepRecord,
    *,
    state: StepState,
    task_id: TaskId,
    actor: str,
    reason: str,
    resend_seconds: float,
) -> bool:
    """Let a row run again that had ended: with its retries again, under its old idempotency key.

    Args:
        connection: the transaction.
        row: as the person saw it. What it said until now is kept in the entry (R14).
        state: ready, or pending until its turn comes.
        task_id: of the new message; the old one may have been revoked in Flower, for ever.
        actor: who asks.
        reason: why.
        resend_seconds: when the sweeper sends the message again if nobody takes it up.

    Returns:
        False when the row has changed meanwhile: nothing was written.
    """
    parameters = {
        **_seen(row, actor=actor, reason=reason),
        "b_state": state.value,
        "b_task_id": task_id,
        "b_resend": resend_seconds,
        "b_detail": _what_it_said(row),
    }
    return apply(connection, _REOPEN, parameters) is not None


def _what_it_said(row: StepRecord) -> dict[str, Any]:
    said = {"state": row.state.value, "attempt": row.attempt, "output": row.output, "error": row.error}
    return {name: value for name, value in said.items() if value is not None}


_SETTLE: Final = Change(
    guard=_as_seen("settle_step").values(
        state=StepState.SUCCEEDED.value,
        output=bind(step.c.output),
        error=null(),
        exclusive_key=func.coalesce(step.c.exclusive_key, bind(step.c.exclusive_key)),
        sweep_at=null(),
        claim_token=null(),
        finished_at=now(),
    ),
    returning=MATCHED,
    rows=(step_entry(Event.STEP_SETTLED, reason=bind(entry.c.reason), detail=bind(entry.c.detail)),),
)


def settle_step(
    connection: Connection,
    row: StepRecord,
    *,
    output: JsonValue,
    actor: str,
    reason: str,
    exclusive_key: str | None = None,
) -> bool:
    """Record that a row is done, because a person says so.

    Args:
        connection: the transaction.
        row: as the person saw it.
        output: what it would have returned.
        actor: who says it.
        reason: why.
        exclusive_key: what the row holds from now on, if it holds nothing: a failure had let it go.

    Returns:
        False when the row has changed meanwhile: nothing was written.
    """
    parameters = {
        **_seen(row, actor=actor, reason=reason),
        "b_output": output,
        "b_exclusive_key": exclusive_key,
        "b_detail": _what_it_said(row),
    }
    return apply(connection, _SETTLE, parameters) is not None


CLOSED: Final = "backout.ClosedByHand"
"""The error type of a row that was closed before it was ever called."""


_CLOSE: Final = Change(
    guard=_as_seen("close_step").values(
        state=bind(step.c.state),
        error=bind(step.c.error),
        sweep_at=null(),
        next_retry_at=null(),
        exclusive_key=null(),
        finished_at=now(),
    ),
    returning=MATCHED,
    rows=(step_entry(Event.STEP_CLOSED, reason=bind(entry.c.reason), detail=bind(entry.c.detail)),),
)


def close_step(connection: Connection, row: StepRecord, *, actor: str, reason: str) -> bool:
    """End a row that will not run: skipped if it was never called, failed if it was, because its effect may exist.

    A question is failed either way: it was not answered, and may be asked again.

    Returns:
        False when the row has changed meanwhile: nothing was written.
    """
    closed = {"type": CLOSED, "message": reason}
    parameters = {
        **_seen(row, actor=actor, reason=reason),
        "b_state": (StepState.FAILED if row.attempt or row.direction.is_question else StepState.SKIPPED).value,
        "b_error": row.error if row.attempt and row.error is not None else closed,
        "b_detail": {"state": row.state.value},
    }
    return apply(connection, _CLOSE, parameters) is not None


def start_step(
    connection: Connection,
    key: StepKey,
    *,
    step_name: str,
    start_order: int,
    idempotency_key: str,
    task_id: TaskId,
    actor: str,
    reason: str,
    resend_seconds: float,
) -> None:
    """Walk `create_step` for a step that a person lets start: after one that was settled or skipped, or in a new round.

    Raises:
        sqlalchemy.exc.IntegrityError: there is such a row.
    """
    place = {
        "run_id": key.run_id,
        "round": key.round,
        "position": key.position,
        "direction": key.direction.value,
        "step": step_name,
    }
    connection.execute(
        insert(step).values(
            **place,
            state=StepState.READY.value,
            attempt=0,
            lost_attempts=0,
            start_order=start_order,
            idempotency_key=idempotency_key,
            task_id=task_id,
            external_ids={},
            sends=1,
            sweep_at=after(seconds("resend")),
            dispatched_at=now(),
        ),
        {"b_resend": resend_seconds},
    )
    connection.execute(
        insert(entry).values(at=now(), **place, event=Event.STEP_READY.value, actor=actor, reason=reason),
    )
