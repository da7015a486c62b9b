"""A booking stands although its notification failed; one that cannot be confirmed is released."""

from __future__ import annotations

import pytest

from backout import RunState
from examples.recovery.bookings import Wish, book_slot
from examples.recovery.providers import Fault, all_deeds, calendar, mailer, set_fault
from tests.examples.stage import Stage, on_postgres

WISH = Wish(customer="c-1", email="ada@example.com", slot="Monday 9:00")


def test_slot_is_booked(stage: Stage) -> None:
    """The smooth run."""
    handle, run = stage.finish(book_slot, WISH)
    assert (run.state, run.operator_state) == (RunState.SUCCEEDED, "booking_notified")
    assert handle.customer_message == "Your booking is confirmed."
    assert [deed.what for deed in all_deeds()] == ["reserve", "confirm", "send"]


@pytest.mark.parametrize(
    ("stage", "fault"),
    [("sqlite", Fault.DOWN), ("postgresql", Fault.DECLINES)],
    indirect=["stage"],
)
def test_booking_stands_when_its_notification_fails(stage: Stage, fault: Fault) -> None:
    """Nothing is undone, nobody is asked, and both the state and the customer's message say what is missing."""
    set_fault("mailer.send", fault)
    handle, run = stage.finish(book_slot, WISH)
    assert (run.state, run.operator_state) == (RunState.SUCCEEDED, "booking_confirmed_notification_failed")
    assert handle.customer_message == "Your booking is confirmed. We could not send you a mail about it."
    assert not run.requires_human_review
    assert [len(calendar.standing("reserve")), len(calendar.standing("confirm"))] == [1, 1]


def test_notification_of_a_killed_worker_is_looked_for(stage: Stage) -> None:
    """The customer gets one mail."""
    set_fault("mailer.send", Fault.KILLED_AFTER, times=1)
    _, run = stage.finish(book_slot, WISH)
    assert run.operator_state == "booking_notified"
    assert len(mailer.standing("send")) == 1


@pytest.mark.parametrize("fault", [Fault.DECLINES, Fault.TIMES_OUT])
def test_slot_is_released_when_it_cannot_be_confirmed(stage: Stage, fault: Fault) -> None:
    """Also what was confirmed without an answer is cancelled; the slot is free for others."""
    set_fault("calendar.confirm", fault)
    handle, run = stage.finish(book_slot, WISH)
    assert (run.state, run.operator_state) == (RunState.ROLLED_BACK, "confirmation_failed_rolled_back")
    assert handle.customer_message == "We could not confirm your booking. Nothing was booked."
    assert calendar.standing("reserve") + calendar.standing("confirm") == []
    assert mailer.standing("send") == []


def test_taken_slot_is_not_booked(stage: Stage) -> None:
    """Nothing has happened, nothing is undone, and nobody is asked."""
    calendar.reserve(WISH.slot, key="somebody else's")
    handle, run = stage.finish(book_slot, WISH)
    assert (run.state, run.operator_state) == (RunState.ROLLED_BACK, "slot_taken_rolled_back")
    assert not run.requires_human_review
    assert stage.reviews(handle) == []
    assert handle.customer_message == "This slot is taken. Nothing was booked."
    assert len(all_deeds()) == 1


@on_postgres
def test_form_that_is_sent_twice_books_once(stage: Stage) -> None:
    """R9: the second click gets the first one's run."""
    first = stage.submit(book_slot, WISH, event="form-8812")
    second = stage.submit(book_slot, WISH, event="form-8812")
    assert (second.id, first.was_created, second.was_created) == (first.id, True, False)
    assert stage.settle(first).state is RunState.SUCCEEDED
    assert len(calendar.standing("reserve")) == 1
    assert len(mailer.standing("send")) == 1
