"""What follows from an outcome: next step, another attempt, rollback, a person, the end. Pure.

The words and rules are those of `semantics` sections 3, 4 and 6; the recorded steps are read only where a rollback has
to be planned, see `compensations.plan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from backout.pipelines.contract import OnCompensationFailure, OnFailure, Plan, StepContract
from backout.pipelines.words import state_when_done, state_while_running
from backout.states import Direction, ReviewReason
from backout.tasks.outcome import (
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
        lost_attempts: of this step, before this attempt.
    """

    plan: Plan
    position: int
    direction: Direction
    last_done: StepContract | None
    is_idempotent: bool
    lost_attempts: int
    lost_attempts_limit: int

    @property
    def contract(self) -> StepContract:
        """The contract of the step."""
        return self.plan.steps[self.position]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoOn:
    """Record the end of a forward step and make the next one ready; `following` is `None` at the end of the run."""

    outcome: Succeeded | Skipped | Failed
    following: StepContract | None
    operator_state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TryAgain:
    """Record the failed attempt and when the next one is due."""

    outcome: RetryLater


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnBack:
    """Record the failed step and roll back what was done, unless an irreversible step is in the way."""

    outcome: Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Park:
    """Record the failed step; the run waits."""

    error: ErrorFacts
    no_effect: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Record the failed step, in either direction, and open a review."""

    error: ErrorFacts
    review: ReviewReason
    no_effect: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveBack:
    """Give the claim back: another attempt under the same key is safe."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Record that the effect may exist and open a review."""

    reason: str
    review: ReviewReason


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoNext:
    """Record the end of a compensation and make the next one ready, or close the rollback."""

    outcome: Succeeded | Skipped | Failed


Decision = GoOn | TryAgain | TurnBack | Park | Ask | GiveBack | Doubt | UndoNext


def advance(situation: Situation, outcome: Outcome) -> Decision:
    """Return what to record and what comes next."""
    match outcome:
        case RetryLater():
            return TryAgain(outcome=outcome)
        case Lost():
            return _lost(situation, outcome)
        case NeedsHuman():
            return Ask(error=outcome.error, review=outcome.review)
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


def _go_on(situation: Situation, outcome: Succeeded | Skipped | Failed) -> GoOn:
    following = situation.plan.step_after(situation.position)
    last_done = situation.contract if isinstance(outcome, Succeeded) else situation.last_done
    if following is not None:
        state = state_while_running(last_done, following)
    else:
        state = state_when_done(last_done, situation.contract if isinstance(outcome, Failed) else None)
    return GoOn(outcome=outcome, following=following, operator_state=state)


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


def _lost(situation: Situation, outcome: Lost) -> GiveBack | Doubt:
    """Decide about an attempt that ended without an answer (R8), also one that the sweeper found."""
    lost = situation.lost_attempts + 1
    if situation.is_idempotent and lost < situation.lost_attempts_limit:
        return GiveBack(reason=outcome.reason)
    if situation.is_idempotent:
        reason = f"{outcome.reason}; {lost} attempts ended without an answer, which is the limit"
        return Doubt(reason=reason, review=ReviewReason.CONFIRMATION_MISSING)
    return Doubt(reason=outcome.reason, review=ReviewReason.CONFIRMATION_MISSING)
