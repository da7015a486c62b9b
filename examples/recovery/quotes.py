"""A read that times out is retried.

* what failed: the rate service gave no answer in time
* what is known: nothing was changed: the step only reads
* what is safe: asking again
* what happens: two more attempts, after half a second and a second; then the quote is written, once
* who is asked: nobody; if the service stays away, the run ends `rate_missing_rolled_back` with nothing to undo
"""

from pydantic import BaseModel

from backout import CompensationContext, Pipeline, Retry, StepContext, step
from examples.recovery.providers import Declined, crm, rates


class Request(BaseModel):
    customer: str
    currency: str
    euros: float


class Rate(BaseModel):
    rate: float


class Quote(BaseModel):
    id: str
    amount: float


@step(
    effect="read",
    retry=Retry(limit=2, delay=0.5, never_on=(Declined,)),  # soon, so that you need not wait; give a real one minutes
    timeout=30,
    done="rate_known",
    pending="rate_pending",
    failed="rate_missing",
)
def read_rate(request: Request) -> Rate:
    return Rate(rate=rates.read(request.currency))


@step(
    effect="write",
    idempotent=True,  # the CRM knows the key: a second call answers with the first one's quote
    retry=Retry(limit=2, delay=0.5, never_on=(Declined,)),
    timeout=30,
    done="quote_written",
    pending="quote_pending",
    failed="quote_failed",
)
def write_quote(request: Request, ctx: StepContext) -> Quote:
    amount = request.euros * ctx.output(read_rate).rate
    written = crm.do("write_quote", key=ctx.idempotency_key, customer=request.customer, amount=f"{amount:.2f}")
    ctx.record_external_id("quote", written.id)
    return Quote(id=written.id, amount=round(amount, 2))


@write_quote.compensation(action="withdraw the quote", idempotent=True, retry=Retry(limit=2, delay=0.5), timeout=30)
def withdraw_quote(request: Request, quote: Quote | None, ctx: CompensationContext) -> None:
    found = crm.find("write_quote", key=ctx.undoes.idempotency_key)
    if found is not None:
        crm.undo(found.id)


quote_price = Pipeline(
    "quote_price",
    [read_rate, write_quote],
    subject=lambda request: request.customer,
    customer_messages={
        "rate_pending": "We are working out your price.",
        "rate_missing_rolled_back": "We cannot quote at the moment. Please ask again later.",
        "quote_written": "Your quote is ready.",
    },
)
