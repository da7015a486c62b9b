"""Facts that are recorded without a change of state: external ids, heartbeats, resends, late results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, bindparam, case, insert, literal, null, update

from backout.events import Event
from backout.identifiers import TaskId
from backout.ledger.change import Change
from backout.ledger.dialects import after, apply, merged, now
from backout.ledger.models import entry, run, step
from backout.ledger.records import Claim, StepKey
from backout.ledger.transitions.parts import (
    ENGINE,
    MATCHED,
    bind,
    key_is,
    key_parameters,
    one_of,
    seconds,
    step_entry,
    this_run,
)
from backout.states import StepState

_RESENDS_DOUBLED: Final = 6
"""A message that nobody takes up is sent again after 1, 2, 4 … 64 times the resend time, and then at that pace."""


_ADDITION: Final = bindparam("b_addition", type_=step.c.external_ids.type)
_EXTERNAL_ID: Final = Change(
    guard=update(step)
    .where(key_is(), step.c.state == StepState.RUNNING.value, step.c.claim_token == bind(step.c.claim_token))
    .values(external_ids=merged(step.c.external_ids, _ADDITION)),
    returning=MATCHED,
    rows=(step_entry(Event.EXTERNAL_ID_RECORDED, detail=bind(entry.c.detail)),),
    run_update=this_run().values(external_ids=merged(run.c.external_ids, _ADDITION)),
)


def record_external_id(connection: Connection, claim: Claim, *, name: str, value: str) -> bool:
    """Record an id of the outside world, in the step and in the run (R14). One commit of its own.

    Returns:
        False when the claim was lost meanwhile: only the entry was written, so that the id is not lost.
    """
    detail = {"name": name, "value": value}
    parameters = {
        **key_parameters(claim.key),
        "b_claim_token": claim.token,
        "b_actor": ENGINE,
        "b_detail": detail,
        "b_addition": {name: value},
    }
    if apply(connection, _EXTERNAL_ID, parameters) is not None:
        return True
    record_fact(
        connection,
        claim,
        event=Event.EXTERNAL_ID_RECORDED,
        reason="the attempt had lost its claim",
        detail=detail,
    )
    return False


def record_fact(
    connection: Connection,
    claim: Claim,
    *,
    event: Event,
    reason: str,
    detail: Mapping[str, Any] | None = None,
    actor: str = ENGINE,
) -> None:
    """Write an entry about an attempt. One statement; never commits by itself in a transaction."""
    connection.execute(
        insert(entry).values(
            at=now(),
            run_id=claim.key.run_id,
            round=claim.key.round,
            position=claim.key.position,
            direction=claim.key.direction.value,
            step=claim.step,
            attempt=claim.attempt,
            event=event.value,
            actor=actor,
            reason=reason,
            detail=detail if detail is not None else null(),
        ),
    )


def record_refused_message(
    connection: Connection,
    *,
    key: StepKey | None,
    actor: str,
    reason: str,
    detail: Mapping[str, Any],
) -> None:
    """Keep a message that could not be understood (R10). One statement."""
    connection.execute(
        insert(entry).values(
            at=now(),
            run_id=key.run_id if key else None,
            round=key.round if key else None,
            position=key.position if key else None,
            direction=key.direction.value if key else None,
            event=Event.MESSAGE_REFUSED.value,
            actor=actor,
            reason=reason,
            detail=dict(detail),
        ),
    )


_EXTEND: Final = (
    update(step)
    .where(key_is(), step.c.state == StepState.RUNNING.value, step.c.claim_token == bind(step.c.claim_token))
    .values(claim_expires_at=after(seconds("lease")), sweep_at=after(seconds("lease")))
)


def extend_claim(connection: Connection, claim: Claim, *, lease_seconds: float) -> bool:
    """Hold a claim for another lease, from now. One statement.

    Returns:
        False when the claim was lost meanwhile.
    """
    parameters = {**key_parameters(claim.key), "b_claim_token": claim.token, "b_lease": lease_seconds}
    return connection.execute(_EXTEND, parameters).rowcount == 1


_RESEND: Final = Change(
    guard=update(step)
    .where(key_is(), one_of(step.c.state, (StepState.READY, StepState.RETRY_SCHEDULED)))
    .values(
        sends=step.c.sends + 1,
        task_id=bind(step.c.task_id),
        dispatched_at=now(),
        sweep_at=after(
            seconds("resend")
            * case({number: float(2**number) for number in range(_RESENDS_DOUBLED)}, value=step.c.sends, else_=64.0)
            * seconds("spread"),
        ),
    ),
    returning=MATCHED,
    rows=(step_entry(Event.MESSAGE_RESENT, reason=bind(entry.c.reason), attempt=null()),),
)


def mark_resent(
    connection: Connection,
    key: StepKey,
    *,
    task_id: TaskId,
    resend_seconds: float,
    spread: float,
    actor: str,
    reason: str,
) -> bool:
    """Record that a message is about to be sent again. Needs a transaction that holds the row's lock.

    Args:
        connection: the transaction.
        key: the step row.
        task_id: of the new message. A person may have revoked the old one in Flower, for ever.
        resend_seconds: the first pause before another one; doubles at each resend.
        spread: a factor near 1 by which chance spreads the resends of many rows.
        actor: which sweeper.
        reason: what it found.
    """
    parameters = {
        **key_parameters(key),
        "b_task_id": task_id,
        "b_resend": resend_seconds,
        "b_spread": spread,
        "b_actor": actor,
        "b_reason": reason,
    }
    return apply(connection, _RESEND, parameters) is not None


def postpone_step(connection: Connection, key: StepKey, *, seconds_from_now: float) -> None:
    """Let the sweeper look at a ready step later: another run holds its idempotency key. One statement."""
    connection.execute(
        update(step)
        .where(key_is(), step.c.state == StepState.READY.value)
        .values(sweep_at=after(literal(seconds_from_now))),
        key_parameters(key),
    )
