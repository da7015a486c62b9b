"""A shop whose functions reach nothing outside, for rehearsals."""

from __future__ import annotations

from pydantic import BaseModel

from backout import CompensationContext, NotDone, Pipeline, Retry, StepContext, step


class Order(BaseModel):
    id: str
    amount_cents: int


class Charge(BaseModel):
    charge_id: str


CALLED: list[str] = []
"""Calls of the shop's own functions; a test that reads it empties it first."""


@step(effect="read")
def check_order(order: Order) -> bool:
    CALLED.append("check_order")
    return True


@step(idempotent=True, retry=Retry(limit=2, delay=90))
def reserve(order: Order, ctx: StepContext) -> str:
    CALLED.append("reserve")
    return f"hold of {order.id}"


@reserve.compensation(action="release the goods", idempotent=True)
def release(order: Order, hold: str | None) -> None:
    CALLED.append("release")


@step
def charge(order: Order, ctx: StepContext) -> Charge:
    CALLED.append("charge")
    ctx.record_external_id("charge", f"ch_{order.id}")
    return Charge(charge_id=f"ch_{order.id}")


@charge.compensation(action="refund the charge")
def refund(order: Order, paid: Charge | None, ctx: CompensationContext) -> None:
    CALLED.append("refund")


@charge.reconcile
def find_charge(order: Order) -> Charge | NotDone:
    return Charge(charge_id=f"ch_{order.id}")


@step(keep="an unused booking expires by itself")
def book(order: Order) -> str:
    CALLED.append("book")
    return "booking"


@step(effect="notify", irreversible="it is read", on_failure="continue")
def tell(order: Order) -> None:
    CALLED.append("tell")


SHOP = Pipeline("rehearsed_shop", [check_order, reserve, charge, book, tell])
ORDER = Order(id="o-1", amount_cents=500)


def once(order: Order) -> str:
    return "done"


def undo_once(order: Order, output: str | None) -> None: ...


first = step(once)
first.compensation(action="undo it")(undo_once)
SMALL = Pipeline("rehearsed_small", [first])
