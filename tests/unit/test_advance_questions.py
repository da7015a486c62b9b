"""What follows from the answer of a reconcile or verify function: a table of answers, and the words of each."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from backout.identifiers import RunId
from backout.pipelines.contract import Effect, Plan, StepContract
from backout.states import Answer, Direction, ReviewReason
from backout.tasks.advance import Situation, advance
from backout.tasks.decisions import (
    AskFirst,
    Confirm,
    Decision,
    Doubt,
    GiveBack,
    GoOn,
    RunAgain,
    TryAgain,
    Unanswered,
    UndoAnswered,
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
from tests.support.runs import contract, question, undoing

LIMIT: Final = 3
ERROR: Final = ErrorFacts(type="builtins.OSError", message="broken")
DONE: Final = Answered(answer=Answer.DONE, output={"id": "ch-1"})
NOT_DONE: Final = Answered(answer=Answer.NOT_DONE)
UNKNOWN: Final = Answered(answer=Answer.UNKNOWN, why="the bank is closed")
LOST: Final = Lost(reason="its worker was killed")
MISSING: Final = ReviewReason.CONFIRMATION_MISSING

CHARGE: Final = contract("charge_card", **undoing("refund"), reconcile=question("shop.find_charge"))
PUBLISH: Final = contract("publish", **undoing("take down"), effect=Effect.PUBLISH, verify=question("shop.is_live"))
BOOK: Final = contract("book_courier")


def situation(
    step: StepContract,
    direction: Direction,
    *,
    doubted_attempts: int = 1,
    lost_attempts: int = 0,
    is_rolling_back: bool = False,
    is_last: bool = False,
) -> Situation:
    steps = (contract("reserve_stock"), step, BOOK)
    return Situation(
        run_id=RunId("run"),
        plan=Plan(pipeline="fulfil_order", steps=steps[:2] if is_last else steps),
        position=1,
        direction=direction,
        last_done=steps[0],
        is_idempotent=direction.is_question,
        lost_attempts=lost_attempts,
        lost_attempts_limit=LIMIT,
        doubted_attempts=doubted_attempts,
        is_rolling_back=is_rolling_back,
    )


ON_TO_BOOK: Final = Way(
    following=BOOK, position=2, key="run:book_courier", operator_state="charge_card_done_book_courier_pending"
)


@pytest.mark.parametrize(
    ("outcome", "decision"),
    [
        (DONE, Confirm(answer=DONE, onward=ON_TO_BOOK)),
        (NOT_DONE, RunAgain(answer=NOT_DONE, operator_state="reserve_stock_done_charge_card_pending")),
        (
            UNKNOWN,
            Unanswered(reason="its reconcile function cannot tell: the bank is closed", review=MISSING, answer=UNKNOWN),
        ),
        (RetryLater(error=ERROR, delay_seconds=1.0), TryAgain(outcome=RetryLater(error=ERROR, delay_seconds=1.0))),
        (Failed(error=ERROR), Unanswered(reason="OSError: broken", review=MISSING, error=ERROR)),
        (Parked(error=ERROR), Unanswered(reason="OSError: broken", review=MISSING, error=ERROR)),
        (
            NeedsHuman(error=ERROR, review=ReviewReason.CREDENTIALS_FAILED),
            Unanswered(reason="OSError: broken", review=ReviewReason.CREDENTIALS_FAILED, error=ERROR),
        ),
        (LOST, GiveBack(reason="its worker was killed")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_answers_about_a_step_in_doubt(outcome: Outcome, decision: Decision) -> None:
    """R8: done is a success, not done runs again, and what nobody can tell goes to a person."""
    assert advance(situation(CHARGE, Direction.RECONCILE), outcome) == decision


@pytest.mark.parametrize(
    ("outcome", "decision"),
    [
        (DONE, UndoAnswered(answer=DONE)),
        (NOT_DONE, UndoAnswered(answer=NOT_DONE)),
        (
            UNKNOWN,
            Unanswered(reason="its reconcile function cannot tell: the bank is closed", review=MISSING, answer=UNKNOWN),
        ),
        (LOST, GiveBack(reason="its worker was killed")),
    ],
    ids=["done", "not_done", "unknown", "lost"],
)
def test_answers_on_the_way_back(outcome: Outcome, decision: Decision) -> None:
    """The same question before an undo: what has not happened is not undone; nothing runs forward again."""
    assert advance(situation(CHARGE, Direction.RECONCILE, is_rolling_back=True), outcome) == decision


def test_a_step_that_was_lost_too_often_is_not_tried_for_ever() -> None:
    """The poison cap: a step that takes its worker down each time goes to a person, although it has not happened."""
    decision = advance(situation(CHARGE, Direction.RECONCILE, doubted_attempts=LIMIT), NOT_DONE)
    assert isinstance(decision, Unanswered)
    assert (decision.review, decision.answer) == (ReviewReason.RETRIES_EXHAUSTED_AFTER_WRITE, NOT_DONE)
    assert decision.reason == "it has not happened; 3 attempts ended without an answer, which is the limit"


@pytest.mark.parametrize("direction", [Direction.RECONCILE, Direction.VERIFY])
def test_a_question_that_is_lost_too_often_goes_to_a_person(direction: Direction) -> None:
    """A reconcile function that kills its worker is not asked for ever either."""
    decision = advance(situation(CHARGE, direction, lost_attempts=LIMIT - 1), LOST)
    assert isinstance(decision, Unanswered)
    assert decision.reason.endswith("which is the limit")
    assert decision.error is not None


def test_a_question_that_raises_skip_goes_to_a_person() -> None:
    """Nothing to do is no answer."""
    decision = advance(situation(CHARGE, Direction.RECONCILE), Skipped(reason="no idea"))
    assert isinstance(decision, Unanswered)
    assert decision.reason == "the question was not answered: no idea"


class TestALostAttempt:
    def test_with_a_reconcile_function_it_is_asked_first(self) -> None:
        """R8: before a person is bothered."""
        assert advance(situation(CHARGE, Direction.FORWARD), LOST) == AskFirst(reason="its worker was killed")

    def test_an_idempotent_step_runs_again_without_being_asked(self) -> None:
        """A second call under the same key does no harm, so that nothing has to be found out."""
        here = replace(situation(CHARGE, Direction.FORWARD), is_idempotent=True)
        assert advance(here, LOST) == GiveBack(reason="its worker was killed")

    def test_an_idempotent_step_at_its_limit_is_asked(self) -> None:
        """It may have happened in an attempt that never answered."""
        here = replace(situation(CHARGE, Direction.FORWARD), is_idempotent=True, lost_attempts=LIMIT - 1)
        assert isinstance(advance(here, LOST), AskFirst)

    def test_of_a_compensation_asks_a_person(self) -> None:
        """The reconcile function speaks about the step, not about what undoes it."""
        assert isinstance(advance(situation(CHARGE, Direction.COMPENSATION), LOST), Doubt)


class TestPublishing:
    def test_a_success_is_verified_before_the_next_step(self) -> None:
        """Done and seen live are two acceptances."""
        success = Succeeded(output=1)
        wanted = Way(following=PUBLISH, position=1, operator_state="publish_done_live_pending", verifies=True)
        assert advance(situation(PUBLISH, Direction.FORWARD), success) == GoOn(outcome=success, onward=wanted)

    def test_what_is_live_goes_on(self) -> None:
        """The next step starts when it was seen."""
        wanted = Way(
            following=BOOK, position=2, key="run:book_courier", operator_state="publish_done_book_courier_pending"
        )
        assert advance(situation(PUBLISH, Direction.VERIFY), Answered(answer=Answer.DONE)) == Verified(onward=wanted)

    def test_what_is_live_closes_the_run_after_the_last_step(self) -> None:
        """Also the run is finished only then."""
        here = situation(PUBLISH, Direction.VERIFY, is_last=True)
        wanted = Way(following=None, operator_state="publish_done")
        assert advance(here, Answered(answer=Answer.DONE)) == Verified(onward=wanted)

    def test_what_is_never_seen_goes_to_a_person(self) -> None:
        """With the reason code that says so."""
        decision = advance(situation(PUBLISH, Direction.VERIFY), Failed(error=ERROR))
        assert isinstance(decision, Unanswered)
        assert decision.review is ReviewReason.NOT_LIVE_AFTER_PUBLISH


@pytest.mark.parametrize("direction", [Direction.FORWARD, Direction.COMPENSATION])
def test_only_questions_are_answered(direction: Direction) -> None:
    """A step that ends like a question is a defect of the engine, told at once."""
    with pytest.raises(TypeError, match="cannot answer"):
        advance(situation(CHARGE, direction), DONE)


def test_a_question_cannot_end_like_a_step() -> None:
    """And the other way round."""
    with pytest.raises(TypeError, match="cannot end with"):
        advance(situation(CHARGE, Direction.RECONCILE), Succeeded(output=1))
