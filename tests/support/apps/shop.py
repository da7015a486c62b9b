"""The Celery app of the tests' workers. Broker, ledger and outside world come from environment variables."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from celery import current_task, signals

import backout
from backout.events import Event
from backout.faultpoints import FaultPoint, arm
from backout.ledger import queries
from backout.tasks.runtime import runtime_of
from tests.support.apps import names, pipelines
from tests.support.apps.making import make_app


def arm_points() -> None:
    """Let the faults strike that the tests put into the outside world."""
    for point in FaultPoint:
        arm(point, partial(strike, point))


def strike(point: FaultPoint) -> None:
    """Do what is armed at a point of the running step, of the sweeper or of an enqueueing process."""
    if point is FaultPoint.SWEEP_COMMITTED:
        strike_sweeper()
    elif point is FaultPoint.ENQUEUE_COMMITTED:
        pipelines.outside().strike(point.value)
    else:
        what = pipelines.told_name(str(current_task.name).rpartition(".")[2])
        run_id = current_task.request.kwargs["backout_step"]["run"]
        pipelines.outside().strike(f"{run_id} {what} {point.value}")


def strike_sweeper() -> None:
    """Strike only when the sweeper has just marked a row of the run for which the fault is armed."""
    for path in (pipelines.outside().folder / "faults").glob(f"* {FaultPoint.SWEEP_COMMITTED}"):
        run_id = path.name.partition(" ")[0]
        ledger = runtime_of(app).ledger
        entries = ledger.read(lambda connection, run=run_id: queries.list_entries(connection, run))  # type: ignore[misc]
        if any(entry.event is Event.MESSAGE_RESENT for entry in entries):
            pipelines.outside().strike(path.name)


def publish_copies(copies: int, body: Any, headers: Any, exchange: Any, routing_key: Any, **_: Any) -> None:
    """Publish a message that was just published again, as a broker that duplicates everything would."""
    with app.producer_pool.acquire(block=True) as producer:
        for _copy in range(copies - 1):
            producer.publish(
                body,
                exchange=exchange,
                routing_key=routing_key,
                headers=headers,
                serializer="json",
                correlation_id=headers["id"],
            )


app = make_app("shop", os.environ)
backout.install(app)
arm_points()
if names.COPIES in os.environ:
    signals.after_task_publish.connect(partial(publish_copies, int(os.environ[names.COPIES])), weak=False)
