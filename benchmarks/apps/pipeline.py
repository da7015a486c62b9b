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
from benchmarks.apps import (
    BURST_VARIABLE,
    FAILS,
    LONG_STEPS,
    NO_SWEEPER_VARIABLE,
    STEPS,
    CardRefused,
    common_settings,
    do_work,
    store_url,
    undo_work,
)
from benchmarks.apps.asking import ask_state

FINISHED: Final = "SELECT count(*) FROM backout_run WHERE state = :state AND pipeline = 'measured'"
STATE: Final = "SELECT state FROM backout_run WHERE id = :id"

app: Final = Celery("pipeline")
app.conf.update(common_settings())
if BURST_VARIABLE in os.environ:
    app.conf.backout_burst_seconds = float(os.environ[BURST_VARIABLE])
if NO_SWEEPER_VARIABLE in os.environ:
    app.conf.backout_sweeper = False
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
    options: Any = {"retry": backout.Retry(limit=3), "timeout": timedelta(seconds=10)}
    step = backout.step(**options)(work)
    step.compensation(action=f"undo step {number}", **options)(undo)
    return step


_STEPS: Final = [_define(number) for number in range(max(STEPS, LONG_STEPS))]
PIPELINE: Final = backout.Pipeline("measured", _STEPS[:STEPS])
LONG_PIPELINE: Final = backout.Pipeline("long", _STEPS[:LONG_STEPS]) if LONG_STEPS else None


def prepare() -> None:
    """Create the ledger's tables."""
    schema.upgrade(runtime.unverified_ledger)


def start(number: int) -> Callable[[], bool]:
    """Enqueue one run."""
    return _watch(PIPELINE.enqueue(Order(order_id=f"order-{number}")))


def start_long() -> Callable[[], bool]:
    """Enqueue a run of the long pipeline."""
    assert LONG_PIPELINE is not None
    return _watch(LONG_PIPELINE.enqueue(Order(order_id="order-long")))


def _enqueue_batch(count: int) -> None:
    enqueue_many: Any = getattr(PIPELINE, "enqueue_many")  # noqa: B009 - older releases have none
    enqueue_many(Order(order_id=f"order-{number}") for number in range(count))


start_many: Final = _enqueue_batch if hasattr(PIPELINE, "enqueue_many") else None
"""Enqueue so many runs in one call; `None` where this backout cannot."""


def _watch(run: backout.RunHandle) -> Callable[[], bool]:
    return ask_state(_engine, STATE, run.id, ended=("succeeded", "rolled_back"))


def count_finished() -> int:
    """Return how many runs have ended as they should."""
    with _engine.connect() as connection:
        state = "rolled_back" if FAILS else "succeeded"
        return int(connection.execute(text(FINISHED), {"state": state}).scalar_one())
