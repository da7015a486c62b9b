"""A mail of which nobody knows whether it went out is looked for, and not sent blindly.

* what failed: the worker was killed, or the mailer's answer was lost, just when the mail was sent
* what is known: the invoice exists; whether the mail went out, nobody here knows
* what is safe: asking the mailer for the mail's tag; sending again is not: a customer could get it twice
* what happens: found: the run goes on. Not found: it is sent. The mailer cannot tell: a person is asked
* who is asked: in the last case: whoever can see the customer's inbox, or the mailer's log tomorrow
"""

from pydantic import BaseModel

from backout import CompensationContext, InDoubt, NotDone, Pipeline, Retry, StepContext, Unknown, step
from examples.recovery.providers import Declined, TimedOut, Unavailable, accounts, mailer


class Order(BaseModel):
    id: str
    email: str


class Invoice(BaseModel):
    number: str


class Mail(BaseModel):
    id: str


@step(
    effect="write",
    idempotent=True,  # the accounts know the key
    retry=Retry(limit=2, delay=0.5, never_on=(Declined,)),
    timeout=30,
    done="invoice_written",
    pending="invoice_pending",
    failed="invoice_failed",
)
def write_invoice(order: Order, ctx: StepContext) -> Invoice:
    written = accounts.do("write_invoice", key=ctx.idempotency_key, order=order.id)
    ctx.record_external_id("invoice", written.id)
    return Invoice(number=written.id)


@write_invoice.compensation(action="cancel the invoice", idempotent=True, retry=Retry(limit=2, delay=0.5), timeout=30)
def cancel_invoice(order: Order, invoice: Invoice | None, ctx: CompensationContext) -> None:
    found = accounts.find("write_invoice", key=ctx.undoes.idempotency_key)
    if found is not None:
        accounts.undo(found.id)


@step(
    effect="notify",
    irreversible="a mail cannot be unsent",
    # Not idempotent: this mailer knows no keys. What certainly did not go out may be sent again, nothing else.
    retry=Retry(limit=2, delay=0.5, on=(Unavailable,)),
    on_failure="park",
    timeout=30,
    done="invoice_mailed",
    pending="mail_pending",
    failed="mail_failed",
)
def send_invoice(order: Order, ctx: StepContext) -> Mail:
    invoice: Invoice = ctx.output(write_invoice)
    try:
        mail = mailer.send(order.email, f"Your invoice {invoice.number}", tag=ctx.idempotency_key)
    except TimedOut as error:
        # No failure, but no answer: a retry would send blindly. `find_mail` is asked first, as after a kill.
        raise InDoubt("no answer within 10 s") from error
    ctx.record_external_id("message", mail.id)
    return Mail(id=mail.id)


@send_invoice.reconcile(retry=Retry(limit=2, delay=0.5), timeout=30)
def find_mail(order: Order, ctx: StepContext) -> Mail | NotDone | Unknown:
    try:
        mail = mailer.search(tag=ctx.idempotency_key)
    except Declined:
        return Unknown("the mailer's log of today cannot be searched yet")
    if mail is None:
        return NotDone()
    ctx.record_external_id("message", mail.id)
    return Mail(id=mail.id)


mail_invoice = Pipeline(
    "mail_invoice",
    [write_invoice, send_invoice],
    subject=lambda order: order.id,
    customer_messages={
        "invoice_written_mail_pending": "Your invoice is ready and on its way to you.",
        "invoice_mailed": "We have sent you your invoice.",
        "in_review": "Your invoice is ready. We are making sure that it reaches you.",
    },
)
