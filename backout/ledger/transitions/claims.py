"""The arrows of a claim: taken, given back, or lost in doubt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Connection,
    and_,
    case,
    exists,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    update,
)

from backout.events import Event
from backout.identifiers import ClaimToken
from backout.ledger.change import ACTIVE, Change, When
from backout.ledger.dialects import after, apply, now
from backout.ledger.models import entry, run, step
from backout.ledger.queries import CLAIMED
from backout.ledger.records import Claim, RunFacts, StepKey
from backout.ledger.transitions.parts import (
    ENGINE,
    MATCHED,
    bind,
    claimed_step,
    ended,
    forward_error,
    key_is,
    key_parameters,
    one_of,
    run_entry,
    seconds,
    step_entry,
    this_run,
)
from backout.states import Direction, RunState, StepState, sources

CLOCK_SLACK_SECONDS: Final = 1.0
"""A retry's message may come this much before its time: the worker's clock is not the database's."""


_IS_ACTIVE: Final = exists(
    select(literal_column("1")).where(
        run.c.id == bind(step.c.run_id),
        one_of(run.c.state, ACTIVE),
    ),
)
"""A run that a person has stopped starts nothing, whatever messages are on their way."""
_RUN_FACTS: Final = (
    run.c.pipeline,
    run.c.definition_digest,
    run.c.subject_id,
    run.c.input,
    run.c.external_ids,
    run.c.last_successful_step,
    run.c.state,
    run.c.deadline_at,
    run.c.rollback_to,
)


def _claim_change(*, opens_run: bool, is_again: bool) -> Change:
    due = or_(
        step.c.state == StepState.READY.value,
        and_(
            step.c.state == StepState.RETRY_SCHEDULED.value,
            step.c.next_retry_at <= after(literal(CLOCK_SLACK_SECONDS)),
        ),
    )
    guard = update(step).where(key_is(), due, step.c.attempt > 0 if is_again else step.c.attempt == 0, _IS_ACTIVE)
    rows = [step_entry(Event.ATTEMPT_STARTED, detail=bind(entry.c.detail))]
    run_update = None
    if opens_run:
        run_update = this_run("start_run").values(state=RunState.RUNNING.value)
        rows.insert(0, run_entry(Event.RUN_STARTED, when=When.RUN_CHANGED))
    elif is_again:
        run_update = this_run().values(next_retry_at=null())
    return Change(
        guard=guard.values(
            state=StepState.RUNNING.value,
            attempt=step.c.attempt + 1,
            claim_token=bind(step.c.claim_token),
            claim_expires_at=after(seconds("lease")),
            claimed_by=bind(step.c.claimed_by),
            sweep_at=after(seconds("lease")),
            idempotency_key=case(
                (step.c.attempt == 0, func.coalesce(bind(step.c.idempotency_key, "own_key"), step.c.idempotency_key)),
                else_=step.c.idempotency_key,
            ),
            exclusive_key=func.coalesce(step.c.exclusive_key, bind(step.c.exclusive_key)),
            next_retry_at=null(),
            sends=0,
            started_at=func.coalesce(step.c.started_at, now()),
        ),
        returning=CLAIMED,
        run_columns=_RUN_FACTS,
        rows=tuple(rows),
        run_update=run_update,
    )


_CLAIM_FIRST: Final = _claim_change(opens_run=True, is_again=False)
_CLAIM: Final = _claim_change(opens_run=False, is_again=False)
_CLAIM_AGAIN: Final = _claim_change(opens_run=False, is_again=True)


