"""The arrows of a run: created, started (with its first claim), closed, parked, handed to a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, case, insert, null, select

from backout.events import Event
from backout.identifiers import RunId, TaskId
from backout.jsontext import JsonValue
from backout.ledger.change import Change
from backout.ledger.dialects import apply, now
from backout.ledger.models import entry, review, run
from backout.ledger.records import StepKey
from backout.ledger.transitions.parts import ENGINE, bind, one_of, run_entry, this_run
from backout.states import ReviewReason, RollbackOutcome, RunState, sources


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run that is not yet stored. `first_step` and `idempotency_key` are of the step that starts it."""

    id: RunId
    pipeline: str
    definition_digest: str
    plan: Mapping[str, Any]
    source_event_id: str | None
    subject_id: str | None
    operator_state: str
    input: JsonValue
    first_step: str
    idempotency_key: str
    task_id: TaskId
    actor: str
    deadline_seconds: float | None = None


def _run_change(arrow: str, event: Event, **values: Any) -> Change:
    return Change(
        guard=this_run(arrow).values(operator_state=bind(run.c.operator_state), **values),
        returning=(run.c.id,),
        rows=(run_entry(event, reason=bind(entry.c.reason), detail=bind(entry.c.detail)),),
    )


def _walk(connection: Connection, change: Change, run_id: RunId, **parameters: Any) -> bool:
    defaults = {"b_run_id": run_id, "b_actor": ENGINE, "b_reason": None, "b_detail": None}
    named = {f"b_{name}": value for name, value in parameters.items()}
    return apply(connection, change, {**defaults, **named}) is not None


_PARK: Final = _run_change(
    "park_run",
    Event.RUN_PARKED,
    state=RunState.PARKED.value,
    error_summary=bind(entry.c.reason),
)
_BEGIN_ROLLBACK: Final = _run_change(
    "begin_rollback",
    Event.ROLLBACK_STARTED,
    state=RunState.ROLLING_BACK.value,
    next_retry_at=null(),
    error_summary=bind(run.c.error_summary),
)
_FINISH_ROLLBACK: Final = _run_change(
    "finish_rollback",
    Event.ROLLBACK_FINISHED,
    state=bind(run.c.state),
    rollback_outcome=bind(run.c.rollback_outcome),
    next_retry_at=null(),
    finished_at=case((bind(run.c.state) == RunState.PAUSED.value, null()), else_=now()),
)
_REVIEW: Final = _run_change(
    "review_run",
    Event.RUN_IN_REVIEW,
    state=RunState.IN_REVIEW.value,
    requires_human_review=True,
    next_retry_at=null(),
    rollback_outcome=bind(run.c.rollback_outcome),
)


def park_run(connection: Connection, run_id: RunId, *, operator_state: str, reason: str) -> bool:
    """Keep what was done; the run waits for a person. Needs a transaction.

    Returns:
        False when the run was not running: nothing was written.
    """
    return _walk(connection, _PARK, run_id, operator_state=operator_state, reason=reason)


def begin_rollback(
    connection: Connection,
    run_id: RunId,
    *,
    operator_state: str,
    error_summary: str,
    requested_by: str,
    compensations: tuple[str, ...],
) -> bool:
    """Turn the run round. Needs a transaction, to which the rows of the plan belong (`plan_compensation`).

    Args:
        connection: the transaction.
        run_id: the run.
        operator_state: from now on.
        error_summary: the forward error.
        requested_by: who asked for the rollback; the engine for a failure.
        compensations: names of the steps to undo, in the order of undoing.

    Returns:
        False when the run was not running: nothing was written.
    """
    return _walk(
        connection,
        _BEGIN_ROLLBACK,
        run_id,
        operator_state=operator_state,
        error_summary=error_summary,
        actor=requested_by,
        reason=error_summary,
        detail={"compensations": list(compensations)},
    )


def finish_rollback(
    connection: Connection,
    run_id: RunId,
    *,
    operator_state: str,
    outcome: RollbackOutcome,
    is_to_step: bool = False,
    actor: str = ENGINE,
    reason: str | None = None,
) -> bool:
    """Close the run after its last compensation: rolled back, or failed where something could not be undone.

    A rollback to a step that is complete leaves the run paused: a person says whether it goes on from there.

    Needs a transaction. Returns False when the run was not rolling back: nothing was written.
    """
    done = RunState.PAUSED if is_to_step else RunState.ROLLED_BACK
    state = done if outcome is RollbackOutcome.COMPLETE else RunState.FAILED
    return _walk(
        connection,
        _FINISH_ROLLBACK,
        run_id,
        operator_state=operator_state,
        state=state.value,
        rollback_outcome=outcome.value,
        actor=actor,
        reason=reason,
        detail={"outcome": outcome.value, **({"state": state.value} if state is RunState.PAUSED else {})},
    )


def review_run(
    connection: Connection,
    run_id: RunId,
    *,
    reason: ReviewReason,
    about: StepKey | None,
    step_name: str | None,
    evidence: Mapping[str, Any],
    operator_state: str,
    rollback_outcome: RollbackOutcome,
    deadline_at: datetime | None = None,
) -> int | None:
    """Hand the run to a person: opens a review and moves the run to `in_review`. Needs a transaction.

    Args:
        connection: the transaction.
        run_id: the run.
        reason: why a person is asked.
        about: the step row in question; `None` when it is the run.
        step_name: the step's name.
        evidence: JSON; what was attempted, ids, what is safe to retry, what must not be repeated.
        operator_state: from now on.
        rollback_outcome: how far a rollback had come.
        deadline_at: aware; `None`: none.

    Returns:
        The id of the review; `None` when the run was neither running nor rolling back: nothing was written.
    """
    # The run's lock comes first, so that no review is opened of a run that somebody else has just moved on.
    found = select(run.c.round).where(run.c.id == run_id, one_of(run.c.state, sources("review_run")))
    locked = connection.execute(found.with_for_update()).one_or_none()
    if locked is None:
        return None
    review_id = _open_review(
        connection,
        run_id=run_id,
        round=about.round if about else locked.round,
        position=about.position if about else None,
        step=step_name,
        direction=about.direction.value if about else None,
        reason=reason.value,
        evidence=dict(evidence),
        deadline_at=deadline_at,
    )
    _walk(
        connection,
        _REVIEW,
        run_id,
        operator_state=operator_state,
        reason=reason.value,
        detail={"review_id": review_id},
        rollback_outcome=rollback_outcome.value,
    )
    return review_id


def _open_review(connection: Connection, **values: Any) -> int:
    created = connection.execute(insert(review).values(**values, opened_at=now())).inserted_primary_key
    assert created is not None  # SQLAlchemy has it for an INSERT of one row.
    review_id: int = created.id
    return review_id
