"""What happened to a run, in one sentence."""

import pytest

from backout.events import Event
from backout.ledger.records import StepRecord
from backout.states import ReviewReason, RunState, StepState
from backout.views.picture import RunPicture
from backout.views.story import REVIEW_WORDS, tell_story
from tests.support.pictures import (
    COMPENSATION,
    at,
    courier_failed,
    done,
    entry_record,
    picture,
    review_record,
    step_record,
)

FIRST_THREE = ("check_address", "reserve_stock", "charge_card")


def rolled_back(**states: StepState) -> list[StepRecord]:
    """Return the rows of a courier that failed, with the compensations in these states."""
    compensations = [step_record(name, state, COMPENSATION) for name, state in states.items()]
    return [*done(*FIRST_THREE), courier_failed(), *compensations]


def test_run_that_waits_for_a_worker() -> None:
    """Nobody has taken it up."""
    waiting = picture(RunState.PENDING, [step_record("check_address", StepState.READY)], seconds=12)
    assert tell_story(waiting) == "fulfil_order has not started: check_address has been waiting for a worker for 12 s."


def test_run_that_works() -> None:
    """The attempt, not the step, has started just now."""
    row = step_record("charge_card", StepState.RUNNING, attempt=2)
    entries = [
        entry_record(Event.ATTEMPT_STARTED, row, seconds=2, attempt=1),
        entry_record(Event.ATTEMPT_STARTED, row, seconds=27),
    ]
    running = picture(RunState.RUNNING, [*done("check_address", "reserve_stock"), row], entries=entries)
    assert tell_story(running) == (
        "fulfil_order is running: attempt 2/6 of charge_card started 3.0 s ago; 2 of 5 steps done."
    )


@pytest.mark.parametrize(("seconds", "due"), [(30, "is due in 1 min 30 s"), (125, "was due 5.0 s ago")])
def test_run_that_waits_to_retry(seconds: float, due: str) -> None:
    """Why, and when it goes on."""
    row = step_record(
        "charge_card",
        StepState.RETRY_SCHEDULED,
        next_retry_at=at(120),
        error={"type": "ConnectionError", "message": "gateway timed out."},
    )
    waiting = picture(RunState.RUNNING, [*done("check_address", "reserve_stock"), row], seconds=seconds)
    assert tell_story(waiting) == (
        "fulfil_order is running: attempt 1/6 of charge_card failed (gateway timed out), "
        f"the next {due}; 2 of 5 steps done."
    )


def test_run_that_succeeded() -> None:
    """How much, and how long."""
    names = (*FIRST_THREE, "book_courier", "send_receipt")
    assert tell_story(picture(RunState.SUCCEEDED, done(*names))) == "fulfil_order succeeded: 5 steps done in 12 s."


def test_run_that_passed_over_a_failure() -> None:
    """A notification that failed does not undo an order, and is not hidden either."""
    receipt = step_record("send_receipt", StepState.FAILED, attempt=6, error={"message": "mailbox full"})
    story = tell_story(picture(RunState.SUCCEEDED, [*done(*FIRST_THREE, "book_courier"), receipt]))
    assert story == (
        "fulfil_order succeeded: 4 steps done in 12 s; send_receipt failed at attempt 6 (mailbox full) "
        "and was passed over."
    )


def test_run_that_was_rolled_back() -> None:
    """What failed, and what became of each step; a read that had nothing to undo is no news."""
    steps = rolled_back(
        book_courier=StepState.SUCCEEDED,
        charge_card=StepState.SUCCEEDED,
        reserve_stock=StepState.KEPT,
        check_address=StepState.SKIPPED,
    )
    assert tell_story(picture(RunState.ROLLED_BACK, steps)) == (
        "fulfil_order was rolled back: book_courier failed at attempt 3 (no courier in that area); "
        "2 steps were undone, 1 was kept."
    )


