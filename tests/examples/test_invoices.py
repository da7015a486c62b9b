"""A mail of which nobody knows whether it went out is looked for, and not sent blindly."""

from __future__ import annotations

import pytest

import backout
from backout import ReviewDecision, ReviewReason, RunHandle, RunState, Verb
from backout.events import Event
from backout.jsontext import JsonValue
from examples.recovery.invoices import Order, mail_invoice
from examples.recovery.providers import Deed, Fault, accounts, mailer, set_fault
from tests.examples.stage import Stage

ORDER = Order(id="o-1", email="ada@example.com")


def sent() -> list[Deed]:
    return mailer.standing("send")


def is_asked(handle: RunHandle) -> bool:
    return any(entry.direction == "reconcile" for entry in handle.entries())


def test_invoice_is_mailed(stage: Stage) -> None:
    """The smooth run asks nobody."""
    handle, run = stage.finish(mail_invoice, ORDER)
    assert (run.state, run.operator_state) == (RunState.SUCCEEDED, "invoice_mailed")
    assert [mail.id for mail in sent()] == [run.external_ids["message"]]
    assert not is_asked(handle)


@pytest.mark.parametrize(
    ("stage", "fault"),
    [
        ("sqlite", Fault.KILLED_BEFORE),
        ("sqlite", Fault.KILLED_AFTER),
        ("sqlite", Fault.TIMES_OUT),
        ("postgresql", Fault.KILLED_AFTER),
    ],
    indirect=["stage"],
)
def test_mail_is_looked_for_before_anything_is_sent_again(stage: Stage, fault: Fault) -> None:
    """Whether it went out or not before the attempt was cut off: the customer gets it once."""
    set_fault("mailer.send", fault, times=1)
    handle, run = stage.finish(mail_invoice, ORDER)
    assert (run.state, run.operator_state) == (RunState.SUCCEEDED, "invoice_mailed")
    assert [mail.id for mail in sent()] == [run.external_ids["message"]]
    assert is_asked(handle)
    assert stage.step(handle, "send_invoice").attempt == (2 if fault is Fault.KILLED_BEFORE else 1)


def test_mailer_that_is_down_is_tried_again(stage: Stage) -> None:
    """What certainly did not go out needs no question."""
    set_fault("mailer.send", Fault.DOWN, times=2)
    handle, run = stage.finish(mail_invoice, ORDER)
    assert run.state is RunState.SUCCEEDED
    assert len(sent()) == 1
    assert not is_asked(handle)


def test_invoice_stands_while_its_mail_is_refused(stage: Stage) -> None:
    """The run waits until somebody has corrected the address."""
    set_fault("mailer.send", Fault.DECLINES)
    handle, run = stage.finish(mail_invoice, ORDER)
    assert (run.state, run.operator_state) == (RunState.PARKED, "invoice_written_mail_pending")
    assert handle.customer_message == "Your invoice is ready and on its way to you."
    assert len(accounts.standing("write_invoice")) == 1
    assert sent() == []


@pytest.mark.parametrize(
    ("fault", "decision", "mails"),
    [
        (Fault.KILLED_AFTER, ReviewDecision.DONE, 1),
        (Fault.KILLED_BEFORE, ReviewDecision.NOT_DONE, 1),
    ],
)
def test_person_decides_when_the_mailer_cannot_tell(
    stage: Stage, fault: Fault, decision: ReviewDecision, mails: int
) -> None:
    """Nothing is sent until somebody who has looked says whether the customer has the mail."""
    set_fault("mailer.send", fault, times=1)
    set_fault("mailer.search", Fault.DECLINES)
    handle, run = stage.finish(mail_invoice, ORDER)
    assert run.operator_state == "invoice_written_send_invoice_in_doubt_in_review"
    assert handle.customer_message == "Your invoice is ready. We are making sure that it reaches you."
    review = stage.review(handle)
    assert review.reason is ReviewReason.CONFIRMATION_MISSING
    assert "the mailer's log of today cannot be searched yet" in str(review.evidence["what"])
    assert len(sent()) == (1 if fault is Fault.KILLED_AFTER else 0)
    actions = {action.request.decision: action for action in backout.next_safe_actions(handle)}
    assert f"Ask its provider for key {handle.id}:send_invoice" in actions[ReviewDecision.NOT_DONE].why
    with pytest.raises(backout.ActionRefused, match="cannot be undone"):
        backout.rollback(handle, actor="ada", reason="no")

    output: JsonValue = {"id": "mailer-1"} if decision is ReviewDecision.DONE else None
    with stage.as_current():
        backout.resolve(review.id, decision, output=output, actor="ada", reason="asked the customer")
    run = stage.settle(handle)
    assert (run.state, run.operator_state) == (RunState.SUCCEEDED, "invoice_mailed")
    assert len(sent()) == mails


def test_resuming_a_mail_in_doubt_asks_again(stage: Stage) -> None:
    """Tomorrow the log can be searched: `resume` looks, and sends nothing that was sent."""
    set_fault("mailer.send", Fault.KILLED_AFTER, times=1)
    set_fault("mailer.search", Fault.DECLINES, times=1)
    handle, run = stage.finish(mail_invoice, ORDER)
    assert run.state is RunState.IN_REVIEW
    seen = backout.preview(handle, backout.Request(verb=Verb.RESUME))
    assert [(task.kind, task.step) for task in seen.tasks] == [("ask", "send_invoice")]
    backout.resume(handle, actor="ada", reason="the log is complete")
    assert stage.settle(handle).state is RunState.SUCCEEDED
    assert len(sent()) == 1
    assert any(entry.event is Event.RUN_RESUMED for entry in handle.entries())
