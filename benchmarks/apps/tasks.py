"""Celery tasks that do nothing, each on its own: no order, no results, no durability. What one message costs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from celery import Celery
from redis import Redis

from benchmarks.apps import BROKER_VARIABLE, STEPS, common_settings, do_work

app: Final = Celery("tasks")
app.conf.update(common_settings(), task_acks_late=True, task_ignore_result=True)


def _define(number: int) -> Any:
    def work(order_id: str) -> dict[str, Any]:
        return do_work(order_id, number)

    return app.task(work, name=f"tasks.step_{number}")


TASKS: Final = [_define(number) for number in range(STEPS)]
_sent = 0


def prepare() -> None:
    """Do nothing: there is nothing to keep."""


def start(number: int) -> Callable[[], bool]:
    """Send the tasks of one pipeline, in no order."""
    global _sent  # noqa: PLW0603 - only who sent them knows how many there were
    for task in TASKS:
        task.apply_async((f"order-{number}",))
    _sent += 1
    return lambda: count_finished() == _sent


def count_finished() -> int:
    """Return how many were sent and are not on the broker any more."""
    url = os.environ[BROKER_VARIABLE].replace("redis+socket://", "unix://").replace("?virtual_host=", "?db=")
    with Redis.from_url(url) as client:
        left = int(client.llen("celery")) + int(client.hlen("unacked"))
    return _sent - -(-left // STEPS)
