"""What follows from an outcome: next step, another attempt, rollback, a person, the end. Pure.

The words and rules are those of `semantics` sections 3, 4 and 6; the recorded steps are read only where a rollback has
to be planned, see `compensations.plan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, assert_never

from backout.compensations.rounds import key_in_round, newest_rows, next_position
from backout.identifiers import RunId
from backout.ledger.records import StepRecord
from backout.pipelines.contract import OnCompensationFailure, OnFailure, Plan, StepContract
from backout.pipelines.words import state_when_done, state_while_running, state_while_verifying
from backout.states import Answer, Direction, ReviewReason
from backout.tasks.decisions import (
    Ask,
    AskFirst,
    Confirm,
    Decision,
    Doubt,
    GiveBack,
    GoOn,
    Park,
    RunAgain,
    TryAgain,
    TurnBack,
    Unanswered,
    UndoAnswered,
    UndoNext,
    Verified,
    Way,
)
from backout.tasks.outcome import (
    Answered,
    ErrorFacts,
    Failed,
    Lost,
    NeedsHuman,
    Outcome,
    Parked,
    RetryLater,
    Skipped,
    Succeeded,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Where an attempt stands in its run.

    Attributes:
        last_done: the last forward step that succeeded before this one.
        is_idempotent: of the contract in this direction.
        lost_attempts: of this row, before this attempt.
        doubted_attempts: for a question: attempts of its step that ended without an answer.
        is_rolling_back: the run is on its way back.
        history: all rows of a run that a person has started again after a rollback; empty in the first round.
    """

    plan: Plan
    position: int
    direction: Direction
    last_done: StepContract | None
    is_idempotent: bool
    lost_attempts: int
    lost_attempts_limit: int
    doubted_attempts: int = 0
    is_rolling_back: bool = False
    run_id: RunId
    round_number: int = 1
    history: tuple[StepRecord, ...] = ()

    @property
    def contract(self) -> StepContract:
        """The contract of the step."""
        return self.plan.steps[self.position]


def advance(situation: Situation, outcome: Outcome) -> Decision:
    """Return what to record and what comes next."""
    if isinstance(outcome, RetryLater):
        return TryAgain(outcome=outcome)
    if situation.direction.is_question:
        return _advance_question(situation, outcome)
    match outcome:
        case Lost():
            return _lost(situation, outcome)
        case NeedsHuman():
            return _ask_person(outcome)
        case Answered():
            message = f"a {situation.direction} function cannot answer {outcome}"
            raise TypeError(message)
    if situation.direction is Direction.COMPENSATION:
        return _advance_back(situation, outcome)
    match outcome:
        case Succeeded() | Skipped():
            return _go_on(situation, outcome)
        case Parked():
            return Park(error=outcome.error, no_effect=False)
        case Failed():
            return _advance_failed(situation, outcome)
        case _ as never:
            assert_never(never)


_REVIEWS_OF_DOUBT: Final = (ReviewReason.CONFIRMATION_MISSING, ReviewReason.MAY_HAVE_DUPLICATED)


def _ask_person(outcome: NeedsHuman) -> Ask | Doubt:
    """Return what a function has asked for; one that does not know whether it has happened is in doubt (R8)."""
    if outcome.review in _REVIEWS_OF_DOUBT:
        return Doubt(reason=outcome.error.in_one_line, review=outcome.review)
    return Ask(error=outcome.error, review=outcome.review)


def _go_on(situation: Situation, outcome: Succeeded | Skipped | Failed) -> GoOn:
    contract = situation.contract
    match outcome:
        case Succeeded():
            return GoOn(outcome=outcome, onward=_after_success(situation))
        case Skipped() | Failed():
            failed = contract if isinstance(outcome, Failed) else None
            return GoOn(outcome=outcome, onward=_onward(situation, situation.last_done, failed))
        case _ as never:
            assert_never(never)


def _after_success(situation: Situation) -> Way:
    contract = situation.contract
    if contract.verify is not None:
        return Way(
            following=contract,
            position=situation.position,
            operator_state=state_while_verifying(contract),
            verifies=True,
        )
    return _onward(situation, contract, None)


def _onward(situation: Situation, last_done: StepContract | None, failed: StepContract | None) -> Way:
    # What stands of an earlier round is not repeated; in the first one nothing does.
    plan, history = situation.plan, situation.history
    position = next_position(plan, history, after=situation.position)
    if position is None:
        last = len(plan.steps) - 1
        standing = newest_rows(history).get(last) if situation.position < last else None
        return Way(following=None, operator_state=state_when_done(last_done, failed), standing=standing)
    return Way(
        following=plan.steps[position],
        position=position,
        key=key_in_round(plan, history, situation.run_id, position, situation.round_number),
        operator_state=state_while_running(last_done, plan.steps[position]),
    )


