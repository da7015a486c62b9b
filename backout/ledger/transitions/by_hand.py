"""The arrows that only a person walks: a row runs again, is settled or closed; a run is stopped, resumed, turned back.

Each is guarded by the state that the person's decision was made on (R13), and says who asked for it, and why. All need
a transaction in which the run is locked (`ledger.taking`).
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Boolean, Connection, Update, and_, bindparam, case, func, insert, null, update

from backout.events import Event
from backout.identifiers import RunId, TaskId
from backout.jsontext import JsonValue
from backout.ledger.change import Change
from backout.ledger.dialects import after, apply, now
from backout.ledger.models import entry, run, step
from backout.ledger.records import StepKey, StepRecord
from backout.ledger.transitions.parts import (
    MATCHED,
    bind,
    key_is,
    key_parameters,
    one_of,
    run_entry,
    seconds,
    step_entry,
    this_run,
)
from backout.states import RollbackOutcome, RunState, StepState, sources


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


def _run_arrow(arrow: str, event: Event, state: RunState, **values: Any) -> Change:
    return Change(
        guard=this_run(arrow)
        .where(run.c.state == bind(run.c.state, "seen_state"))
        .values(
            state=state.value,
            operator_state=bind(run.c.operator_state),
            next_retry_at=null(),
            finished_at=now() if state.is_final else null(),
            **values,
        ),
        returning=(run.c.id,),
        rows=(run_entry(event, reason=bind(entry.c.reason), detail=bind(entry.c.detail)),),
    )


_OVERDUE: Final = and_(run.c.deadline_at.is_not(None), run.c.deadline_at <= now())
_RUN_ARROWS: Final = {
    "pause_run": _run_arrow("pause_run", Event.RUN_PAUSED, RunState.PAUSED),
    "cancel_run": _run_arrow("cancel_run", Event.RUN_CANCELLED, RunState.CANCELLED),
    "close_run": _run_arrow("close_run", Event.RUN_CLOSED, RunState.FAILED),
    "resume_run": _run_arrow(
        "resume_run",
        Event.RUN_RESUMED,
        RunState.RUNNING,
        round=bind(run.c.round),
        last_successful_step=bind(run.c.last_successful_step),
        rollback_to=null(),
        # What an earlier rollback did, and what the run had returned before, is told by the rows and entries.
        rollback_outcome=RollbackOutcome.NONE.value,
        output=null(),
        error_summary=case(
            (bindparam("b_is_error_over", type_=Boolean(create_constraint=False)), null()), else_=run.c.error_summary
        ),
        # Whoever resumes a run after its deadline knows it: the steps would otherwise be refused at once.
        deadline_at=case((_OVERDUE, null()), else_=run.c.deadline_at),
    ),
}
_TURN_BACK: Final = _run_arrow(
    "turn_run_back",
    Event.ROLLBACK_STARTED,
    RunState.ROLLING_BACK,
    rollback_to=bind(run.c.rollback_to),
    rollback_outcome=RollbackOutcome.NONE.value,
)
_CONTINUE_BACK: Final = _run_arrow("turn_run_back", Event.ROLLBACK_CONTINUED, RunState.ROLLING_BACK)


def _walk(
    connection: Connection,
    change: Change,
    run_id: RunId,
    seen: RunState,
    *,
    operator_state: str,
    actor: str,
    reason: str,
    detail: dict[str, Any] | None = None,
    **parameters: Any,
) -> bool:
    named = {f"b_{name}": value for name, value in parameters.items()}
    common = {
        "b_run_id": run_id,
        "b_seen_state": seen.value,
        "b_operator_state": operator_state,
        "b_actor": actor,
        "b_reason": reason,
        "b_detail": {"from": seen.value, **(detail or {})},
    }
    return apply(connection, change, {**common, **named}) is not None


def pause_run(
    connection: Connection, run_id: RunId, *, seen: RunState, operator_state: str, actor: str, reason: str
) -> bool:
    """Let nothing new start. An attempt that runs goes on, and its outcome is recorded.

    Returns:
        False when the run is not in the state seen any more: nothing was written.
    """
    change = _RUN_ARROWS["pause_run"]
    return _walk(connection, change, run_id, seen, operator_state=operator_state, actor=actor, reason=reason)


def cancel_run(
    connection: Connection, run_id: RunId, *, seen: RunState, operator_state: str, actor: str, reason: str
) -> bool:
    """Stop a run without a rollback. Its rows that are due must be closed in the same transaction. Returns as above."""
    change = _RUN_ARROWS["cancel_run"]
    return _walk(connection, change, run_id, seen, operator_state=operator_state, actor=actor, reason=reason)


def close_run(
    connection: Connection, run_id: RunId, *, seen: RunState, operator_state: str, actor: str, reason: str
) -> bool:
    """Close a run as it is, because a person accepts that. Returns as above."""
    change = _RUN_ARROWS["close_run"]
    return _walk(connection, change, run_id, seen, operator_state=operator_state, actor=actor, reason=reason)


def resume_run(
    connection: Connection,
    run_id: RunId,
    *,
    seen: RunState,
    operator_state: str,
    actor: str,
    reason: str,
    round_number: int,
    last_successful_step: str | None,
    is_error_over: bool = False,
) -> bool:
    """Let a run go on, a final one too. What it goes on with is written in the same transaction.

    Args:
        connection: the transaction.
        run_id: the run.
        seen: the state that the decision was made on.
        operator_state: from now on.
        actor: who asks.
        reason: why.
        round_number: the round in which it goes on.
        last_successful_step: of those whose effect stands; `None`: none.
        is_error_over: what the run failed with does not hold any more: it starts again, or was found to be done.

    Returns:
        False when the run is not in the state seen any more: nothing was written.
    """
    return _walk(
        connection,
        _RUN_ARROWS["resume_run"],
        run_id,
        seen,
        operator_state=operator_state,
        actor=actor,
        reason=reason,
        detail={"round": round_number},
        round=round_number,
        last_successful_step=last_successful_step,
        is_error_over=is_error_over,
    )


def turn_run_back(
    connection: Connection,
    run_id: RunId,
    *,
    seen: RunState,
    operator_state: str,
    actor: str,
    reason: str,
    compensations: tuple[str, ...],
    rollback_to: int | None,
) -> bool:
    """Start a rollback by hand, of a run that succeeded long ago too; the plan belongs into the same transaction.

    Args:
        connection: the transaction.
        run_id: the run.
        seen: the state that the decision was made on.
        operator_state: from now on.
        actor: who asks; compensations see it as `ctx.requested_by`.
        reason: why.
        compensations: names of the steps to undo, in the order of undoing.
        rollback_to: position of the last step that is left as it is; `None`: all are undone.

    Returns:
        False when the run is not in the state seen any more: nothing was written.
    """
    return _walk(
        connection,
        _TURN_BACK,
        run_id,
        seen,
        operator_state=operator_state,
        actor=actor,
        reason=reason,
        detail={"compensations": list(compensations)},
        rollback_to=rollback_to,
    )


def continue_rollback(
    connection: Connection, run_id: RunId, *, seen: RunState, operator_state: str, actor: str, reason: str
) -> bool:
    """Walk `turn_run_back` for a rollback that had stopped, or an undo that runs again. Returns as above."""
    return _walk(connection, _CONTINUE_BACK, run_id, seen, operator_state=operator_state, actor=actor, reason=reason)


_SUCCEED: Final = Change(
    guard=this_run("succeed_run").values(
        state=RunState.SUCCEEDED.value,
        operator_state=bind(run.c.operator_state),
        output=bind(run.c.output),
        finished_at=now(),
    ),
    returning=(run.c.id,),
    rows=(run_entry(Event.RUN_SUCCEEDED, reason=bind(entry.c.reason)),),
)


def succeed_run(
    connection: Connection, run_id: RunId, *, operator_state: str, output: JsonValue, actor: str, reason: str
) -> bool:
    """Close a run that has no step left, after a person's decision about the last one.

    Returns:
        False when it is not running: nothing was written.
    """
    parameters = {
        "b_run_id": run_id,
        "b_operator_state": operator_state,
        "b_output": output,
        "b_actor": actor,
        "b_reason": reason,
    }
    return apply(connection, _SUCCEED, parameters) is not None
