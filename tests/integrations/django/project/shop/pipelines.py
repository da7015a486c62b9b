"""What happens with an order: found by backout as the admin finds admin.py."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from backout import FailStep, Pipeline, Retry, StepContext, step
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
