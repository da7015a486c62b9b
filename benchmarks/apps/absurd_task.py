"""The same steps inside one Absurd task that undoes by hand what it did: no broker, PostgreSQL is polled.

Absurd's schema does not come with its Python package: `ABSURD_SCHEMA_VARIABLE` names the file, `sql/absurd.sql` of its
repository.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from threading import Thread
from typing import Any, Final

import psycopg
from absurd_sdk import Absurd

from benchmarks.apps import ABSURD_SCHEMA_VARIABLE, POLL_VARIABLE, STEPS, CardRefused, do_work, store_url, undo_work
from benchmarks.apps.peers import leave, say_ready, wait_for_end

QUEUE: Final = "measured"
FINISHED: Final = "SELECT count(*) FROM absurd.t_measured WHERE state = 'completed'"


def _url() -> str:
    return store_url().replace("postgresql+psycopg://", "postgresql://", 1)


@cache
def _client() -> Absurd:
    client = Absurd(_url(), queue_name=QUEUE)
    client.register_task(name="measured")(measured)
    return client


@cache
def _connection() -> psycopg.Connection[Any]:
    return psycopg.connect(_url(), autocommit=True)


def measured(order: Any, ctx: Any) -> str:
    """Run the steps; when one fails, undo those before it."""
    order_id = order["order_id"]
    done: list[int] = []
    try:
        for number in range(STEPS):
            ctx.step(f"step_{number}", partial(do_work, order_id, number))
            done.append(number)
    except CardRefused:
        for number in reversed(done):
            ctx.step(f"undo_{number}", partial(undo_work, order_id, number))
        return "rolled back"
    return "succeeded"


def prepare() -> None:
    """Create Absurd's tables and the queue."""
    _connection().execute(Path(os.environ[ABSURD_SCHEMA_VARIABLE]).read_bytes())
    _client().create_queue()


def work() -> None:
    """Work until SIGTERM, one task at a time."""
    poll = {"poll_interval": float(os.environ[POLL_VARIABLE])} if POLL_VARIABLE in os.environ else {}
    Thread(target=_client().start_worker, kwargs=poll, daemon=True).start()
    say_ready()
    wait_for_end()
    leave()


def start(number: int) -> Callable[[], bool]:
    """Spawn one task."""
    task_id = _client().spawn("measured", {"order_id": f"order-{number}"})["task_id"]
    return lambda: is_finished(task_id)


def is_finished(task_id: str) -> bool:
    """Tell whether a task has ended."""
    found = _client().fetch_task_result(task_id)
    return found is not None and found.state == "completed"


def count_finished() -> int:
    """Return how many tasks have ended; one that has undone its steps completes as well."""
    row = _connection().execute(FINISHED).fetchone()
    return int(row[0]) if row else 0


if __name__ == "__main__":
    work()
