"""What happens with an order: found by backout as the admin finds admin.py."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from backout import FailStep, Pipeline, Retry, StepContext, step
from tests.integrations.django.gates import gate
from tests.integrations.django.project.shop.models import Deed


class Order(BaseModel):
    number: str
    fails: bool = False
    note: str = ""


def write_down(number: str, what: str) -> None:
    Deed.objects.create(number=number, what=what)


@step(idempotent=True)
def reserve(order: Order, ctx: StepContext) -> str:
    write_down(order.number, "reserve")
    ctx.record_external_id("reservation", f"res_{order.number}")
    return "reserved"


@reserve.compensation(action="release the goods", idempotent=True)
def release(order: Order, output: str | None, ctx: Any) -> None:
    write_down(order.number, "release")


@step(effect="notify", keep="a letter does no harm", idempotent=True, retry=Retry(limit=0))
def send_letter(order: Order, ctx: StepContext) -> str:
    if order.fails:
        raise FailStep("no paper")
    write_down(order.number, "letter")
    ctx.record_external_id("letter", f"letter_{order.number}")
    return "sent"


fulfil = Pipeline("fulfil", [reserve, send_letter], subject=lambda order: f"customer of {order.number}")


@step(effect="notify", keep="it does no harm")
def shout(order: Order) -> None:
    """Say it to somebody who may hear it twice."""


doubtful = Pipeline("doubtful", [shout])


@step(retry=Retry(limit=0))
def first(order: Order) -> None:
    write_down(order.number, "first")


@first.compensation(action="take it back", retry=Retry(limit=0))
def undo_first(order: Order, output: None) -> None:
    gate(f"{order.number} undo").pass_through()
    write_down(order.number, "undo")


@step(keep="it is only written down", retry=Retry(limit=0))
def second(order: Order) -> None:
    gate(f"{order.number} second").pass_through()
    write_down(order.number, "second")
    if order.fails:
        raise FailStep("as it was asked to")


gated = Pipeline("gated", [first, second])
