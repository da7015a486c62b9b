"""A Celery chain that keeps each result in a database (the baseline) or in Redis, as people have it today."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from celery import Celery, chain
from redis import Redis
from sqlalchemy import create_engine, text

from benchmarks.apps import FAILS, LONG_STEPS, STEPS, common_settings, do_work, store_url, undo_work
from benchmarks.apps.asking import ask_state

URL: Final = store_url()
HAS_REDIS: Final = URL.startswith("unix://")
RESULTS: Final = "SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS'"
STATE: Final = "SELECT status FROM celery_taskmeta WHERE task_id = :id"

app: Final = Celery("chain")
app.conf.update(
    common_settings(),
    result_backend=URL.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host=")
    if HAS_REDIS
    else f"db+{URL}",
    # The promises that backout makes as well: nothing is acknowledged before its result is kept.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
)


def _define(number: int) -> Any:
    def work(order_id: str) -> dict[str, Any]:
        return do_work(order_id, number)

    return app.task(work, name=f"chain.step_{number}")


def _define_undo(number: int) -> Any:
    def undo(order_id: str) -> None:
        undo_work(order_id, number)

    return app.task(undo, name=f"chain.undo_{number}")


TASKS: Final = [_define(number) for number in range(max(STEPS, LONG_STEPS))]
UNDOS: Final = [_define_undo(number) for number in range(STEPS if FAILS else 0)]


def roll_back(_request: Any, _error: Exception, _traceback: Any, order_id: str) -> None:
    """Undo the steps that were done, last one first: what `link_error` calls in the worker when the chain fails."""
    chain(*(undo.si(order_id) for undo in reversed(UNDOS[:-1]))).apply_async()


ROLL_BACK: Final = app.task(roll_back, name="chain.roll_back")


def prepare() -> None:
    """Create the backend's tables, which two processes must not do at the same time."""
    if not HAS_REDIS:
        app.backend.ResultSession().close()


def start(number: int) -> Callable[[], bool]:
    """Send one chain."""
    order_id = f"order-{number}"
    links = chain(*(task.si(order_id) for task in TASKS[:STEPS]))
    return _watch(links.apply_async(link_error=ROLL_BACK.s(order_id)) if FAILS else links.apply_async())


def start_long() -> Callable[[], bool]:
    """Send the long chain."""
    return _watch(chain(*(task.si("order-long") for task in TASKS)).apply_async())


def _watch(result: Any) -> Callable[[], bool]:
    if HAS_REDIS:
        return result.ready  # type: ignore[no-any-return] # no types
    return ask_state(_ENGINE, STATE, result.id, ended=("SUCCESS", "FAILURE"))


def count_finished() -> int:
    """Return how many chains have all their results, of their undos as well."""
    succeeded = 2 * (STEPS - 1) if FAILS else STEPS
    return _count_results() // succeeded


def _count_results() -> int:
    if HAS_REDIS:
        # The backend's own database of the server; a refused step leaves a result as well.
        with Redis.from_url(URL) as client:
            results = int(client.dbsize())
        return results - results // (2 * STEPS - 1) if FAILS else results
    with _ENGINE.connect() as connection:
        return int(connection.execute(text(RESULTS)).scalar_one())


_ENGINE: Final = create_engine("sqlite://" if HAS_REDIS else URL)
