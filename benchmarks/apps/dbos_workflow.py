"""The same steps as a DBOS workflow that undoes by hand what it did: no broker, PostgreSQL is polled."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from dbos import DBOS, DBOSClient, DBOSConfig
from sqlalchemy import create_engine, text

from benchmarks.apps import POLL_VARIABLE, STEPS, CardRefused, do_work, store_url, undo_work
from benchmarks.apps.asking import ask_state
from benchmarks.apps.peers import leave, say_ready, wait_for_end

QUEUE: Final = "measured"
FINISHED: Final = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS' AND queue_name = 'measured'"
STATE: Final = "SELECT status FROM dbos.workflow_status WHERE workflow_uuid = :id"

_engine: Final = create_engine(store_url())


@DBOS.step()
def do_step(order_id: str, number: int) -> dict[str, Any]:
    return do_work(order_id, number)


@DBOS.step()
def undo_step(order_id: str, number: int) -> None:
    undo_work(order_id, number)


@DBOS.workflow()
def measured(order_id: str) -> str:
    """Run the steps; when one fails, undo those before it."""
    done: list[int] = []
    try:
        for number in range(STEPS):
            do_step(order_id, number)
            done.append(number)
    except CardRefused:
        for number in reversed(done):
            undo_step(order_id, number)
        return "rolled back"
    return "succeeded"


def _launch() -> None:
    config: DBOSConfig = {
        "name": "measured",
        "system_database_url": store_url(),
        "log_level": "ERROR",
        "executor_id": str(os.getpid()),
        "application_version": "1",
    }
    DBOS(config=config)
    DBOS.listen_queues([QUEUE])
    DBOS.launch()
    poll = {"polling_interval_sec": float(os.environ[POLL_VARIABLE])} if POLL_VARIABLE in os.environ else {}
    DBOS.register_queue(QUEUE, **poll)


def prepare() -> None:
    """Create DBOS's tables and the queue."""
    _launch()
    DBOS.destroy()


def work() -> None:
    """Work until SIGTERM, in as many threads as DBOS starts by itself."""
    _launch()
    say_ready()
    wait_for_end()
    leave()


@cache
def _client() -> DBOSClient:
    return DBOSClient(system_database_url=store_url())


def start(number: int) -> Callable[[], bool]:
    """Enqueue one workflow."""
    order = {"workflow_name": "measured", "queue_name": QUEUE, "app_version": "1"}
    handle = _client().enqueue(order, f"order-{number}")
    return ask_state(_engine, STATE, handle.get_workflow_id(), ended=("SUCCESS",))


def count_finished() -> int:
    """Return how many workflows have ended; one that has undone its steps succeeds as well."""
    with _engine.connect() as connection:
        return int(connection.execute(text(FINISHED)).scalar_one())


if __name__ == "__main__":
    work()
