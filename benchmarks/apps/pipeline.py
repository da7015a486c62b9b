"""The same five steps as a backout pipeline, with a ledger on PostgreSQL or SQLite."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from celery import Celery
from pydantic import BaseModel

import backout
from backout.ledger import schema
from benchmarks.apps import STEPS, common_settings, database_url, do_work

app: Final = Celery("pipeline")
app.conf.update(common_settings())
runtime: Final = backout.install(app, database_url=database_url())


class Order(BaseModel):
    order_id: str


def _define(number: int) -> Any:
    def work(order: Order) -> dict[str, Any]:
        return do_work(order.order_id, number)

    def undo(order: Order, output: dict[str, Any] | None) -> None:
        do_work(order.order_id, number)

    work.__name__ = work.__qualname__ = f"step_{number}"
    undo.__name__ = undo.__qualname__ = f"undo_{number}"
    options: Any = {"retry": backout.Retry(limit=3), "timeout": timedelta(seconds=60)}
    step = backout.step(**options)(work)
    step.compensation(action=f"undo step {number}", **options)(undo)
    return step


PIPELINE: Final = backout.Pipeline("five_steps", [_define(number) for number in range(STEPS)])


def prepare() -> None:
    """Create the ledger's tables."""
    schema.upgrade(runtime.unverified_ledger)


def enqueue(count: int) -> None:
    """Enqueue that many runs."""
    for number in range(count):
        PIPELINE.enqueue(Order(order_id=f"order-{number}"))
