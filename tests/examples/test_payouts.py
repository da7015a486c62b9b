"""A payout cannot be undone: what fails around it stops, and a person is asked."""

from __future__ import annotations

import pytest

import backout
from backout import ActionRefused, NextAction, ReviewDecision, ReviewReason, RollbackOutcome, RunHandle, RunState, Verb
from backout.jsontext import JsonValue
from backout.pipelines.warnings import find_warnings
from examples.recovery.payouts import Payout, pay_out
from examples.recovery.providers import Fault, accounts, bank, mend, set_fault
from tests.examples.stage import Stage, on_postgres

PAYOUT = Payout(seller="s-1", account="DE02", cents=12_500)


def action(handle: RunHandle, verb: Verb, decision: ReviewDecision | None = None) -> NextAction:
    actions = backout.next_safe_actions(handle)
    return next(a for a in actions if (a.request.verb, a.request.decision) == (verb, decision))


def test_seller_is_paid_and_the_payout_booked(stage: Stage) -> None:
    """The smooth run."""
    _, run = stage.finish(pay_out, PAYOUT)
    assert (run.state, run.operator_state) == (RunState.SUCCEEDED, "payout_booked")
    assert [paid.facts["cents"] for paid in bank.standing("pay")] == ["12500"]


@on_postgres
def test_nothing_is_undone_when_a_later_step_fails(stage: Stage) -> None:
    """R7: the run stops and asks; booked again, it comes to its end, and the seller is paid once."""
    set_fault("accounts.book", Fault.DOWN)
    handle, run = stage.finish(pay_out, PAYOUT)
    assert (run.state, run.operator_state) == (RunState.IN_REVIEW, "seller_paid_booking_failed_in_review")
    assert handle.customer_message == "Your payout is on its way; the receipt follows later."
    review = stage.review(handle)
    assert review.reason is ReviewReason.IRREVERSIBLE_PASSED
    assert review.evidence["irreversible_step"] == "pay_seller"
    assert review.evidence["would_be_undone"] == ["book_payout", "hold_balance"]
    assert [len(accounts.standing("hold")), len(bank.standing("pay"))] == [1, 1]
    assert action(handle, Verb.RETRY_STEP).is_safe
    assert "under the same idempotency key" in action(handle, Verb.RETRY_STEP).why
    refused = action(handle, Verb.ROLLBACK)
    assert not refused.is_possible
    assert "cannot be undone" in refused.why

    mend("accounts.book")
    backout.retry_step(handle, actor="ada", reason="the accounts are back")
    assert stage.settle(handle).operator_state == "payout_booked"
    assert [len(accounts.standing("book")), len(bank.standing("pay"))] == [1, 1]


def test_rollback_passes_a_payout_only_with_a_reason(stage: Stage) -> None:
    """The others are undone then, and the record says that it is not all."""
    set_fault("accounts.book", Fault.DOWN)
    handle, _ = stage.finish(pay_out, PAYOUT)
    with pytest.raises(ActionRefused, match="cannot be undone"):
        backout.rollback(handle, actor="ada", reason="wrong seller")
    across = "the seller keeps the money until the next payout"
    backout.rollback(handle, actor="ada", reason="wrong seller", across_irreversible=across)
    run = stage.settle(handle)
    assert (run.state, run.rollback_outcome) == (RunState.FAILED, RollbackOutcome.PARTIAL)
    assert stage.states(handle)["pay_seller"] == "succeeded"
    assert [len(accounts.standing("hold")), len(bank.standing("pay"))] == [0, 1]


@pytest.mark.parametrize(
    ("fault", "decision", "was_paid"),
    [
        (Fault.TIMES_OUT, ReviewDecision.DONE, True),
        (Fault.KILLED_AFTER, ReviewDecision.DONE, True),
        (Fault.KILLED_BEFORE, ReviewDecision.NOT_DONE, False),
    ],
)
def test_payout_without_an_answer_is_never_paid_twice(
    stage: Stage, fault: Fault, decision: ReviewDecision, was_paid: bool
) -> None:
    """R8: nobody can be asked but a person, who waits for the statement."""
    set_fault("bank.pay", fault, times=1)
    handle, run = stage.finish(pay_out, PAYOUT)
    assert run.state is RunState.IN_REVIEW
    assert handle.customer_message == "We are checking your payout with our bank. You do not need to do anything."
    review = stage.review(handle)
    assert review.reason is ReviewReason.CONFIRMATION_MISSING
    assert review.evidence["not_to_be_repeated"] == ["pay_seller"]
    assert len(bank.standing("pay")) == was_paid
    assert run.operator_state == "balance_held_pay_seller_in_doubt_in_review"
    assert not action(handle, Verb.ROLLBACK).is_possible
    assert "may have happened" in action(handle, Verb.RESOLVE, decision).why
    for again in (backout.resume, backout.retry_step):
        with pytest.raises(ActionRefused, match="may have happened"):
            again(handle, actor="ada", reason="impatient")

    output: JsonValue = {"id": "statement-17"} if was_paid else None
    with stage.as_current():
        backout.resolve(review.id, decision, output=output, actor="ada", reason="seen in the statement")
    assert stage.settle(handle).operator_state == "payout_booked"
    assert len(bank.standing("pay")) == 1


def test_payout_that_the_bank_declines_is_undone(stage: Stage) -> None:
    """The bank has said that nothing happened: the way back is free."""
    set_fault("bank.pay", Fault.DECLINES)
    _, run = stage.finish(pay_out, PAYOUT)
    assert (run.state, run.operator_state) == (RunState.ROLLED_BACK, "payment_failed_rolled_back")
    assert [len(accounts.standing("hold")), len(bank.standing("pay"))] == [0, 0]


def test_warnings_are_what_the_example_is_about() -> None:
    """Its first lines name them."""
    warnings = find_warnings(pay_out.plan, pay_out.recorded_ids)
    assert {(w.step, w.code.value) for w in warnings} == {
        ("pay_seller", "doubt_asks_person"),
        ("pay_seller", "may_fail_after_irreversible"),
    }
