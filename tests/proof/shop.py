"""The pipeline of the soak, whose steps are done at the bank; and the Celery app of its workers."""

from __future__ import annotations

import json
import os
import random
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from celery import Celery, signals
from pydantic import BaseModel

import backout
from backout import FailStep, NotDone, Pipeline, Retry, StepContext, step
from tests.proof.bank import Bank
from tests.support.apps import names

BROKER: Final = "BACKOUT_PROOF_BROKER"
LEDGER: Final = "BACKOUT_PROOF_LEDGER"
BANK: Final = "BACKOUT_PROOF_BANK"
CELERY: Final = "BACKOUT_PROOF_CELERY"
"""Settings that differ from those below, as JSON."""

SETTINGS: Final[dict[str, Any]] = {
    "backout_lease_seconds": 5.0,
    "backout_resend_seconds": 5.0,
    "backout_sweep_interval_seconds": 1.0,
    "backout_countdown_limit_seconds": 1.0,
    "broker_connection_retry_on_startup": True,
    "worker_prefetch_multiplier": 1,
    "worker_send_task_events": True,
    "task_send_sent_event": True,
}
"""Short times: what takes a minute with the usual settings is over in seconds here."""
PATIENT: Final = Retry(limit=8, delay=0.2, max_delay=2.0)
SOON: Final = timedelta(seconds=20)


class Order(BaseModel):
    """The input of a run.

    Attributes:
        fate: what is to go wrong by itself: `ok`, `refused` (the last step fails, nothing happened), `broken` (it fails
            after it has happened), `flaky` (some attempts fail).
    """

    number: int
    fate: str = "ok"


class Receipt(BaseModel):
    """The output of each step."""

    deed: str


def bank() -> Bank:
    """Return the bank that the environment names."""
    return Bank(port=int(os.environ[BANK]))


def work() -> None:
    """Take a moment, so that kills meet steps in the middle."""
    time.sleep(random.uniform(0.0, 0.05))


def do(order: Order, ctx: StepContext, deed: str, *, once: bool) -> Receipt:
    """Have an effect at the bank."""
    work()
    if order.fate == "flaky" and random.random() < 0.3:
        message = "the line was busy"
        raise ConnectionError(message)
    bank().do(ctx.run_id, deed, ctx.idempotency_key, once=once)
    work()
    return Receipt(deed=deed)


def find(ctx: StepContext, deed: str) -> Receipt | NotDone:
    """Ask the bank whether an effect was had."""
    return Receipt(deed=deed) if bank().find(ctx.run_id, deed, ctx.idempotency_key) else NotDone()


def undo(ctx: Any, deed: str, *, once: bool) -> None:
    """Take an effect back, if there is one."""
    work()
    key = ctx.undoes.idempotency_key
    if bank().find(ctx.run_id, deed, key):
        bank().do(ctx.run_id, f"undo {deed}", key, once=once)
    work()


@step(idempotent=True, retry=PATIENT, timeout=SOON)
def reserve(order: Order, ctx: StepContext) -> Receipt:
    """Do it again under the same key as often as you like."""
    return do(order, ctx, "reserve", once=True)


@reserve.compensation(action="release the stock", idempotent=True, retry=PATIENT, timeout=SOON)
def release(order: Order, output: Receipt | None, ctx: Any) -> None:
    """Take it back."""
    undo(ctx, "reserve", once=True)


@step(retry=Retry(limit=0), timeout=SOON, on_failure="rollback")
def charge(order: Order, ctx: StepContext) -> Receipt:
    """Do it once only: a second call would have a second effect."""
    work()
    bank().do(ctx.run_id, "charge", ctx.idempotency_key, once=False)
    work()
    return Receipt(deed="charge")


@charge.compensation(action="refund the charge", idempotent=True, retry=PATIENT, timeout=SOON)
def refund(order: Order, output: Receipt | None, ctx: Any) -> None:
    """Take it back."""
    undo(ctx, "charge", once=True)


@charge.reconcile(retry=PATIENT, timeout=SOON)
def find_charge(order: Order, ctx: StepContext) -> Receipt | NotDone:
    """Ask the bank."""
    return find(ctx, "charge")


@step(effect="read", retry=PATIENT, timeout=SOON)
def look(order: Order, ctx: StepContext) -> int:
    """Read something."""
    return bank().find(ctx.run_id, "charge", f"{ctx.run_id}:charge")


@step(effect="publish", idempotent=True, retry=PATIENT, timeout=SOON)
def publish(order: Order, ctx: StepContext) -> Receipt:
    """Make something live."""
    return do(order, ctx, "publish", once=True)


@publish.compensation(action="take the page down", idempotent=True, retry=PATIENT, timeout=SOON)
def take_down(order: Order, output: Receipt | None, ctx: Any) -> None:
    """Take it back."""
    undo(ctx, "publish", once=True)


@publish.verify(retry=PATIENT, timeout=SOON)
def is_live(order: Order, output: Receipt, ctx: StepContext) -> bool:
    """See it, at the second look at the latest."""
    return ctx.attempt > 1 or random.random() < 0.7


@step(retry=Retry(limit=0), timeout=SOON)
def ship(order: Order, ctx: StepContext) -> Receipt:
    """Do it once only, unless the order's fate is to fail here."""
    work()
    if order.fate == "refused":
        raise FailStep("no van goes there", no_effect=True)
    bank().do(ctx.run_id, "ship", ctx.idempotency_key, once=False)
    if order.fate == "broken":
        message = "the courier answered rubbish"
        raise ValueError(message)
    work()
    return Receipt(deed="ship")


@ship.compensation(action="call the van back", retry=PATIENT, timeout=SOON)
def call_back(order: Order, output: Receipt | None, ctx: Any) -> None:
    """Take it back, once only: an undo that is cut off asks a person."""
    undo(ctx, "ship", once=False)


@ship.reconcile(retry=PATIENT, timeout=SOON)
def find_parcel(order: Order, ctx: StepContext) -> Receipt | NotDone:
    """Ask the courier."""
    return find(ctx, "ship")


@step(effect="notify", irreversible="a letter cannot be unsent", on_failure="continue", timeout=SOON)
def notify(order: Order, ctx: StepContext) -> Receipt:
    """Tell the customer, once only, and nobody can say whether it was done: cut off it asks a person."""
    return do(order, ctx, "notify", once=False)


soak = Pipeline(
    "soak", [reserve, charge, look, publish, ship, notify], subject=lambda order: f"customer-{order.number % 100}"
)


def make_app() -> Celery:
    """Return the app whose broker and ledger the environment names."""
    made = Celery("proof", broker=os.environ[BROKER])
    made.conf.update(SETTINGS)
    made.conf.update(json.loads(os.environ.get(CELERY, "{}")))
    backout.install(made, database_url=os.environ[LEDGER])
    return made


@signals.worker_ready.connect
def say_ready(**_: Any) -> None:
    """Leave a mark for whoever waits for this worker."""
    Path(os.environ[names.READY]).touch()


if BROKER in os.environ:
    app = make_app()
