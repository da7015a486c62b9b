"""What a run has left behind, and why: the books of the rehearsal beside the ledger and the contract. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backout.events import Event
from backout.ledger.records import EntryRecord, ReviewRecord, RunRecord, StepRecord
from backout.pipelines.contract import OnCompensationFailure, OnFailure, Plan, RecoveryKind, StepContract
from backout.states import Direction, RunState, StepState
from backout.testing.rehearsal.books import Books
from backout.testing.rehearsal.cases import Asked, LeftBehind, Why


def find_left_behind(plan: Plan, run: RunRecord, steps: Sequence[StepRecord], books: Books) -> tuple[LeftBehind, ...]:
    """Return the effects that are still there, in the order of the steps.

    Of a run that succeeded only those count that are recorded as failed: the others are what it is for.
    """
    states = {(row.position, row.direction): row.state for row in steps}
    remaining = [plan.steps[plan.position_of(name)] for name in books.remaining()]
    found = []
    for contract in remaining:
        position = plan.position_of(contract.name)
        forward = states.get((position, Direction.FORWARD))
        if run.state is RunState.SUCCEEDED and forward is StepState.SUCCEEDED:
            continue
        back = states.get((position, Direction.COMPENSATION))
        why, reason = _explain(contract, run, forward, back)
        found.append(LeftBehind(step=contract.name, why=why, reason=reason))
    return tuple(found)


def find_asked(run: RunRecord, reviews: Sequence[ReviewRecord], entries: Sequence[EntryRecord]) -> tuple[Asked, ...]:
    """Return what a person must decide before the run goes on."""
    asked = tuple(
        Asked(reason=review.reason.value, step=review.step or "", text=_text_of(review.evidence)) for review in reviews
    )
    if run.state is not RunState.PARKED:
        return asked
    last = next((entry.step for entry in reversed(entries) if entry.step is not None), "")
    why = next((entry.reason for entry in reversed(entries) if entry.event is Event.RUN_PARKED), None)
    return (*asked, Asked(reason=run.state.value, step=last, text=why or ""))


def tell(entries: Sequence[EntryRecord]) -> tuple[str, ...]:
    """Return one line for each entry: `step_failed charge_card, attempt 1: FailStep: …`."""
    return tuple(_tell_one(entry) for entry in entries)


def _explain(
    contract: StepContract, run: RunRecord, forward: StepState | None, back: StepState | None
) -> tuple[Why, str]:
    if not run.state.is_final:
        return Why.HELD, "the run waits for a person"
    if contract.recovery is RecoveryKind.KEEP:
        return Why.KEPT, contract.recovery_reason
    if contract.recovery is RecoveryKind.IRREVERSIBLE:
        return Why.IRREVERSIBLE, contract.recovery_reason
    if forward is StepState.FAILED and run.state is RunState.SUCCEEDED and contract.on_failure is OnFailure.CONTINUE:
        return Why.PASSED_OVER, "the step failed, and the run went on"
    undoing = contract.compensation
    if back is StepState.FAILED and undoing and undoing.on_failure is OnCompensationFailure.CONTINUE:
        return Why.PASSED_OVER, "its compensation failed, and the rollback went on"
    return Why.UNEXPLAINED, _say_rows(forward, back)


def _say_rows(forward: StepState | None, back: StepState | None) -> str:
    undoing = f"its compensation {back.value}" if back is not None else "no compensation was planned"
    return f"it had its effect, is recorded as {forward.value if forward else 'never started'}, and {undoing}"


def _text_of(evidence: Mapping[str, Any]) -> str:
    return str(evidence.get("what", ""))


def _tell_one(entry: EntryRecord) -> str:
    undoing = {Direction.COMPENSATION: "undo ", Direction.RECONCILE: "reconcile ", Direction.VERIFY: "verify "}
    who = f" {undoing.get(entry.direction, '') if entry.direction else ''}{entry.step}" if entry.step else ""
    attempt = f", attempt {entry.attempt}" if entry.attempt else ""
    why = f": {entry.reason}" if entry.reason else ""
    return f"{entry.event.value}{who}{attempt}{why}"