def _advance_failed(situation: Situation, outcome: Failed) -> Decision:
    match situation.contract.on_failure:
        case OnFailure.ROLLBACK:
            return TurnBack(outcome=outcome)
        case OnFailure.PARK:
            return Park(error=outcome.error, no_effect=outcome.no_effect)
        case OnFailure.CONTINUE:
            return _go_on(situation, outcome)
        case OnFailure.REVIEW:
            return Ask(
                error=outcome.error,
                review=ReviewReason.RETRIES_EXHAUSTED_AFTER_WRITE,
                no_effect=outcome.no_effect,
            )
        case _ as never:
            assert_never(never)


def _advance_back(situation: Situation, outcome: Succeeded | Skipped | Failed | Parked) -> Decision:
    match outcome:
        case Succeeded() | Skipped():
            return UndoNext(outcome=outcome)
        case Parked():
            return Ask(error=outcome.error, review=ReviewReason.COMPENSATION_FAILED)
        case Failed():
            compensation = situation.contract.compensation
            if compensation is not None and compensation.on_failure is OnCompensationFailure.CONTINUE:
                return UndoNext(outcome=outcome)
            return Ask(error=outcome.error, review=ReviewReason.COMPENSATION_FAILED, no_effect=outcome.no_effect)
        case _ as never:
            assert_never(never)


def _lost(situation: Situation, outcome: Lost) -> GiveBack | AskFirst | Doubt:
    """Decide about an attempt that ended without an answer (R8), also one that the sweeper found."""
    lost = situation.lost_attempts + 1
    if situation.is_idempotent and lost < situation.lost_attempts_limit:
        return GiveBack(reason=outcome.reason)
    if situation.direction is Direction.FORWARD and situation.contract.reconcile is not None:
        return AskFirst(reason=outcome.reason)
    reason = _at_limit(outcome.reason, lost) if situation.is_idempotent else outcome.reason
    return Doubt(reason=reason, review=ReviewReason.CONFIRMATION_MISSING)


def _at_limit(reason: str, lost: int) -> str:
    return f"{reason}; {lost} attempts ended without an answer, which is the limit"


def _advance_question(situation: Situation, outcome: Outcome) -> Decision:
    is_reconcile = situation.direction is Direction.RECONCILE
    review = ReviewReason.CONFIRMATION_MISSING if is_reconcile else ReviewReason.NOT_LIVE_AFTER_PUBLISH
    match outcome:
        case Answered():
            return _advance_answer(situation, outcome)
        case Lost(reason=reason):
            lost = situation.lost_attempts + 1
            if lost < situation.lost_attempts_limit:
                return GiveBack(reason=reason)
            words = _at_limit(reason, lost)
            return Unanswered(reason=words, review=review, error=ErrorFacts(type="lost", message=words))
        case NeedsHuman():
            return Unanswered(reason=outcome.error.in_one_line, review=outcome.review, error=outcome.error)
        case Failed() | Parked():
            return Unanswered(reason=outcome.error.in_one_line, review=review, error=outcome.error)
        case Skipped(reason=reason):
            facts = ErrorFacts(type="backout.SkipStep", message=reason)
            return Unanswered(reason=f"the question was not answered: {reason}", review=review, error=facts)
        case _:
            message = f"a {situation.direction} function cannot end with {outcome}"
            raise TypeError(message)


def _advance_answer(situation: Situation, answered: Answered) -> Decision:
    if situation.direction is Direction.VERIFY:
        return Verified(onward=_onward(situation, situation.contract, None))
    if answered.answer is Answer.UNKNOWN:
        reason = f"its reconcile function cannot tell: {answered.why}"
        return Unanswered(reason=reason, review=ReviewReason.CONFIRMATION_MISSING, answer=answered)
    if situation.is_rolling_back:
        return UndoAnswered(answer=answered)
    if answered.answer is Answer.DONE:
        return Confirm(answer=answered, onward=_after_success(situation))
    if situation.doubted_attempts >= situation.lost_attempts_limit:
        # The poison cap: a step that takes its worker down each time is not tried for ever.
        return Unanswered(
            reason=_at_limit("it has not happened", situation.doubted_attempts),
            review=ReviewReason.RETRIES_EXHAUSTED_AFTER_WRITE,
            answer=answered,
        )
    return RunAgain(answer=answered, operator_state=state_while_running(situation.last_done, situation.contract))
