"""How an order is fulfilled: stock, money, courier, receipt; and how each of them is taken back."""

from django.core.mail import send_mail
from django.db import transaction
from django.db.models import F
from pydantic import BaseModel, Field

from backout import CompensationContext, FailStep, Pipeline, Retry, StepContext, step
from orders import outside
from orders.models import Item, Order, Reservation

QUICKLY = Retry(limit=1, delay=0.5)


class Purchase(BaseModel):
    order: int
    item: str
    amount_cents: int = Field(gt=0)


class Reserved(BaseModel):
    key: str


class Charge(BaseModel):
    charge_id: str


class Parcel(BaseModel):
    booking_id: str


@step(effect="write", idempotent=True, retry=QUICKLY, timeout=10, done="stock_reserved", failed="out_of_stock")
def reserve_stock(purchase: Purchase, ctx: StepContext) -> Reserved:
    with transaction.atomic():
        item, _ = Item.objects.get_or_create(name=purchase.item, defaults={"stock": 10})
        _, is_new = Reservation.objects.get_or_create(key=ctx.idempotency_key, defaults={"item": item})
        if is_new and not Item.objects.filter(pk=item.pk, stock__gt=0).update(stock=F("stock") - 1):
            raise FailStep(f"{purchase.item} is out of stock", no_effect=True)
    return Reserved(key=ctx.idempotency_key)


@reserve_stock.compensation(action="put the item back into stock", idempotent=True, retry=QUICKLY, timeout=10)
def release_stock(purchase: Purchase, reserved: Reserved | None, ctx: CompensationContext) -> None:
    with transaction.atomic():
        taken = Reservation.objects.filter(key=ctx.undoes.idempotency_key, is_released=False)
        if taken.update(is_released=True):
            Item.objects.filter(name=purchase.item).update(stock=F("stock") + 1)


@step(effect="write", idempotent=True, retry=QUICKLY, timeout=10, done="card_charged", failed="charge_failed")
def charge_card(purchase: Purchase, ctx: StepContext) -> Charge:
    charge_id = outside.charge(purchase.amount_cents, key=ctx.idempotency_key)
    ctx.record_external_id("charge", charge_id)
    return Charge(charge_id=charge_id)


@charge_card.compensation(action="pay the money back", idempotent=True, retry=QUICKLY, timeout=10)
def refund_card(purchase: Purchase, charge: Charge | None, ctx: CompensationContext) -> None:
    order = Order.objects.get(pk=purchase.order)
    outside.refund(key=ctx.undoes.idempotency_key, is_closed=order.bank_is_closed)


@step(
    effect="write",
    idempotent=True,
    retry=Retry(limit=1, delay=0.5, never_on=(outside.Declined,)),
    timeout=10,
    done="courier_booked",
    failed="courier_refused",
)
def book_courier(purchase: Purchase, ctx: StepContext) -> Parcel:
    order = Order.objects.get(pk=purchase.order)
    booking_id = outside.book_courier(refuses=order.courier_fails, key=ctx.idempotency_key)
    ctx.record_external_id("parcel", booking_id)
    return Parcel(booking_id=booking_id)


@book_courier.compensation(action="cancel the courier", idempotent=True, retry=QUICKLY, timeout=10)
def cancel_courier(purchase: Purchase, parcel: Parcel | None, ctx: CompensationContext) -> None:
    booking_id = parcel.booking_id if parcel else ctx.external_ids.get("parcel")
    if booking_id is not None:
        outside.cancel_courier(booking_id)


@step(
    effect="notify",
    irreversible="a mail cannot be unsent",
    on_failure="continue",  # an order stands although its mail could not be sent
    idempotent=True,  # a second copy of a receipt does no harm
    retry=QUICKLY,
    timeout=10,
    done="receipt_sent",
    failed="receipt_not_sent",
)
def send_receipt(purchase: Purchase, ctx: StepContext) -> None:
    order = Order.objects.get(pk=purchase.order)
    message_id = f"<{ctx.idempotency_key}@shop.example>"
    send_mail("Your order", f"{order.item} is on its way.", "shop@shop.example", [f"{order.customer}@example.com"])
    ctx.record_external_id("mail", message_id)


fulfil_order = Pipeline(
    "fulfil_order",
    [reserve_stock, charge_card, book_courier, send_receipt],
    subject=lambda purchase: f"order {purchase.order}",
    customer_messages={
        "receipt_sent": "Your order is on its way.",
        "succeeded": "Your order is on its way. We could not mail you the receipt.",
        "rolling_back": "We cannot deliver to you. We are sending your money back.",
        "courier_refused_rolled_back": "We cannot deliver to you. You have your money back.",
        "out_of_stock_rolled_back": "This is sold out. You were not charged.",
    },
)
