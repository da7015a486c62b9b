"""The creation of runs: each with its plan, its first step ready, and the first entries. One statement for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import false

from backout.events import Event
from backout.identifiers import RunId
from backout.jsontext import dump_json
from backout.ledger.change import NewRow
from backout.ledger.cursors import RecordingConnection
from backout.ledger.dialects import after, insert_given, now
from backout.ledger.given import Given, GivenInsert, GivenRow
from backout.ledger.models import entry, run, step
from backout.ledger.transitions.parts import bind, seconds
from backout.ledger.transitions.runs import NewRun
from backout.states import Direction, RollbackOutcome, RunState, StepState


def create_run(connection: RecordingConnection, new: NewRun, *, resend_seconds: float) -> bool:
    """Record a run. Arguments as of `create_runs`.

    Returns:
        False when the pipeline already has a run of this source event (R9): nothing was written.
    """
    return bool(create_runs(connection, [new], resend_seconds=resend_seconds))


def create_runs(connection: RecordingConnection, new: Sequence[NewRun], *, resend_seconds: float) -> set[RunId]:
    """Record runs of one pipeline with their plan, the first step of each ready, and the first entries.

    Args:
        connection: a transaction, the caller's own perhaps, which is not committed; or a `Ledger.change()` scope.
        new: of one plan and one actor, with ids that no run has; of two with the same source event, the first is
            recorded.
        resend_seconds: when the sweeper sends the first message again if nobody takes it up.

    Returns:
        The ids of those that were recorded. The others' source event has a run already (R9): nothing was written of
        them. This waits for other transactions that are just creating them.
    """
    if not new:
        return set()
    # In one order everywhere: two processes that enqueue the same events would otherwise wait for each other.
    rows = [_given(one) for one in sorted(new, key=lambda one: one.source_event_id or "")]
    first = new[0]
    parameters = {
        "b_pipeline": first.pipeline,
        "b_definition_digest": first.definition_digest,
        "b_plan": first.plan,
        "b_operator_state": first.operator_state,
        "b_deadline": first.deadline_seconds,
        "b_step": first.first_step,
        "b_resend": resend_seconds,
        "b_actor": first.actor,
    }
    return {RunId(found) for found in insert_given(connection, _CREATION, rows, parameters)}


def _given(new: NewRun) -> GivenRow:
    texts = {
        "id": new.id,
        "task_id": new.task_id,
        "source_event_id": new.source_event_id,
        "subject_id": new.subject_id,
        "input": dump_json(new.input),
        "idempotency_key": new.idempotency_key,
        "detail": dump_json({"source_event_id": new.source_event_id, "subject_id": new.subject_id}),
    }
    return {name: text for name, text in texts.items() if text is not None}


_RUN: Final = NewRow(
    table=run,
    values={
        "id": Given("id"),
        "pipeline": bind(run.c.pipeline),
        "definition_digest": bind(run.c.definition_digest),
        "plan": bind(run.c.plan),
        "source_event_id": Given("source_event_id"),
        "subject_id": Given("subject_id"),
        "state": RunState.PENDING.value,
        "round": 1,
        "operator_state": bind(run.c.operator_state),
        "external_ids": {},
        "requires_human_review": false(),
        "rollback_outcome": RollbackOutcome.NONE.value,
        "input": Given("input"),
        "created_at": now(),
        "updated_at": now(),
        # NULL in so many seconds is NULL on every database.
        "deadline_at": after(seconds("deadline")),
    },
)
_FIRST_STEP: Final = NewRow(
    table=step,
    values={
        "run_id": Given("id"),
        "round": 1,
        "position": 0,
        "direction": Direction.FORWARD.value,
        "step": bind(step.c.step),
        "state": StepState.READY.value,
        "attempt": 0,
        "lost_attempts": 0,
        "start_order": 1,
        "idempotency_key": Given("idempotency_key"),
        "task_id": Given("task_id"),
        "external_ids": {},
        "sends": 1,
        "sweep_at": after(seconds("resend")),
        "dispatched_at": now(),
    },
)
_CREATED: Final = NewRow(
    table=entry,
    values={
        "at": now(),
        "run_id": Given("id"),
        "round": None,
        "position": None,
        "step": None,
        "direction": None,
        "event": Event.RUN_CREATED.value,
        "actor": bind(entry.c.actor),
        "detail": Given("detail"),
    },
)
_READY: Final = NewRow(
    table=entry,
    values={
        "at": now(),
        "run_id": Given("id"),
        "round": 1,
        "position": 0,
        "step": bind(entry.c.step),
        "direction": Direction.FORWARD.value,
        "event": Event.STEP_READY.value,
        "actor": bind(entry.c.actor),
        "detail": None,
    },
)
_CREATION: Final = GivenInsert(
    fields=("id", "task_id", "source_event_id", "subject_id", "input", "idempotency_key", "detail"),
    new=_RUN,
    rows=(_FIRST_STEP, _CREATED, _READY),
)
