"""Facts that are recorded without a change of state: external ids, heartbeats, resends, late results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, insert, literal, not_, null, update

from backout.events import Event
from backout.identifiers import TaskId
from backout.ledger.change import Change
from backout.ledger.dialects import after, apply, merged, now
from backout.ledger.due import alive_until
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
from backout.states import Direction, StepState

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


_OVER: Final = (
    update(step)
    # One column knows of one attempt: of several that were given up, the others may still run.
    .where(key_is(), step.c.direction == Direction.FORWARD.value, step.c.lost_attempts <= 1)
    .values(may_run_until=null())
)
_HASTEN_WAITING: Final = (
    update(step)
    .where(step.c.run_id == bind(step.c.run_id), step.c.state == StepState.WAITING.value)
    .values(sweep_at=now())
)


def record_late_result(connection: Connection, claim: Claim, *, detail: Mapping[str, Any]) -> None:
    """Keep the answer of an attempt that had lost its claim; it is not applied (R3). Needs a transaction.

    The attempt is over now: what waited for it, a question or an undo, waits no more.
    """
    record_fact(
        connection,
        claim,
        event=Event.LATE_RESULT,
        reason="the attempt had lost its claim",
        detail=detail,
    )
    connection.execute(_OVER, key_parameters(claim.key))
    if alive_until(connection, claim.key.run_id) is None:
        connection.execute(_HASTEN_WAITING, {"b_run_id": claim.key.run_id})


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


def _is_nobodys() -> ColumnElement[bool]:
    """Match a row that the sweeper is to look at and that no worker holds."""
    is_held = and_(step.c.state == StepState.RUNNING.value, step.c.claim_expires_at > now())
    return and_(step.c.sweep_at.is_not(None), not_(is_held))


def postpone_step(connection: Connection, key: StepKey, *, seconds_from_now: float) -> None:
    """Let the sweeper look at a row later that it cannot help now. One statement.

    Args:
        connection: any.
        key: of a row that is due: another run holds its idempotency key, or this release cannot read its plan.
        seconds_from_now: until then.
    """
    connection.execute(
        update(step).where(key_is(), _is_nobodys()).values(sweep_at=after(literal(seconds_from_now))),
        key_parameters(key),
    )


_HASTEN: Final = Change(
    guard=update(step)
    .where(key_is(), step.c.state == StepState.RETRY_SCHEDULED.value, step.c.next_retry_at > now())
    .values(next_retry_at=now(), sweep_at=now(), sends=0),
    returning=MATCHED,
    rows=(step_entry(Event.RETRY_HASTENED, reason=bind(entry.c.reason)),),
    run_update=this_run().values(next_retry_at=now()),
)


def hasten_retry(connection: Connection, key: StepKey, *, reason: str, actor: str) -> bool:
    """Make a scheduled attempt due now; the sweeper sends its message. One commit of its own.

    Returns:
        False when none is scheduled for later: nothing was written.
    """
    return apply(connection, _HASTEN, {**key_parameters(key), "b_actor": actor, "b_reason": reason}) is not None


_FREE_KEY: Final = update(step).where(key_is(), step.c.exclusive_key.is_not(None)).values(exclusive_key=null())


def free_key(connection: Connection, compensated: StepKey) -> None:
    """Let another run have the idempotency key of a step in doubt that was undone, or that had not happened.

    Needs the transaction in which that is recorded.
    """
    connection.execute(_FREE_KEY, {**key_parameters(compensated), "b_direction": Direction.FORWARD.value})
