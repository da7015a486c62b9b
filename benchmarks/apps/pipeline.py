"""The same steps as a backout pipeline, with a ledger on PostgreSQL or SQLite."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from celery import Celery
from pydantic import BaseModel
from sqlalchemy import create_engine, text

import backout
from backout.ledger import schema
from benchmarks.apps import BURST_VARIABLE, FAILS, STEPS, CardRefused, common_settings, do_work, store_url, undo_work

FINISHED: Final = "SELECT count(*) FROM backout_run WHERE state = :state"

app: Final = Celery("pipeline")
app.conf.update(common_settings())
if BURST_VARIABLE in os.environ:
    app.conf.backout_burst_seconds = float(os.environ[BURST_VARIABLE])
runtime: Final = backout.install(app, database_url=store_url())
_engine: Final = create_engine(store_url())


class Order(BaseModel):
    order_id: str


def _define(number: int) -> Any:
    def work(order: Order) -> dict[str, Any]:
        try:
            return do_work(order.order_id, number)
        except CardRefused as error:
            # Final, and nothing to undo for this one, as in the other ways.
            raise backout.FailStep("card refused", no_effect=True) from error

    def undo(order: Order, output: dict[str, Any] | None) -> None:
        undo_work(order.order_id, number)

    work.__name__ = work.__qualname__ = f"step_{number}"
    undo.__name__ = undo.__qualname__ = f"undo_{number}"
    options: Any = {"retry": backout.Retry(limit=3), "timeout": timedelta(seconds=60)}
    step = backout.step(**options)(work)
    step.compensation(action=f"undo step {number}", **options)(undo)
    return step


PIPELINE: Final = backout.Pipeline("measured", [_define(number) for number in range(STEPS)])


def prepare() -> None:
    """Create the ledger's tables."""
    schema.upgrade(runtime.unverified_ledger)


def start(number: int) -> Callable[[], bool]:
    """Enqueue one run."""
    run = PIPELINE.enqueue(Order(order_id=f"order-{number}"))
    return lambda: run.status().state.is_settled


def count_finished() -> int:
    """Return how many runs have ended as they should."""
    with _engine.connect() as connection:
        state = "rolled_back" if FAILS else "succeeded"
        return int(connection.execute(text(FINISHED), {"state": state}).scalar_one())
