"""The pieces that intents are made of: moves that many verbs share, and the words and tasks of previews. Pure."""

from __future__ import annotations

from backout.compensations.moves import Close, DecideReview
from backout.compensations.requests import PlannedTask, Refusal, RunView, TaskKind
from backout.jsontext import JsonValue
from backout.ledger.records import StepRecord
from backout.states import Direction, RollbackOutcome, RunState, StepState

UNFINISHED = (StepState.PENDING, StepState.READY, StepState.RETRY_SCHEDULED, StepState.WAITING)
"""States of a row that waits for its turn, its time or a worker."""


def run_is(view: RunView) -> str:
    """Return the state of a run as the start of a sentence."""
    words = {
        RunState.IN_REVIEW: "is waiting for a person",
        RunState.SUCCEEDED: "has succeeded",
        RunState.FAILED: "has failed",
        RunState.ROLLED_BACK: "was rolled back",
        RunState.CANCELLED: "was cancelled",
    }
    said = words.get(view.run.state, f"is {view.run.state.value.replace('_', ' ')}")
    return f"the run {said}"


def planned_run(view: RunView, position: int, *, key: str) -> PlannedTask:
    """Return the task of a forward step."""
    contract = view.plan.steps[position]
    given: dict[str, JsonValue] = {"idempotency_key": key, "external_ids": dict(view.run.external_ids)}
    return PlannedTask(kind=TaskKind.RUN, name=contract.task, step=contract.name, given=given)


def planned_question(view: RunView, row: StepRecord, direction: Direction) -> PlannedTask:
    """Return the task of a question about a step."""
    contract = view.plan.steps[row.position]
    question = contract.reconcile if direction is Direction.RECONCILE else contract.verify
    return PlannedTask(
        kind=TaskKind.ASK if direction is Direction.RECONCILE else TaskKind.VERIFY,
        name=question.task if question is not None else "",
        step=contract.name,
        given={"idempotency_key": row.idempotency_key, "external_ids": dict(row.external_ids)},
    )


def planned_undo(view: RunView, position: int, round_number: int) -> PlannedTask:
    """Return the task of a compensation, with what the ledger has for it."""
    contract = view.plan.steps[position]
    rows = [s for s in view.steps if (s.round, s.position) == (round_number, position)]
    forward = next(row for row in rows if row.direction is Direction.FORWARD)
    has_output = forward.error is None and forward.state in (StepState.SUCCEEDED, StepState.UNDONE)
    missing = [] if has_output else ["the output: the step never returned one"]
    if not has_output and not forward.external_ids:
        missing.append("external ids: the step recorded none")
    compensation = contract.compensation
    return PlannedTask(
        kind=TaskKind.UNDO,
        name=compensation.task if compensation is not None else "",
        step=contract.name,
        action=compensation.action if compensation is not None else "",
        given={
            "output": forward.output if has_output else None,
            "external_ids": dict(forward.external_ids),
            "idempotency_key": f"{forward.idempotency_key}:undo",
        },
        missing=tuple(missing),
    )


def wait_for_attempt(view: RunView) -> Refusal:
    """Return the refusal of what must not happen beside a running attempt (R5)."""
    running = view.running[0]
    paused = view.run.state is RunState.PAUSED
    pausing = "" if paused else "Pause the run, so that nothing new starts. "
    remedy = f"{pausing}Wait until it has ended"
    return Refusal(
        why=f"attempt {running.attempt} of {running.step} ({running.direction}) is running",
        remedy=f"{remedy}, and ask again (on the command line: --wait).",
        is_busy=True,
    )


def has_turned_back(view: RunView) -> bool:
    """Return whether the last thing that the run did was a rollback, which has come to its end."""
    return view.run.rollback_outcome is not RollbackOutcome.NONE and not view.is_rollback_open


def close_unfinished(view: RunView) -> tuple[Close, ...]:
    """Return the moves that end every forward row, and question about one, that will not run any more."""
    return tuple(
        Close(row=step)
        for step in view.steps
        if step.direction is not Direction.COMPENSATION and step.state in UNFINISHED
    )


def decide_reviews(view: RunView, decision: str) -> tuple[DecideReview, ...]:
    """Return the moves that decide all open reviews of the run: the verb has made them moot."""
    return tuple(DecideReview(review_id=review.id, decision=decision) for review in view.reviews)
