"""The arrows of questions about steps: asked, answered, and what an answer does to the step that it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, case, insert, null, select, update

from backout.events import Event
from backout.identifiers import TaskId
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
from backout.states import TRANSITIONS, StepState, sources


@dataclass(frozen=True, slots=True, kw_only=True)
class NewQuestion:
    """A question that is not yet asked.

    Attributes:
        key: with the question's direction.
        state: ready, waiting until a time, or pending in the order of undoing.
        start_order: of its step; on the way back, of the compensation that it is asked for.
        idempotency_key: of its step: the outside world knows the effect by it.
        reason: why it is asked.
        wait_until: aware; given for a question that waits.
    """

    key: StepKey
    step: str
    state: StepState
    start_order: int
    idempotency_key: str
    task_id: TaskId
    reason: str
    wait_until: datetime | None = None


_IS_READY: Final = bind(step.c.state) == StepState.READY.value
_DUE: Final[dict[str, Any]] = {
    "state": bind(step.c.state),
    "sends": case((_IS_READY, 1), else_=0),
    "sweep_at": case((_IS_READY, after(seconds("resend"))), else_=bind(step.c.sweep_at)),
    "dispatched_at": case((_IS_READY, now()), else_=null()),
    "start_order": bind(step.c.start_order),
    "idempotency_key": bind(step.c.idempotency_key),
    "task_id": bind(step.c.task_id),
    "attempt": 0,
    "lost_attempts": 0,
}
_ASK_AGAIN: Final = Change(
    guard=update(step)
    .where(key_is(), one_of(step.c.state, sources("ask_question")))
    .values(
        **_DUE,
        output=null(),
        error=null(),
        claim_token=null(),
        claim_expires_at=null(),
        next_retry_at=null(),
        started_at=null(),
        finished_at=null(),
    ),
    returning=MATCHED,
    rows=(step_entry(bind(entry.c.event), reason=bind(entry.c.reason), attempt=null()),),
)


_EVENTS: Final = {
    StepState.READY: Event.QUESTION_ASKED,
    StepState.PENDING: Event.QUESTION_PLANNED,
    StepState.WAITING: Event.WAIT_STARTED,
}


def ask_question(connection: Connection, new: NewQuestion, *, resend_seconds: float, actor: str = ENGINE) -> None:
    """Ask a question for the first time, or again: what was known before is out of date.

    Needs the transaction of what makes it necessary. The earlier answer stays in the entries. A question that is asked
    already and that nobody has begun to answer stays as it is.

    Raises:
        ValueError: this is no question, or it cannot begin in this state.
    """
    if new.state.value not in TRANSITIONS["ask_question"].targets or not new.key.direction.is_question:
        message = f"{new.key.direction} cannot be asked as {new.state}"
        raise ValueError(message)
    parameters = {
        **key_parameters(new.key),
        "b_state": new.state.value,
        "b_sweep_at": new.wait_until,
        "b_start_order": new.start_order,
        "b_idempotency_key": new.idempotency_key,
        "b_task_id": new.task_id,
        "b_resend": resend_seconds,
        "b_actor": actor,
        "b_event": _EVENTS[new.state].value,
        "b_reason": new.reason,
    }
    if apply(connection, _ASK_AGAIN, parameters) is not None or _is_asked(connection, new.key):
        return
    place = {
        "run_id": new.key.run_id,
        "round": new.key.round,
        "position": new.key.position,
        "direction": new.key.direction.value,
        "step": new.step,
    }
    connection.execute(
        insert(step).values(**place, **_DUE, external_ids={}),
        {name: value for name, value in parameters.items() if name in _INSERTED},
    )
    connection.execute(
        insert(entry).values(at=now(), **place, event=_EVENTS[new.state].value, actor=actor, reason=new.reason),
    )


def _is_asked(connection: Connection, key: StepKey) -> bool:
    found = connection.execute(select(step.c.state).where(key_is()), key_parameters(key))
    return found.scalar_one_or_none() is not None


_INSERTED: Final = frozenset(
    {"b_state", "b_sweep_at", "b_start_order", "b_idempotency_key", "b_task_id", "b_resend"},
)


_ANSWER: Final = Change(
    guard=claimed_step("succeed_step").values(
        {**ended(StepState.SUCCEEDED), "output": bind(step.c.output), "error": null()},
    ),
    returning=MATCHED,
    rows=(step_entry(Event.QUESTION_ANSWERED, detail=bind(entry.c.detail)),),
)


def answer_question(connection: Connection, claim: Claim, *, answer: Mapping[str, Any]) -> bool:
    """Walk `succeed_step` for a question. Needs a transaction: what the answer does to its step belongs into it.

    Args:
        connection: the transaction.
        claim: on the question's row.
        answer: with the key `answer` (see `Answer`), and `output` or `why` where there is one.

    Returns:
        False when the claim was lost meanwhile: nothing was written.
    """
    parameters = {
        **key_parameters(claim.key),
        "b_claim_token": claim.token,
        "b_actor": ENGINE,
        "b_output": dict(answer),
        "b_detail": dict(answer),
    }
    return apply(connection, _ANSWER, parameters) is not None


_CLEAR: Final = Change(
    guard=update(step)
    .where(key_is(), one_of(step.c.state, sources("clear_doubt")))
    .values(
        state=StepState.READY.value,
        sends=1,
        sweep_at=after(seconds("resend")),
        dispatched_at=now(),
        task_id=bind(step.c.task_id),
    ),
    returning=MATCHED,
    rows=(step_entry(Event.DOUBT_CLEARED, reason=bind(entry.c.reason), attempt=null()),),
    run_update=this_run().values(operator_state=bind(run.c.operator_state)),
)


def clear_doubt(
    connection: Connection,
    key: StepKey,
    *,
    task_id: TaskId,
    reason: str,
    operator_state: str,
    resend_seconds: float,
    actor: str = ENGINE,
) -> bool:
    """Let a step in doubt run again: it has not happened (R8). Needs the transaction of the answer that says so.

    Args:
        connection: the transaction.
        key: of the step.
        task_id: of the message that is sent after the commit.
        reason: who says that it has not happened.
        operator_state: of the run from now on.
        resend_seconds: when the sweeper sends it again if nobody takes it up.
        actor: for the entry.

    Returns:
        False when the step is not in doubt any more: nothing was written.
    """
    parameters = {
        **key_parameters(key),
        "b_task_id": task_id,
        "b_operator_state": operator_state,
        "b_resend": resend_seconds,
        "b_actor": actor,
        "b_reason": reason,
    }
    return apply(connection, _CLEAR, parameters) is not None


_DROP: Final = Change(
    guard=update(step)
    .where(key_is(), one_of(step.c.state, sources("drop_compensation")))
    .values({**ended(StepState.SKIPPED), "error": null()}),
    returning=MATCHED,
    rows=(step_entry(Event.STEP_SKIPPED, reason=bind(entry.c.reason), attempt=null()),),
)


def drop_compensation(connection: Connection, key: StepKey, *, reason: str, actor: str = ENGINE) -> bool:
    """Take a compensation out of the rollback: its step has not happened. Needs the transaction of the answer.

    Returns:
        False when it was not pending: nothing was written.
    """
    return apply(connection, _DROP, {**key_parameters(key), "b_actor": actor, "b_reason": reason}) is not None


_END_WAIT: Final = Change(
    guard=update(step)
    .where(key_is(), one_of(step.c.state, sources("end_wait")), step.c.sweep_at <= now())
    .values(state=StepState.READY.value, sends=0, sweep_at=after(seconds("resend"))),
    returning=MATCHED,
    rows=(step_entry(Event.WAIT_ENDED, attempt=null()),),
)


def end_wait(connection: Connection, key: StepKey, *, resend_seconds: float, actor: str) -> bool:
    """Let a row be claimed whose time has come. Needs a transaction that holds the row's lock.

    Returns:
        False when it does not wait, or its time has not come: nothing was written.
    """
    parameters = {**key_parameters(key), "b_resend": resend_seconds, "b_actor": actor}
    return apply(connection, _END_WAIT, parameters) is not None
