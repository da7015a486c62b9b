"""The arrows of a way back that is walked: each compensation in its turn, undoing its forward step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    exists,
    func,
    literal_column,
    not_,
    null,
    select,
    update,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from backout.events import Event
from backout.identifiers import TaskId
from backout.jsontext import JsonValue
from backout.ledger.change import ACTIVE, Change, constant
from backout.ledger.dialects import after, apply, now, skip_locked
from backout.ledger.models import entry, run, step
from backout.ledger.queries import CLAIMED
from backout.ledger.records import Claim, Link, StepKey
from backout.ledger.transitions.following import FACTS_OF_NEXT, NextClaim, facts_after
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
from backout.ledger.undoing import is_to_run, order_of_undoing
from backout.states import Direction, StepState, sources

_IS_FORWARD_ROW: Final = and_(
    step.c.run_id == bind(step.c.run_id),
    step.c.round == bind(step.c.round),
    step.c.position == bind(step.c.position),
    step.c.direction == constant(Direction.FORWARD.value),
)
_UNDO: Final = Change(
    guard=update(step)
    .where(_IS_FORWARD_ROW, one_of(step.c.state, sources("undo_step")))
    .values(state=StepState.UNDONE.value, exclusive_key=null()),
    returning=MATCHED,
    rows=(step_entry(Event.STEP_UNDONE),),
)
_FREE_KEY: Final = Change(
    # It failed or was cut off, and keeps that state; its key is free all the same. Never a row that `_UNDO` matches.
    guard=update(step)
    .where(_IS_FORWARD_ROW, not_(one_of(step.c.state, sources("undo_step"))), step.c.exclusive_key.is_not(None))
    .values(exclusive_key=null()),
    returning=MATCHED,
)


def _is_next(columns: ReadOnlyColumnCollection[str, Any]) -> ColumnElement[bool]:
    """Match the next compensation of the way back, as it was read, in the table or in a selection from it."""
    return and_(
        columns.run_id == bind(step.c.run_id),
        columns.round == bind(step.c.round, "next_round"),
        columns.position == bind(step.c.position, "next_position"),
        columns.direction == constant(Direction.COMPENSATION.value),
        # What a person has changed since has another task id.
        columns.task_id == bind(step.c.task_id, "next_task_id"),
        one_of(columns.state, sources("claim_compensation")),
    )


_IS_ACTIVE: Final = exists(
    select(literal_column("1")).where(run.c.id == bind(step.c.run_id), one_of(run.c.state, ACTIVE)),
)


_NEXT: Final = "next"
"""The label of what is returned of the next row."""


def _claim_next(guard: ColumnElement[bool], **more: Any) -> Change:
    return Change(
        guard=update(step)
        .where(guard)
        .values(
            state=StepState.RUNNING.value,
            attempt=step.c.attempt + 1,
            claim_token=bind(step.c.claim_token, "next_claim_token"),
            claim_expires_at=after(seconds("lease")),
            claimed_by=bind(step.c.claimed_by),
            sweep_at=after(seconds("lease")),
            sends=0,
            started_at=func.coalesce(step.c.started_at, now()),
        ),
        returning=CLAIMED,
        rows=(
            step_entry(
                Event.ATTEMPT_STARTED,
                actor=bind(entry.c.actor, "worker"),
                detail=bind(entry.c.detail, "claim_detail"),
            ),
        ),
        **more,
    )


def _ready_next() -> Change:
    return Change(
        guard=update(step)
        .where(_is_next(step.c))
        .values(state=StepState.READY.value, sends=1, sweep_at=after(seconds("resend")), dispatched_at=now()),
        returning=(step.c.step,),
        rows=(step_entry(Event.STEP_READY, attempt=null()),),
        label=_NEXT,
    )


def _is_first() -> Select[Any]:
    """Return what finds the next row if it is the first of what is left, and may be claimed now.

    It locks the row and its run. Whoever holds either of them, a person perhaps, is not waited for: this statement
    would not see what they have done (READ COMMITTED on PostgreSQL), and a later one does.
    """
    first = (
        select(step.c.run_id, step.c.round, step.c.position, step.c.direction, step.c.task_id, step.c.state)
        .join_from(step, run, run.c.id == step.c.run_id)
        .where(step.c.run_id == bind(step.c.run_id), is_to_run(), one_of(run.c.state, ACTIVE))
        .order_by(*order_of_undoing())
        .limit(1)
    )
    found = skip_locked(first).subquery("first")
    return select(found.c.position).where(_is_next(found.c))


_CLAIM_NEXT: Final = _claim_next(and_(_is_next(step.c), _IS_ACTIVE), run_columns=FACTS_OF_NEXT)


def _succeed(**more: Any) -> Change:
    counted = this_run().values(attempt_count=run.c.attempt_count + 1, operator_state=bind(run.c.operator_state))
    return Change(
        guard=claimed_step("succeed_step").values(
            {**ended(StepState.SUCCEEDED), "output": bind(step.c.output), "error": null()},
        ),
        returning=MATCHED,
        rows=(step_entry(Event.STEP_SUCCEEDED),),
        run_update=counted,
        **more,
    )


_SUCCEED: Final = _succeed(also=(_UNDO, _FREE_KEY))
_SUCCEED_AND_CLAIM: Final = _succeed(
    requires=_is_first(),
    also=(_UNDO, _FREE_KEY, _claim_next(_is_next(step.c), label=_NEXT)),
    changed_columns=FACTS_OF_NEXT,
)
_SUCCEED_AND_READY: Final = _succeed(requires=_is_first(), also=(_UNDO, _FREE_KEY, _ready_next()))
_SKIP: Final = Change(
    guard=claimed_step("skip_step").values(ended(StepState.SKIPPED)),
    returning=MATCHED,
    rows=(step_entry(Event.STEP_SKIPPED, reason=bind(entry.c.reason)),),
    run_update=this_run().values(attempt_count=run.c.attempt_count + 1, operator_state=bind(run.c.operator_state)),
)


def succeed_compensation(connection: Connection, claim: Claim, *, output: JsonValue, operator_state: str) -> bool:
    """Walk `succeed_step` for a compensation, and `undo_step` for its step where that had succeeded.

    A step that had not keeps its state, and gives its key of its own free. Needs a transaction: what comes next belongs
    into it.

    Returns:
        False when the claim was lost meanwhile: nothing was written (R3).
    """
    return apply(connection, _SUCCEED, _end_parameters(claim, output, operator_state)) is not None


def succeed_and_claim(
    connection: Connection,
    claim: Claim,
    *,
    output: JsonValue,
    operator_state: str,
    following: Link,
    asked: NextClaim,
) -> Claim | None:
    """Walk `succeed_step`, `undo_step` and, for the next compensation, `claim_compensation`. One commit of its own.

    Locks the next row and the run, then this row and its step's.

    Args:
        connection: a `Ledger.change()` scope, or a transaction.
        claim: of the attempt that succeeded.
        output: validated, as JSON.
        operator_state: of the run from now on.
        following: the next of the way back, as far as is known: a hint, the row is asked.
        asked: who claims it.

    Returns:
        `None` when the claim was lost (R3), when a person has stopped the run (R13) or just holds it, or when the next
        row is not what it was or not the first any more: nothing was written. `succeed_compensation` tells.
    """
    parameters = _end_parameters(claim, output, operator_state) | _next_parameters(following, asked)
    row = apply(connection, _SUCCEED_AND_CLAIM, parameters)
    if row is None:
        return None
    claimed = {column.name: row[f"{_NEXT}_{column.name}"] for column in CLAIMED}
    return _claim_of(claim, following, asked, {**row, **claimed})


def succeed_and_ready(
    connection: Connection,
    claim: Claim,
    *,
    output: JsonValue,
    operator_state: str,
    following: Link,
    resend_seconds: float,
) -> str | None:
    """Walk `succeed_step`, `undo_step` and, for the next compensation, `ready_step`. One commit of its own.

    Arguments as of `succeed_and_claim` and `ready_step`.

    Returns:
        The name of the next step to undo; `None` as of `succeed_and_claim`: nothing was written.
    """
    parameters = {
        **_end_parameters(claim, output, operator_state),
        **_which_next(following),
        "b_resend": resend_seconds,
    }
    row = apply(connection, _SUCCEED_AND_READY, parameters)
    return None if row is None else row[f"{_NEXT}_{step.c.step.name}"]


def claim_compensation(connection: Connection, ended: Claim, following: Link, asked: NextClaim) -> Claim | None:
    """Claim the next compensation whose turn has come. Needs the transaction in which the one before it has ended.

    That one's UPDATE of the run holds its lock: what a person has done to the run before is seen (R13).

    Returns:
        `None` when it is not pending any more, or a person has stopped the run: nothing was written.
    """
    parameters = {"b_run_id": following.key.run_id, **_next_parameters(following, asked)}
    row = apply(connection, _CLAIM_NEXT, parameters)
    return None if row is None else _claim_of(ended, following, asked, row)


def _end_parameters(claim: Claim, output: JsonValue, operator_state: str) -> dict[str, Any]:
    return {
        **key_parameters(claim.key),
        "b_claim_token": claim.token,
        "b_actor": ENGINE,
        "b_output": output,
        "b_operator_state": operator_state,
    }


def _which_next(following: Link) -> dict[str, Any]:
    return {
        "b_next_round": following.key.round,
        "b_next_position": following.key.position,
        "b_next_task_id": following.task_id,
    }


def _next_parameters(following: Link, asked: NextClaim) -> dict[str, Any]:
    return {
        **_which_next(following),
        "b_next_claim_token": asked.token,
        "b_lease": asked.lease_seconds,
        "b_worker": asked.worker,
        "b_claimed_by": asked.process,
        "b_claim_detail": dict(asked.detail),
    }


def _claim_of(ended: Claim, following: Link, asked: NextClaim, row: Mapping[str, Any]) -> Claim:
    return Claim.from_row(row, key=following.key, token=asked.token, run=facts_after(ended.run, row))


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
    """Mark a forward success as undone, without its compensation: its output is void. Needs a transaction.

    Args:
        connection: the transaction.
        compensated: the forward row, or its compensation's (only the direction differs).
        actor: for the entry.

    Returns:
        False when the forward step had not succeeded (it failed after it started): it keeps its state.
    """
    return apply(connection, _UNDO, {**key_parameters(compensated), "b_actor": actor}) is not None


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
