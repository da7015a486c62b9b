"""Start an example with a failure of your choice: `python -m examples.recovery start leads --fault ...`."""

from __future__ import annotations

from dataclasses import dataclass

import click
from pydantic import BaseModel

from backout import Pipeline, WaitTimedOut
from examples.recovery.app import app
from examples.recovery.bookings import Wish, book_slot
from examples.recovery.invoices import Order, mail_invoice
from examples.recovery.leads import Contact, register_lead
from examples.recovery.payouts import Payout, pay_out
from examples.recovery.providers import ALWAYS, Fault, all_deeds, mend, set_fault
from examples.recovery.publishing import Article, publish_article
from examples.recovery.quotes import Request, quote_price

PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A pipeline, something to run it with, and the requests to its providers that can fail."""

    pipeline: Pipeline
    value: BaseModel
    requests: tuple[str, ...]


EXAMPLES = {
    "quotes": Example(
        pipeline=quote_price,
        value=Request(customer="customer-1", currency="USD", euros=100),
        requests=("rates.read", "crm.write_quote"),
    ),
    "leads": Example(
        pipeline=register_lead,
        value=Contact(email="ada@analytical.example"),
        requests=("crm.create_lead", "enricher.look_up", "crm.add_company"),
    ),
    "invoices": Example(
        pipeline=mail_invoice,
        value=Order(id="order-1", email="ada@example.com"),
        requests=("accounts.write_invoice", "mailer.send", "mailer.search"),
    ),
    "payouts": Example(
        pipeline=pay_out,
        value=Payout(seller="seller-1", account="DE02 1203 0000 0000 2020 51", cents=12_500),
        requests=("accounts.hold", "bank.pay", "accounts.book"),
    ),
    "bookings": Example(
        pipeline=book_slot,
        value=Wish(customer="customer-1", email="ada@example.com", slot="Monday 9:00"),
        requests=("calendar.look", "calendar.reserve", "calendar.confirm", "mailer.send", "mailer.search"),
    ),
    "publishing": Example(
        pipeline=publish_article,
        value=Article(slug="hello", text="Hello."),
        requests=("site.push", "site.build", "site.put_live", "site.look"),
    ),
}
REQUESTS = sorted({request for example in EXAMPLES.values() for request in example.requests})


@click.group()
def main() -> None:
    """Start examples, let their providers fail, and look into the providers' books."""
    app.set_current()


@main.command()
@click.argument("name", type=click.Choice(list(EXAMPLES)))
@click.option(
    "--fault",
    "faults",
    type=(click.Choice(REQUESTS), click.Choice([fault.value for fault in Fault])),
    multiple=True,
    help="A request and what goes wrong with it; may be repeated.",
)
@click.option("--times", default=ALWAYS, help="How often it goes wrong; until `mend` by default. A kill strikes once.")
@click.option("--event", help="The source event: one event, one run.")
def start(name: str, faults: tuple[tuple[str, str], ...], times: int, event: str | None) -> None:
    """Enqueue a run, wait until it is settled, and say what became of it."""
    for request, fault in faults:
        is_kill = fault in (Fault.KILLED_BEFORE, Fault.KILLED_AFTER)
        set_fault(request, Fault(fault), times=1 if is_kill else times)
    example = EXAMPLES[name]
    run = example.pipeline.enqueue(example.value, source_event_id=event)
    try:
        record = run.wait(timeout=PATIENCE_SECONDS)
    except WaitTimedOut as error:
        raise click.ClickException(f"{error} Does a worker run?") from error
    click.echo(f"{record.state}: {record.operator_state}")
    click.echo(f"The customer reads: {run.customer_message}")
    click.echo(f"Look at it: backout --app examples.recovery.app runs show {run.id}")


@main.command("mend")
@click.argument("request", required=False, type=click.Choice(REQUESTS))
def mend_command(request: str | None) -> None:
    """Let a request to a provider work again, or all of them."""
    mend(request)


@main.command("books")
def show_books() -> None:
    """Show what the providers did, and did not take back."""
    for deed in all_deeds():
        facts = ", ".join(f"{name} {value}" for name, value in deed.facts.items())
        click.echo(f"{deed.id:14} {deed.what:14} {'undone' if deed.is_undone else '':8} {facts}")


if __name__ == "__main__":
    main(prog_name="python -m examples.recovery")
