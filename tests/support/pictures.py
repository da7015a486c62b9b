"""Pictures of the order pipeline's runs, made by hand with fixed times: what the ledger would say, without one."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console, RenderableType

from backout.events import Event
from backout.identifiers import RunId, TaskId
from backout.ledger.records import EntryRecord, ReviewRecord, RunRecord, StepRecord
from backout.pipelines.contract import Plan
from backout.states import Direction, ReviewReason, RollbackOutcome, RunState, StepState
from backout.views.picture import RunPicture
from tests.support.runs import ORDER_PLAN

STARTED_AT = datetime(2025, 11, 22, 5, 20, 0, tzinfo=UTC)
RUN_ID = RunId("019aa9c0-d900-7aa5-9931-e0eb6d687b25")
COMPENSATION = Direction.COMPENSATION


def at(seconds: float) -> datetime:
    """Return the instant so many seconds after the run was enqueued."""
    return STARTED_AT + timedelta(seconds=seconds)


def run_record(state: RunState, **values: Any) -> RunRecord:
    """Return a run that ended, if it is final, 12.4 seconds after it was enqueued."""
    defaults: dict[str, Any] = {
        "id": RUN_ID,
        "pipeline": ORDER_PLAN.pipeline,
        "definition_digest": ORDER_PLAN.digest,
        "source_event_id": None,
        "subject_id": "customer-17",
        "round": 1,
        "operator_state": "card_charged_courier_pending",
        "last_successful_step": None,
        "external_ids": {},
        "attempt_count": 3,
        "next_retry_at": None,
        "requires_human_review": state is RunState.IN_REVIEW,
        "error_summary": None,
        "rollback_outcome": RollbackOutcome.NONE,
        "input": {},
        "output": None,
        "created_at": STARTED_AT,
        "updated_at": at(12.4),
        "finished_at": at(12.4) if state.is_final else None,
    }
    return RunRecord(**{**defaults, "state": state, **values})


def step_record(
    step: str, state: StepState, direction: Direction = Direction.FORWARD, *, plan: Plan = ORDER_PLAN, **values: Any
) -> StepRecord:
    """Return a row that started one second for each of its position after the run and took half a second."""
    position = plan.position_of(step)
    has_started = state not in (StepState.PENDING, StepState.READY, StepState.KEPT)
    defaults: dict[str, Any] = {
        "run_id": RUN_ID,
        "round": 1,
        "position": position,
        "attempt": 1 if has_started else 0,
        "lost_attempts": 0,
        "start_order": position + 1 if direction is Direction.FORWARD else len(plan.steps) - position,
        "idempotency_key": f"{RUN_ID}:{step}",
        "claim_token": None,
        "claim_expires_at": at(90) if state is StepState.RUNNING else None,
        "task_id": TaskId(RUN_ID),
        "output": None,
        "external_ids": {},
        "error": None,
        "next_retry_at": None,
        "sends": 1,
        "sweep_at": None,
        "dispatched_at": at(position),
        "started_at": at(position) if has_started else None,
        "finished_at": at(position + 0.5) if state.is_finished else None,
    }
    return StepRecord(**{**defaults, "step": step, "state": state, "direction": direction, **values})


def entry_record(
    event: Event, row: StepRecord | None = None, *, seconds: float = 0.0, number: int = 1, **values: Any
) -> EntryRecord:
    """Return an entry about a step row, or about the run."""
    defaults: dict[str, Any] = {
        "round": row.round if row else None,
        "position": row.position if row else None,
        "step": row.step if row else None,
        "direction": row.direction if row else None,
        "attempt": row.attempt if row else None,
        "actor": "engine",
        "reason": None,
        "detail": None,
    }
    return EntryRecord(**{**defaults, "id": number, "at": at(seconds), "run_id": RUN_ID, "event": event, **values})


def review_record(reason: ReviewReason, row: StepRecord, **values: Any) -> ReviewRecord:
    """Return an open review about a step row."""
    defaults: dict[str, Any] = {
        "evidence": {"idempotency_key": row.idempotency_key},
        "deadline_at": None,
        "assignee": None,
        "decision": None,
        "decided_by": None,
        "note": None,
        "decided_at": None,
    }
    about: dict[str, Any] = {"position": row.position, "step": row.step, "direction": row.direction}
    return ReviewRecord(
        **{
            **defaults,
            **about,
            "id": 7,
            "run_id": RUN_ID,
            "round": 1,
            "reason": reason,
            "opened_at": at(10),
            **values,
        }
    )


def picture(
    state: RunState,
    steps: Sequence[StepRecord] = (),
    *,
    entries: Sequence[EntryRecord] = (),
    reviews: Sequence[ReviewRecord] = (),
    plan: Plan | None = ORDER_PLAN,
    seconds: float = 30.0,
    run: Mapping[str, Any] | None = None,
) -> RunPicture:
    """Return a picture as it was read so many seconds after the run was enqueued."""
    record = run_record(state, **(run or {}))
    return RunPicture(run=record, plan=plan, steps=steps, entries=entries, reviews=reviews, now=at(seconds))


def done(*names: str, state: StepState = StepState.SUCCEEDED) -> list[StepRecord]:
    """Return the rows of forward steps that are all in one state."""
    return [step_record(name, state) for name in names]


def courier_failed() -> StepRecord:
    """Return the row of a courier that failed at its third attempt."""
    error = {"type": "shop.NoCourier", "message": "no courier in that area"}
    return step_record("book_courier", StepState.FAILED, attempt=3, error=error)


def printed(renderable: RenderableType, width: int = 100) -> str:
    """Return what a pipe gets of a renderable, without the blanks at the ends of lines."""
    console = Console(width=width, no_color=True, force_terminal=False, highlight=False, markup=False, emoji=False)
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
