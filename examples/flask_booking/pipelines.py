"""How a booking is made: reserve, confirm, notify; and how it is taken back."""

from pydantic import BaseModel

from backout import CompensationContext, FailStep, NotDone, Pipeline, Retry, StepContext, step
from examples.flask_booking import studio
from examples.flask_booking.models import Booking, Trouble, db

QUICKLY = Retry(limit=1, delay=0.5)


class Wish(BaseModel):
    booking: int
    email: str
    slot: str


def trouble_of(wish: Wish) -> Trouble:
    """Return what shall go wrong, as it is now: staff may mend it meanwhile."""
    booking = db.session.get_one(Booking, wish.booking)
    return Trouble(booking.trouble)


@step(effect="write", idempotent=True, retry=QUICKLY, timeout=10, done="slot_reserved", failed="slot_taken")
def reserve(wish: Wish, ctx: StepContext) -> str:
    try:
        reservation = studio.reserve(wish.slot, key=ctx.idempotency_key)
    except studio.Taken as error:
        raise FailStep(str(error), no_effect=True) from error
    ctx.record_external_id("reservation", reservation)
    return reservation


@reserve.reconcile
def find_reservation(wish: Wish, ctx: StepContext) -> str | NotDone:
    return studio.find(ctx.idempotency_key) or NotDone()


@reserve.compensation(action="release the slot", idempotent=True, retry=QUICKLY, timeout=10)
def release(wish: Wish, reserved: str | None, ctx: CompensationContext) -> None:
    studio.release(ctx.undoes.idempotency_key, is_closed=trouble_of(wish) is Trouble.RELEASE)


@step(
    effect="write",
    idempotent=True,
    keep="a slot that is released is not confirmed any more",
    retry=Retry(limit=1, delay=0.5, never_on=(studio.Declined,)),
    timeout=10,
    done="booking_confirmed",
    failed="not_confirmed",
)
def confirm(wish: Wish, ctx: StepContext) -> None:
    studio.confirm(ctx.output(reserve), declines=trouble_of(wish) in (Trouble.CONFIRMATION, Trouble.RELEASE))


@step(
    effect="notify",
    irreversible="a mail cannot be unsent",
    on_failure="continue",  # a booking stands although its mail could not be sent
    retry=QUICKLY,
    timeout=10,
    done="customer_notified",
    failed="customer_not_notified",
)
def notify(wish: Wish, ctx: StepContext) -> str:
    text = f"Your booking is confirmed: {wish.slot}"
    is_broken = trouble_of(wish) is Trouble.MAIL
    mail = studio.send_mail(wish.email, text, key=ctx.idempotency_key, is_broken=is_broken)
    ctx.record_external_id("mail", mail)
    return mail


@notify.reconcile
def find_mail(wish: Wish, ctx: StepContext) -> str | NotDone:
    return studio.find_mail(ctx.idempotency_key) or NotDone()


book_slot = Pipeline(
    "book_slot",
    [reserve, confirm, notify],
    subject=lambda wish: f"booking {wish.booking}",
    customer_messages={
        "customer_notified": "Your booking is confirmed. You have a mail from us.",
        "succeeded": "Your booking is confirmed. We could not send you a mail about it.",
        "slot_taken_rolled_back": "Somebody else was faster: this slot is taken. Nothing was booked.",
        "rolling_back": "The studio cannot take your booking. We are giving the slot back.",
        "not_confirmed_rolled_back": "The studio cannot take your booking. Nothing is booked, the slot is free again.",
        "in_review": "The studio cannot take your booking. Somebody of us is looking after it.",
    },
)