def claim_step(
    connection: Connection,
    key: StepKey,
    *,
    token: ClaimToken,
    lease_seconds: float,
    worker: str,
    attempt: int,
    process: str | None = None,
    own_key: str | None = None,
    exclusive_key: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> Claim | None:
    """Take the right to run one attempt (R2, R3). One commit of its own.

    Args:
        connection: a `Ledger.change()` scope.
        key: the step row.
        token: new for this delivery.
        lease_seconds: how long the claim holds without a heartbeat.
        worker: who claims, for the entry.
        attempt: the attempt that the message was sent for; only a hint which statement will match.
        process: by what others can tell whether the claimer still lives; `None`: nobody can.
        own_key: the idempotency key where the contract has a function for it; the first attempt's stays.
        exclusive_key: what no other run may hold at the same time; given with `own_key`.
        detail: of the entry; `None`: none.

    Returns:
        `None` when the row is not due: it is done, somebody else runs it, its time has not come, a person has stopped
        its run, or there is no such row. Nothing was written.

    Raises:
        sqlalchemy.exc.IntegrityError: another run holds the exclusive key. Nothing was written.
    """
    parameters = {
        **key_parameters(key),
        "b_claim_token": token,
        "b_lease": lease_seconds,
        "b_actor": worker,
        "b_claimed_by": process,
        "b_own_key": own_key,
        "b_exclusive_key": exclusive_key,
        "b_detail": dict(detail) if detail is not None else None,
    }
    is_first = key.position == 0 and key.round == 1 and key.direction is Direction.FORWARD
    changes = (_CLAIM_FIRST if is_first else _CLAIM, _CLAIM_AGAIN)
    # Only the row knows which attempt it is: a late duplicate of the first message may claim the third one.
    likely, other = reversed(changes) if attempt > 1 else changes
    row = apply(connection, likely, parameters) or apply(connection, other, parameters)
    return _claim_of(row, key, token) if row is not None else None


def _claim_of(row: Mapping[str, Any], key: StepKey, token: ClaimToken) -> Claim:
    facts = RunFacts.from_row(row)
    if facts.state is RunState.PENDING:
        # One statement sees the run as it was before; this claim has started it.
        facts = replace(facts, state=RunState.RUNNING)
    return Claim.from_row(row, key=key, token=token, run=facts)


def _lost(state: StepState) -> dict[str, Any]:
    return {
        **ended(state),
        "claim_token": null(),
        "lost_attempts": step.c.lost_attempts + 1,
        # A later attempt's time is the later one.
        "may_run_until": func.coalesce(bind(step.c.may_run_until), step.c.may_run_until),
    }


_HOLD: Final = Change(
    guard=update(step).where(key_is(), one_of(step.c.state, sources("hold_step"))).values(ended(StepState.PENDING)),
    returning=MATCHED,
    rows=(step_entry(Event.STEP_HELD, reason=bind(entry.c.reason), attempt=null()),),
)


def hold_step(connection: Connection, key: StepKey, *, reason: str, actor: str = ENGINE) -> bool:
    """Keep a row that is due from being claimed; `ready_step` lets it go. Needs the transaction of its review.

    Returns:
        False when it was not due: nothing was written.
    """
    return apply(connection, _HOLD, {**key_parameters(key), "b_actor": actor, "b_reason": reason}) is not None


_RELEASE: Final = Change(
    guard=claimed_step("release_claim").values(
        {**_lost(StepState.READY), "sends": 0, "sweep_at": after(seconds("sweep")), "error": bind(step.c.error)},
    ),
    returning=MATCHED,
    rows=(step_entry(Event.CLAIM_RELEASED, reason=bind(entry.c.reason)),),
    run_update=this_run().values(attempt_count=run.c.attempt_count + 1),
)
_DOUBT: Final = Change(
    guard=claimed_step("doubt_step").values({**_lost(StepState.IN_DOUBT), "error": bind(step.c.error)}),
    returning=MATCHED,
    rows=(step_entry(Event.STEP_IN_DOUBT, reason=bind(entry.c.reason)),),
    run_update=this_run().values(
        attempt_count=run.c.attempt_count + 1,
        error_summary=forward_error(),
        operator_state=bind(run.c.operator_state),
    ),
)


_UNCALLED: Final = Change(
    guard=claimed_step("release_claim").values(
        {
            **ended(StepState.READY),
            "claim_token": null(),
            "attempt": step.c.attempt - 1,
            "sends": 0,
            "sweep_at": after(seconds("sweep")),
        },
    ),
    returning=MATCHED,
    rows=(step_entry(Event.CLAIM_RELEASED, reason=bind(entry.c.reason)),),
)


def release_uncalled(
    connection: Connection,
    claim: Claim,
    *,
    reason: str,
    actor: str,
    sweep_seconds: float,
) -> bool:
    """Walk `release_claim` for an attempt whose function was never called: it does not count, and leaves no doubt.

    Arguments and result as of `release_claim`.
    """
    parameters = {
        **key_parameters(claim.key),
        "b_claim_token": claim.token,
        "b_actor": actor,
        "b_reason": reason,
        "b_sweep": sweep_seconds,
    }
    return apply(connection, _UNCALLED, parameters) is not None


def release_claim(
    connection: Connection,
    key: StepKey,
    *,
    token: ClaimToken,
    reason: str,
    actor: str = ENGINE,
    sweep_seconds: float = 0.0,
    may_run_until: datetime | None = None,
) -> bool:
    """Give an attempt's claim back without an outcome; the contract allows another attempt under the same key (R8).

    Args:
        connection: a `Ledger.change()` scope, or a transaction.
        key: the step row.
        token: of the claim that ends.
        reason: what ended it.
        actor: the holder, or the sweeper when the claim expired.
        sweep_seconds: when the sweeper sends a message for the next attempt; 0: at its next look.
        may_run_until: aware; until then the attempt may go on without our knowing (R5). `None`: it is known to be over.

    Returns:
        False when the claim was not held under this token any more: nothing was written.
    """
    parameters = {
        **key_parameters(key),
        "b_claim_token": token,
        "b_actor": actor,
        "b_reason": reason,
        "b_error": {"type": "lost", "message": reason},
        "b_sweep": sweep_seconds,
        "b_may_run_until": may_run_until,
    }
    return apply(connection, _RELEASE, parameters) is not None


def doubt_step(
    connection: Connection,
    key: StepKey,
    *,
    token: ClaimToken,
    reason: str,
    operator_state: str,
    actor: str = ENGINE,
    may_run_until: datetime | None = None,
) -> bool:
    """Record that an attempt ended without an outcome and that its effect may exist (R8).

    Needs a transaction: the question to the reconcile function, or the review that asks a person, belongs into it.
    Arguments and result as of `release_claim`.
    """
    parameters = {
        **key_parameters(key),
        "b_claim_token": token,
        "b_actor": actor,
        "b_reason": reason,
        "b_error": {"type": "in_doubt", "message": reason},
        "b_operator_state": operator_state,
        "b_may_run_until": may_run_until,
    }
    return apply(connection, _DOUBT, parameters) is not None