def test_run_that_is_being_rolled_back() -> None:
    """What is undone, and what is still to come, in the order of undoing."""
    steps = rolled_back(book_courier=StepState.SUCCEEDED, charge_card=StepState.READY, reserve_stock=StepState.PENDING)
    assert tell_story(picture(RunState.ROLLING_BACK, steps)) == (
        "fulfil_order is being rolled back: book_courier failed at attempt 3 (no courier in that area); "
        "1 step was undone, 2 steps still to be undone (charge_card and reserve_stock)."
    )


def test_run_whose_rollback_failed_in_part() -> None:
    """The forward error and the error of the rollback are told apart."""
    refund = step_record("charge_card", StepState.FAILED, COMPENSATION, attempt=6, error={"message": "account closed"})
    stock = step_record("reserve_stock", StepState.SUCCEEDED, COMPENSATION)
    story = tell_story(picture(RunState.FAILED, [*done(*FIRST_THREE), courier_failed(), refund, stock]))
    assert story == (
        "fulfil_order failed: book_courier failed at attempt 3 (no courier in that area); "
        "1 step was undone, charge_card could not be undone (account closed)."
    )


def test_run_in_doubt_asks_its_question() -> None:
    """What nobody knows, in words and as the reason code."""
    row = step_record("charge_card", StepState.IN_DOUBT, error={"message": "its worker was killed"})
    asked = picture(
        RunState.IN_REVIEW,
        [*done("check_address", "reserve_stock"), row],
        reviews=[review_record(ReviewReason.MAY_HAVE_DUPLICATED, row)],
    )
    assert tell_story(asked) == (
        "fulfil_order waits for a person: nobody knows whether charge_card happened at attempt 1 "
        "(its worker was killed), it may have happened twice (may_have_duplicated); 2 of 5 steps done."
    )


def test_run_whose_compensation_stopped_asks_its_question() -> None:
    """The question is about undoing the step, not about the step."""
    refund = step_record("charge_card", StepState.FAILED, COMPENSATION, attempt=6, error={"message": "account closed"})
    courier = step_record("book_courier", StepState.SUCCEEDED, COMPENSATION)
    asked = picture(
        RunState.IN_REVIEW,
        [*done(*FIRST_THREE), courier_failed(), courier, refund],
        reviews=[review_record(ReviewReason.COMPENSATION_FAILED, refund)],
    )
    assert tell_story(asked) == (
        "fulfil_order waits for a person: undoing charge_card failed at attempt 6 (account closed), it could not be "
        "undone (compensation_failed); 1 step was undone, charge_card could not be undone (account closed)."
    )


def test_run_that_is_parked() -> None:
    """What was done stays, and it can go on."""
    row = step_record("charge_card", StepState.FAILED, attempt=6, error={"message": "card expired"})
    assert tell_story(picture(RunState.PARKED, [*done("check_address", "reserve_stock"), row])) == (
        "fulfil_order is parked: charge_card failed at attempt 6 (card expired); 2 of 5 steps done and kept; "
        "it waits to be resumed."
    )


def test_run_that_stopped_without_a_failed_step_says_its_error() -> None:
    """A rollback that a person asked for has no failed step; the run's own words are used."""
    stopped = picture(RunState.CANCELLED, done("check_address"), run={"error_summary": "the customer called"})
    assert tell_story(stopped) == ("fulfil_order was cancelled: the customer called; 1 of 5 steps done and not undone.")


@pytest.mark.parametrize("state", RunState)
def test_every_state_has_a_sentence(state: RunState) -> None:
    """Also for a run of which the ledger knows nothing else, and whose plan cannot be read."""
    bare: RunPicture = picture(state, plan=None)
    story = tell_story(bare)
    assert story.startswith("fulfil_order ")
    assert story.endswith(".")
    assert ".." not in story


def test_every_review_reason_has_words() -> None:
    """A person reads words, a program reads the code."""
    assert set(REVIEW_WORDS) == set(ReviewReason)
