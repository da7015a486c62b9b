"""The outcomes of an attempt after which its run does not go on to the next step, in either direction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, null

from backout.events import Event
from backout.ledger.change import Change
from backout.ledger.dialects import after, apply
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
    seconds,
    step_entry,
    this_run,
)
from backout.states import StepState

_FAIL: Final = Change(
    guard=claimed_step("fail_step").values(
        {**ended(StepState.FAILED), "error": bind(step.c.error), "exclusive_key": null()},
    ),
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
