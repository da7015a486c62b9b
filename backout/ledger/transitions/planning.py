"""The arrows that plan a way back: all of its compensations at once, before the first one runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, case, null, update

from backout.events import Event
from backout.identifiers import TaskId
from backout.ledger.change import NewRow
from backout.ledger.dialects import after, insert_rows, now
from backout.ledger.given import ByGiven, Given, GivenRow, GivenRows
from backout.ledger.models import entry, step
from backout.ledger.records import StepKey
from backout.ledger.transitions.parts import bind, key_is, key_parameters, one_of, seconds
from backout.states import FINISHED_STEP_STATES, TRANSITIONS, StepState, sources


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCompensation:
    """A row of the rollback plan that is not yet stored.

    Attributes:
        state: ready for the first to run, or waiting until a time; pending for the others, kept or skipped where
            nothing is run.
        start_order: the place in the order of undoing, from 1.
        reason: why it is kept or skipped; empty otherwise.
        wait_until: aware; given for a row that waits.
        is_planned_again: an earlier rollback has left the row, with its undo failed, left out or kept.
    """

    key: StepKey
    step: str
    state: StepState
    start_order: int
    idempotency_key: str
    task_id: TaskId
    reason: str = ""
    wait_until: datetime | None = None
    is_planned_again: bool = False


_PLANNED_EVENTS: Final = {
    StepState.READY: Event.STEP_READY,
    StepState.PENDING: Event.COMPENSATION_PLANNED,
    StepState.WAITING: Event.WAIT_STARTED,
    StepState.KEPT: Event.STEP_KEPT,
    StepState.SKIPPED: Event.STEP_SKIPPED,
}


_IS_READY: Final = bind(step.c.state) == StepState.READY.value
_PLANNED: Final[dict[str, Any]] = {
    "state": bind(step.c.state),
    "start_order": bind(step.c.start_order),
    "task_id": bind(step.c.task_id),
    "sends": case((_IS_READY, 1), else_=0),
    "sweep_at": case((_IS_READY, after(seconds("resend"))), else_=bind(step.c.sweep_at)),
    "dispatched_at": case((_IS_READY, now()), else_=null()),
    "finished_at": case((one_of(bind(step.c.state), FINISHED_STEP_STATES), now()), else_=null()),
}
_PLACE: Final = {
    "run_id": bind(step.c.run_id),
    **{name: Given(name) for name in ("round", "position", "direction", "step")},
}
_ROW: Final = NewRow(
    table=step,
    values={
        **_PLACE,
        "state": Given("state"),
        "attempt": 0,
        "lost_attempts": 0,
        "start_order": Given("start_order"),
        "idempotency_key": Given("idempotency_key"),
        "task_id": Given("task_id"),
        "external_ids": {},
        "sends": Given("sends"),
        "sweep_at": ByGiven(
            "state",
            {
                StepState.READY.value: after(seconds("resend")),
                StepState.WAITING.value: bind(step.c.sweep_at),
            },
        ),
        "dispatched_at": ByGiven("state", {StepState.READY.value: now()}),
        "finished_at": ByGiven("state", {StepState.KEPT.value: now(), StepState.SKIPPED.value: now()}),
    },
)
_ENTRY: Final = NewRow(
    table=entry,
    values={
        "at": now(),
        **_PLACE,
        "event": Given("event"),
        "actor": bind(entry.c.actor),
        "reason": Given("reason"),
    },
)
_FIELDS: Final = ("round", "position", "direction", "step", "state", "start_order", "idempotency_key", "task_id")
_SAID: Final = ("event", "reason")
_ROWS: Final = GivenRows(fields=(*_FIELDS, "sends"), rows=(_ROW,))
_ENTRIES: Final = GivenRows(fields=(*_FIELDS[:4], *_SAID), rows=(_ENTRY,))
_ROWS_AND_ENTRIES: Final = GivenRows(fields=(*_FIELDS, "sends", *_SAID), rows=(_ROW, _ENTRY))
_PLAN_AGAIN: Final = (
    update(step)
    .where(key_is(), one_of(step.c.state, sources("plan_again")))
    .values(
        **_PLANNED,
        claim_token=null(),
        forgiven_attempts=step.c.attempt - step.c.lost_attempts,
    )
)


def plan_compensation(
    connection: Connection,
    planned: Sequence[NewCompensation],
    *,
    actor: str,
    resend_seconds: float,
) -> None:
    """Record the rows of a rollback plan, in the order of undoing. Needs the transaction of `begin_rollback`.

    New rows are one statement, and so are the entries: a plan is as long as its pipeline.
    """
    for row in planned:
        if row.state.value not in TRANSITIONS["plan_compensation"].targets:
            message = f"a compensation cannot be planned as {row.state}"
            raise ValueError(message)
    for row in planned:
        if row.is_planned_again:
            plan_again(connection, row, resend_seconds=resend_seconds)
    if not planned:
        return
    parameters = {
        "b_run_id": planned[0].key.run_id,
        "b_resend": resend_seconds,
        "b_sweep_at": next((row.wait_until for row in planned if row.wait_until is not None), None),
        "b_actor": actor,
    }
    new = [_given(row) for row in planned if not row.is_planned_again]
    if len(new) == len(planned):
        insert_rows(connection, _ROWS_AND_ENTRIES, new, parameters)
        return
    insert_rows(connection, _ROWS, new, parameters)
    insert_rows(connection, _ENTRIES, [_given(row) for row in planned], parameters)


def plan_again(connection: Connection, row: NewCompensation, *, resend_seconds: float) -> None:
    """Plan a compensation that an earlier rollback has left, with its undo failed, left out or kept.

    Its attempts and its idempotency key stay: what an earlier undo has done, this one must not do twice.

    Raises:
        RuntimeError: it is under way, or has succeeded; the caller's transaction must be rolled back.
    """
    parameters = {**key_parameters(row.key), **_planned(row, resend_seconds)}
    if connection.execute(_PLAN_AGAIN, parameters).rowcount != 1:
        message = f"the compensation of {row.step} in run {row.key.run_id} is under way already"
        raise RuntimeError(message)


def _planned(row: NewCompensation, resend_seconds: float) -> dict[str, Any]:
    return {
        "b_state": row.state.value,
        "b_start_order": row.start_order,
        "b_task_id": row.task_id,
        "b_resend": resend_seconds,
        "b_sweep_at": row.wait_until,
    }


def _given(row: NewCompensation) -> GivenRow:
    texts = {
        "round": str(row.key.round),
        "position": str(row.key.position),
        "direction": row.key.direction.value,
        "step": row.step,
        "state": row.state.value,
        "start_order": str(row.start_order),
        "idempotency_key": row.idempotency_key,
        "task_id": row.task_id,
        "sends": "1" if row.state is StepState.READY else "0",
        "event": _PLANNED_EVENTS[row.state].value,
    }
    return {**texts, "reason": row.reason} if row.reason else texts
