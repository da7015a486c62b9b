"""The outcomes of an attempt: exactly one, written by the holder of the claim, with what comes next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Boolean, Connection, bindparam, case, null

from backout.events import Event
from backout.identifiers import TaskId
from backout.jsontext import JsonValue
from backout.ledger.change import Change, NewRow
from backout.ledger.dialects import after, apply, now
from backout.ledger.models import entry, run, step
from backout.ledger.records import Claim
from backout.ledger.transitions.parts import (
    ENGINE,
    MATCHED,
    bind,
    claimed_step,
    ended,
    forward_error,
    key_parameters,
    run_entry,
    seconds,
    step_entry,
    this_run,
)
from backout.states import Direction, RunState, StepState


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """The forward step that becomes ready when the one before it is recorded."""

    name: str
    idempotency_key: str
    task_id: TaskId


_LAST_SUCCESS: Final = case(
    (bind(run.c.last_successful_step).is_not(None), bind(run.c.last_successful_step)),
    else_=run.c.last_successful_step,
)
_IS_RETRIED: Final = bindparam("b_is_retried", type_=Boolean(create_constraint=False))
_EVENT_OF: Final[Mapping[str, tuple[StepState, Event]]] = {
    "succeed_step": (StepState.SUCCEEDED, Event.STEP_SUCCEEDED),
    "skip_step": (StepState.SKIPPED, Event.STEP_SKIPPED),
    "fail_step": (StepState.FAILED, Event.STEP_FAILED),
}


def _outcome_values(arrow: str) -> dict[str, Any]:
    state, _ = _EVENT_OF[arrow]
    values = ended(state)
    if arrow == "succeed_step":
        return {**values, "output": bind(step.c.output), "error": null()}
    if arrow == "fail_step":
        return {**values, "error": bind(step.c.error), "exclusive_key": null()}
    return {**values, "exclusive_key": null()}


def _forward_change(arrow: str, *, is_last: bool) -> Change:
    _, event = _EVENT_OF[arrow]
    reason = null() if arrow == "succeed_step" else bind(entry.c.reason)
    rows = [step_entry(event, reason=reason)]
    run_values: dict[str, Any] = {
        "operator_state": bind(run.c.operator_state),
        "last_successful_step": _LAST_SUCCESS,
        "attempt_count": run.c.attempt_count + 1,
    }
    if arrow == "fail_step":
        run_values["error_summary"] = bind(entry.c.reason)
    else:
        # What an earlier attempt of this step failed with is over.
        run_values["error_summary"] = case((_IS_RETRIED, null()), else_=run.c.error_summary)
    if is_last:
        rows.append(run_entry(Event.RUN_SUCCEEDED, of_run_update=True))
        closing = this_run("succeed_run").values(
            **run_values,
            state=RunState.SUCCEEDED.value,
            finished_at=now(),
            output=bind(run.c.output, "run_output"),
        )
        return Change(
            guard=claimed_step(arrow).values(_outcome_values(arrow)),
            returning=MATCHED,
            rows=tuple(rows),
            run_update=closing,
        )
    following = NewRow(
        table=step,
        values={
            "run_id": bind(step.c.run_id),
            "round": bind(step.c.round),
            "position": bind(step.c.position, "next_position"),
            "direction": Direction.FORWARD.value,
            "step": bind(step.c.step, "next_step"),
            **_fresh_step(),
            "start_order": bind(step.c.start_order, "next_start_order"),
            "idempotency_key": bind(step.c.idempotency_key, "next_idempotency_key"),
            "task_id": bind(step.c.task_id, "next_task_id"),
        },
    )
    ready = step_entry(
        Event.STEP_READY,
        position=bind(step.c.position, "next_position"),
        step=bind(step.c.step, "next_step"),
        attempt=null(),
    )
    return Change(
        guard=claimed_step(arrow).values(_outcome_values(arrow)),
        returning=MATCHED,
        rows=(*rows, following, ready),
        run_update=this_run().values(**run_values),
    )


def _fresh_step() -> dict[str, Any]:
    """Return the values of a row that is born ready: its message goes out right after the commit."""
    return {
        "state": StepState.READY.value,
        "attempt": 0,
        "lost_attempts": 0,
        "external_ids": {},
        "sends": 1,
        "sweep_at": after(seconds("resend")),
        "dispatched_at": now(),
    }


_FORWARD: Final = {
    (arrow, is_last): _forward_change(arrow, is_last=is_last) for arrow in _EVENT_OF for is_last in (False, True)
}


def _finish_forward(
    connection: Connection,
    arrow: str,
    claim: Claim,
    *,
    following: NextStep | None,
    operator_state: str,
    resend_seconds: float,
    **values: Any,
) -> bool:
    parameters = {
        **key_parameters(claim.key),
        "b_claim_token": claim.token,
        "b_actor": ENGINE,
        "b_operator_state": operator_state,
        "b_last_successful_step": None,
        **values,
    }
    if arrow != "fail_step":
        parameters["b_is_retried"] = claim.attempt > 1
    if following is not None:
        parameters |= {
            "b_next_position": claim.key.position + 1,
            "b_next_step": following.name,
            "b_next_start_order": claim.start_order + 1,
            "b_next_idempotency_key": following.idempotency_key,
            "b_next_task_id": following.task_id,
            "b_resend": resend_seconds,
        }
    return apply(connection, _FORWARD[arrow, following is None], parameters) is not None


def succeed_step(
    connection: Connection,
    claim: Claim,
    *,
    output: JsonValue,
    following: NextStep | None,
    operator_state: str,
    resend_seconds: float,
) -> bool:
    """Record a forward attempt that answered, and make the next step ready or close the run. One commit of its own.

    Args:
        connection: a `Ledger.change()` scope, or a transaction.
        claim: of the attempt.
        output: validated, as JSON.
        following: the next step; `None` closes the run with this output as its own.
        operator_state: of the run from now on.
        resend_seconds: when the sweeper sends the next step's message again if nobody takes it up.

    Returns:
        False when the claim was lost meanwhile: nothing was written, the answer is late (R3).
    """
    values: dict[str, Any] = {"b_output": output, "b_last_successful_step": claim.step}
    if following is None:
        values["b_run_output"] = output
    return _finish_forward(
        connection,
        "succeed_step",
        claim,
        following=following,
        operator_state=operator_state,
        resend_seconds=resend_seconds,
        **values,
    )


def skip_step(
    connection: Connection,
    claim: Claim,
    *,
    reason: str,
    following: NextStep | None,
    operator_state: str,
    resend_seconds: float,
) -> bool:
    """Record that a forward step had nothing to do, and go on as after a success. Returns as `succeed_step`."""
    values: dict[str, Any] = {"b_reason": reason}
    if following is None:
        values["b_run_output"] = None
    return _finish_forward(
        connection,
        "skip_step",
        claim,
        following=following,
        operator_state=operator_state,
        resend_seconds=resend_seconds,
        **values,
    )


def pass_failed_step(
    connection: Connection,
    claim: Claim,
    *,
    error: Mapping[str, Any],
    reason: str,
    following: NextStep | None,
    operator_state: str,
    resend_seconds: float,
) -> bool:
    """Walk `fail_step` for a step whose contract says `on_failure="continue"`, and go on. Returns as `succeed_step`."""
    values: dict[str, Any] = {"b_error": dict(error), "b_reason": reason}
    if following is None:
        values["b_run_output"] = None
    return _finish_forward(
        connection,
        "fail_step",
        claim,
        following=following,
        operator_state=operator_state,
        resend_seconds=resend_seconds,
        **values,
    )


_FAIL: Final = Change(
    guard=claimed_step("fail_step").values(_outcome_values("fail_step")),
    returning=MATCHED,
    rows=(step_entry(Event.STEP_FAILED, reason=bind(entry.c.reason), detail=bind(entry.c.detail)),),
    run_update=this_run().values(attempt_count=run.c.attempt_count + 1),
)


def fail_step(
    connection: Connection,
    claim: Claim,
    *,
    error: Mapping[str, Any],
    reason: str,
    no_effect: bool = False,
) -> bool:
    """Record that a step failed for good, in either direction. Needs a transaction: what follows belongs into it.

    Returns:
        False when the claim was lost meanwhile: nothing was written.
    """
    parameters = {
        **key_parameters(claim.key),
        "b_claim_token": claim.token,
        "b_actor": ENGINE,
        "b_error": {**error, "no_effect": True} if no_effect else dict(error),
        "b_reason": reason,
        "b_detail": dict(error),
    }
    return apply(connection, _FAIL, parameters) is not None


_RETRY: Final = Change(
    guard=claimed_step("schedule_retry").values(
        {
            **ended(StepState.RETRY_SCHEDULED),
            "error": bind(step.c.error),
            "next_retry_at": after(seconds("delay")),
            "sweep_at": after(seconds("sweep")),
            "sends": bind(step.c.sends),
        },
    ),
    returning=MATCHED,
    rows=(step_entry(Event.RETRY_SCHEDULED, reason=bind(entry.c.reason), detail=bind(entry.c.detail)),),
    run_update=this_run().values(
        attempt_count=run.c.attempt_count + 1,
        next_retry_at=after(seconds("delay")),
        error_summary=forward_error(),
    ),
)


def schedule_retry(
    connection: Connection,
    claim: Claim,
    *,
    error: Mapping[str, Any],
    reason: str,
    delay_seconds: float,
    resend_seconds: float | None,
) -> bool:
    """Record that an attempt failed and when the next one is due. One commit of its own.

    Args:
        connection: a `Ledger.change()` scope, or a transaction.
        claim: of the attempt.
        error: of the attempt.
        reason: the error in one line.
        delay_seconds: until the next attempt.
        resend_seconds: the message is sent with a countdown; the sweeper sends another one this long after its time.
            `None`: the delay is long, the sweeper sends the message when its time has come.

    Returns:
        False when the claim was lost meanwhile: nothing was written.
    """
    parameters = {
        **key_parameters(claim.key),
        "b_claim_token": claim.token,
        "b_actor": ENGINE,
        "b_error": dict(error),
        "b_reason": reason,
        "b_detail": {"delay_seconds": round(delay_seconds, 3)},
        "b_delay": delay_seconds,
        "b_sweep": delay_seconds + (resend_seconds or 0.0),
        "b_sends": 0 if resend_seconds is None else 1,
    }
    return apply(connection, _RETRY, parameters) is not None
