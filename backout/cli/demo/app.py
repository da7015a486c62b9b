"""The shop of the demo: a Celery app and its pipeline, as an application would define them.

A worker finds its stage in the folder that `BACKOUT_DEMO_FOLDER` names.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Final

from celery import Celery, signals
from pydantic import BaseModel

from backout.app import install
from backout.cli.demo.bank import OutsideWorld, Partner
from backout.cli.demo.orders import Order
from backout.cli.demo.stage import FOLDER_VARIABLE, Stage
from backout.cli.demo.worker import APP_MODULE, end_with_owner
from backout.errors import ConfigurationError, SkipStep
from backout.pipelines.decorators import step
from backout.pipelines.definition import Retry
from backout.pipelines.pipeline import Pipeline
from backout.pipelines.schema import NotDone
from backout.tasks.context import CompensationContext, StepContext
from backout.tasks.runtime import Runtime

LEASE_SECONDS: Final = 2.0
"""Short, so that a killed worker is noticed while somebody watches; the default is a minute."""
SWEEP_INTERVAL_SECONDS: Final = 0.5
RESEND_SECONDS: Final = 5.0
QUICK: Final = Retry(limit=2, delay=0.5, jitter=0)
"""Three attempts: at once, after half a second, after another second."""
STEP_TIMEOUT: Final = timedelta(seconds=30)

# Not current by itself: `celery -A proj backout demo` imports this beside an app that is.
app = Celery("backout_demo", set_as_current=False)


class Receipt(BaseModel):
    """What a partner confirmed."""

    number: str


@step(effect="write", idempotent=True, retry=QUICK, timeout=STEP_TIMEOUT, done="stock_reserved")
def reserve_stock(order: Order, ctx: StepContext) -> Receipt:
    """Set the things aside in the warehouse."""
    reserved = _outside().reserve_stock(order, key=ctx.idempotency_key)
    ctx.record_external_id("reservation", reserved.number)
    return Receipt(number=reserved.number)


@reserve_stock.compensation(action="release the stock", retry=QUICK, timeout=STEP_TIMEOUT, idempotent=True)
def release_stock(order: Order, reserved: Receipt | None, ctx: CompensationContext) -> None:
    """Put the things back on the shelf."""
    _take_back(_outside().warehouse, order, ctx, "release")


@reserve_stock.reconcile
def find_reservation(order: Order, ctx: StepContext) -> Receipt | NotDone:
    """Ask the warehouse whether it has set them aside."""
    found = _outside().warehouse.find(ctx.idempotency_key)
    return Receipt(number=found.number) if found else NotDone()


@step(effect="write", idempotent=True, retry=QUICK, timeout=STEP_TIMEOUT, done="card_charged", pending="charge_pending")
def charge_card(order: Order, ctx: StepContext) -> Receipt:
    """Take the money."""
    charge = _outside().charge_card(order, key=ctx.idempotency_key)
    ctx.record_external_id("charge", charge.number)
    return Receipt(number=charge.number)


@charge_card.compensation(action="refund the charge", retry=QUICK, timeout=STEP_TIMEOUT, idempotent=True)
def refund_card(order: Order, charge: Receipt | None, ctx: CompensationContext) -> None:
    """Give the money back, also when the answer about the charge never came."""
    _take_back(_outside().bank, order, ctx, "refund")


@charge_card.reconcile
def find_charge(order: Order, ctx: StepContext) -> Receipt | NotDone:
    """Ask the bank whether it has charged the card."""
    found = _outside().bank.find(ctx.idempotency_key)
    return Receipt(number=found.number) if found else NotDone()


@step(effect="write", idempotent=True, retry=QUICK, timeout=STEP_TIMEOUT, done="courier_booked")
def book_courier(order: Order, ctx: StepContext) -> Receipt:
    """Book a van."""
    booking = _outside().book_courier(order, key=ctx.idempotency_key)
    ctx.record_external_id("booking", booking.number)
    return Receipt(number=booking.number)


@book_courier.compensation(action="cancel the courier", retry=QUICK, timeout=STEP_TIMEOUT, idempotent=True)
def cancel_courier(order: Order, booking: Receipt | None, ctx: CompensationContext) -> None:
    """Cancel the van if one was booked; a step that failed may have booked it."""
    _take_back(_outside().courier, order, ctx, "cancellation")


@book_courier.reconcile
def find_booking(order: Order, ctx: StepContext) -> Receipt | NotDone:
    """Ask the courier whether a van is booked."""
    found = _outside().courier.find(ctx.idempotency_key)
    return Receipt(number=found.number) if found else NotDone()


@step(
    effect="notify",
    idempotent=True,
    irreversible="an e-mail cannot be unsent",
    on_failure="continue",
    retry=QUICK,
    timeout=STEP_TIMEOUT,
    done="receipt_sent",
)
def send_receipt(order: Order, ctx: StepContext) -> Receipt:
    """Mail the receipt."""
    sent = _outside().send_receipt(order, key=ctx.idempotency_key)
    ctx.record_external_id("message", sent.number)
    return Receipt(number=sent.number)


deliver_order = Pipeline(
    "deliver_order", [reserve_stock, charge_card, book_courier, send_receipt], subject=lambda order: order.id
)


def configure(stage: Stage) -> Runtime:
    """Let the app use the broker and the ledger of a stage; it is the current app of this process from then on."""
    app.conf.update(
        broker_url=stage.broker_url,
        broker_connection_retry_on_startup=True,
        task_default_queue=stage.name,
        worker_prefetch_multiplier=1,
        backout_app=APP_MODULE,
    )
    if stage.has_redis_broker:
        # Also what was taken and not acknowledged is kept under keys that all users of a Redis database share.
        app.conf.broker_transport_options = {"global_keyprefix": stage.key_prefix}
    app.set_current()
    return install(
        app,
        database_url=stage.database_url,
        lease_seconds=LEASE_SECONDS,
        sweep_interval_seconds=SWEEP_INTERVAL_SECONDS,
        resend_seconds=RESEND_SECONDS,
    )


def _take_back(partner: Partner, order: Order, ctx: CompensationContext, id_name: str) -> None:
    """Have a partner undo what it did under the key of the step that is undone."""
    undone = partner.undo(order.id, key_of_deed=ctx.undoes.idempotency_key, key=ctx.idempotency_key)
    if undone is None:
        raise SkipStep(f"the {partner.name} has nothing to {partner.undoing}")
    ctx.record_external_id(id_name, undone.number)


@cache
def _outside() -> OutsideWorld:
    stage = Stage.of_environment()
    if stage is None:
        raise ConfigurationError(
            problem="the shop of the demo has no stage", remedy=f"Set {FOLDER_VARIABLE} to the folder of a demo"
        )
    return OutsideWorld.with_books(stage.books_path, answer_seconds=stage.answer_seconds)


signals.worker_init.connect(end_with_owner, weak=False)
_stage = Stage.of_environment()
if _stage is not None:
    configure(_stage)
