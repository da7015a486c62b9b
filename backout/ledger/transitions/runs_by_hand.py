"""The arrows of a run that only a person walks: paused, resumed, turned back, cancelled, closed.

As in `by_hand`, each is guarded by the state that the person's decision was made on (R13), and says who asked for it,
and why. All need a transaction in which the run is locked (`ledger.taking`).
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Boolean, Connection, and_, bindparam, case, null

from backout.events import Event
from backout.identifiers import RunId
from backout.jsontext import JsonValue
from backout.ledger.change import Change
from backout.ledger.dialects import apply, now
from backout.ledger.models import entry, run
from backout.ledger.transitions.parts import (
    bind,
    run_entry,
    this_run,
)
from backout.states import RollbackOutcome, RunState


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
