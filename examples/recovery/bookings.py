"""A booking stands although its notification failed; one that cannot be confirmed is released.

    what failed    the notification; or the confirmation; or the slot is taken
    what is known  the booking is confirmed; or reserved and not confirmed; or nothing has happened
    what is safe   leaving the booking as it is; releasing the reservation; nothing to do
    what happens   `booking_confirmed_notification_failed`; or the reservation is released; or the run just ends
    who is asked   nobody

One form, one booking: the form's id is the `source_event_id`, so that a double click gets the first one's run.
"""

from pydantic import BaseModel

from backout import CompensationContext, FailStep, InDoubt, NotDone, Pipeline, Retry, StepContext, step
from examples.recovery.providers import Declined, TimedOut, Unavailable, calendar, mailer


class Wish(BaseModel):
    customer: str
    email: str
    slot: str


class Reservation(BaseModel):
    id: str


class Confirmation(BaseModel):
    id: str


class Notice(BaseModel):
    id: str


@step(
    effect="read",
    retry=Retry(limit=2, delay=0.5),
    timeout=30,
    done="slot_free",
    pending="check_pending",
    failed="slot_taken",
)
def check_slot(wish: Wish) -> None:
    if not calendar.is_free(wish.slot):
        raise FailStep(f"{wish.slot} is taken", no_effect=True)


@step(
    effect="write",
    idempotent=True,  # the calendar knows the key
    retry=Retry(limit=2, delay=0.5),
    timeout=30,
    done="booking_reserved",
    pending="reservation_pending",
    failed="reservation_failed",
)
def reserve_slot(wish: Wish, ctx: StepContext) -> Reservation:
    try:
        reserved = calendar.reserve(wish.slot, key=ctx.idempotency_key)
    except Declined as error:  # somebody was faster, after the check
        raise FailStep(str(error), no_effect=True) from error
    ctx.record_external_id("reservation", reserved.id)
    return Reservation(id=reserved.id)


@reserve_slot.compensation(action="release the slot", idempotent=True, retry=Retry(limit=2, delay=0.5), timeout=30)
def release_slot(wish: Wish, reservation: Reservation | None, ctx: CompensationContext) -> None:
    found = calendar.find("reserve", key=ctx.undoes.idempotency_key)
    if found is not None:
        calendar.undo(found.id)


@step(
    effect="write",
    idempotent=True,  # the calendar knows the key
    retry=Retry(limit=2, delay=0.5, never_on=(Declined,)),
    timeout=30,
    done="booking_confirmed",
    pending="confirmation_pending",
    failed="confirmation_failed",
)
def confirm_booking(wish: Wish, ctx: StepContext) -> Confirmation:
    reservation: Reservation = ctx.output(reserve_slot)
    confirmed = calendar.do("confirm", key=ctx.idempotency_key, reservation=reservation.id)
    ctx.record_external_id("booking", confirmed.id)
    return Confirmation(id=confirmed.id)


@confirm_booking.compensation(action="cancel the booking", idempotent=True, retry=Retry(limit=2, delay=0.5), timeout=30)
def cancel_booking(wish: Wish, confirmation: Confirmation | None, ctx: CompensationContext) -> None:
    found = calendar.find("confirm", key=ctx.undoes.idempotency_key)
    if found is not None:
        calendar.undo(found.id)


@step(
    effect="notify",
    irreversible="a mail cannot be unsent",
    on_failure="continue",  # a booking is not cancelled because a mail could not be sent
    retry=Retry(limit=2, delay=0.5, on=(Unavailable,)),
    timeout=30,
    done="booking_notified",
    pending="notification_pending",
    failed="notification_failed",
)
def notify_customer(wish: Wish, ctx: StepContext) -> Notice:
    try:
        mail = mailer.send(wish.email, f"Booked: {wish.slot}", tag=ctx.idempotency_key)
    except TimedOut as error:
        raise InDoubt("no answer within 10 s") from error
    ctx.record_external_id("message", mail.id)
    return Notice(id=mail.id)


@notify_customer.reconcile(retry=Retry(limit=2, delay=0.5), timeout=30)
def find_notice(wish: Wish, ctx: StepContext) -> Notice | NotDone:
    mail = mailer.search(tag=ctx.idempotency_key)
    if mail is None:
        return NotDone()
    ctx.record_external_id("message", mail.id)
    return Notice(id=mail.id)


book_slot = Pipeline(
    "book_slot",
    [check_slot, reserve_slot, confirm_booking, notify_customer],
    subject=lambda wish: wish.customer,
    customer_messages={
        "slot_free_reservation_pending": "We are reserving your slot.",
        "booking_confirmed_notification_failed": "Your booking is confirmed. We could not send you a mail about it.",
        "booking_notified": "Your booking is confirmed.",
        "slot_taken_rolled_back": "This slot is taken. Nothing was booked.",
        "confirmation_failed_rolled_back": "We could not confirm your booking. Nothing was booked.",
    },
)
