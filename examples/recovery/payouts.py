"""A payout cannot be undone: what fails around it stops, and a person is asked.

* what failed: a step after the payout; or the payout itself, without an answer from the bank
* what is known: the money is gone; or it may be: the bank's statement comes tomorrow
* what is safe: booking it again; nothing that pays again, and no rollback that pretends that nobody was paid
* what happens: nothing is undone and nothing repeated: the run is in review, with what was done and the ids
* who is asked: finance: `irreversible_passed`, or `confirmation_missing` when nobody knows

`backout check` warns twice about `pay_seller`, and the example is about just that: nobody can be asked about the payout
(`doubt_asks_person`), and a step after it may fail (`may_fail_after_irreversible`). Money is worth a person's look.
"""

from pydantic import BaseModel

from backout import CompensationContext, FailStep, InDoubt, Pipeline, Retry, StepContext, step
from examples.recovery.providers import Declined, TimedOut, Unavailable, accounts, bank


class Payout(BaseModel):
    seller: str
    account: str
    cents: int


class Hold(BaseModel):
    id: str


class Payment(BaseModel):
    id: str


class Booking(BaseModel):
    number: str


@step(
    effect="write",
    idempotent=True,  # the accounts know the key
    retry=Retry(limit=2, delay=0.5, never_on=(Declined,)),
    timeout=30,
    done="balance_held",
    pending="hold_pending",
    failed="hold_failed",
)
def hold_balance(payout: Payout, ctx: StepContext) -> Hold:
    hold = accounts.do("hold", key=ctx.idempotency_key, seller=payout.seller, cents=str(payout.cents))
    ctx.record_external_id("hold", hold.id)
    return Hold(id=hold.id)


@hold_balance.compensation(action="release the hold", idempotent=True, retry=Retry(limit=2, delay=0.5), timeout=30)
def release_balance(payout: Payout, hold: Hold | None, ctx: CompensationContext) -> None:
    found = accounts.find("hold", key=ctx.undoes.idempotency_key)
    if found is not None:
        accounts.undo(found.id)


@step(
    effect="write",
    irreversible="the money is in the seller's account, and only the seller can send it back",
    retry=Retry(limit=2, delay=0.5, on=(Unavailable,)),  # what certainly did not reach the bank, nothing else
    timeout=30,
    done="seller_paid",
    pending="payment_pending",
    failed="payment_failed",
)
def pay_seller(payout: Payout, ctx: StepContext) -> Payment:
    try:
        payment = bank.pay(payout.account, payout.cents)
    except Declined as error:
        raise FailStep(str(error), no_effect=True) from error
    except TimedOut as error:
        # No failure, but no answer: a retry would pay blindly. A person is asked, as after a kill.
        raise InDoubt("no answer within 10 s") from error
    ctx.record_external_id("payment", payment.id)
    return Payment(id=payment.id)


@step(
    effect="write",
    idempotent=True,  # the accounts know the key
    retry=Retry(limit=2, delay=0.5, never_on=(Declined,)),
    timeout=30,
    done="payout_booked",
    pending="booking_pending",
    failed="booking_failed",
)
def book_payout(payout: Payout, ctx: StepContext) -> Booking:
    payment: Payment = ctx.output(pay_seller)
    booked = accounts.do("book", key=ctx.idempotency_key, payment=payment.id, cents=str(payout.cents))
    ctx.record_external_id("booking", booked.id)
    return Booking(number=booked.id)


@book_payout.compensation(action="cancel the booking", idempotent=True, retry=Retry(limit=2, delay=0.5), timeout=30)
def cancel_booking(payout: Payout, booking: Booking | None, ctx: CompensationContext) -> None:
    found = accounts.find("book", key=ctx.undoes.idempotency_key)
    if found is not None:
        accounts.undo(found.id)


pay_out = Pipeline(
    "pay_out",
    [hold_balance, pay_seller, book_payout],
    subject=lambda payout: payout.seller,
    customer_messages={
        "seller_paid_booking_failed_in_review": "Your payout is on its way; the receipt follows later.",
        "in_review": "We are checking your payout with our bank. You do not need to do anything.",
        "payout_booked": "Your payout is on its way.",
    },
)
