"""The baseline: a Celery chain that keeps each result in the database, as people have it today."""

from __future__ import annotations

from typing import Any, Final

from celery import Celery, chain

from benchmarks.apps import STEPS, common_settings, database_url, do_work

app: Final = Celery("chain")
app.conf.update(
    common_settings(),
    result_backend=f"db+{database_url()}",
    # The promises that backout makes as well: nothing is acknowledged before its result is kept.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
)


def _define(number: int) -> Any:
    def work(order_id: str) -> dict[str, Any]:
        return do_work(order_id, number)

    return app.task(work, name=f"chain.step_{number}")


TASKS: Final = [_define(number) for number in range(STEPS)]


def prepare() -> None:
    """Create the backend's tables, which two processes must not do at the same time."""
    app.backend.ResultSession().close()


def enqueue(count: int) -> None:
    """Send that many chains."""
    for number in range(count):
        chain(*(task.si(f"order-{number}") for task in TASKS)).apply_async()
