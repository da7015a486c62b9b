"""The applications that are measured; each does the same trivial work.

A module here has, for `benchmarks.feeder`: `prepare()`; `start(number)`, which starts one pipeline and returns a
function that tells whether that one has finished; and `count_finished()`, how many have. Celery's have an `app` for the
worker, the others a `work()` that works until SIGTERM and prints `READY` when it can. All learn from the environment
where the servers are and what to run. Some have `start_long()`, which starts one pipeline of `LONG_STEPS` steps, and
`start_many(count)`, which starts a batch.
"""

import os
from typing import Any, Final

BROKER_VARIABLE: Final = "BACKOUT_BENCH_BROKER_URL"
STORE_VARIABLE: Final = "BACKOUT_BENCH_STORE_URL"
STEPS_VARIABLE: Final = "BACKOUT_BENCH_STEPS"
LONG_STEPS_VARIABLE: Final = "BACKOUT_BENCH_LONG_STEPS"
FAILS_VARIABLE: Final = "BACKOUT_BENCH_FAILS"
BURST_VARIABLE: Final = "BACKOUT_BENCH_BURST_SECONDS"
"""Unset: as backout has it."""
NO_SWEEPER_VARIABLE: Final = "BACKOUT_BENCH_NO_SWEEPER"
POLL_VARIABLE: Final = "BACKOUT_BENCH_POLL_SECONDS"
"""Unset: as the library has it."""
ABSURD_SCHEMA_VARIABLE: Final = "BACKOUT_BENCH_ABSURD_SQL"
"""Names a file."""

STEPS: Final = int(os.environ.get(STEPS_VARIABLE, "5"))
"""How many steps a pipeline has."""
FAILS: Final = FAILS_VARIABLE in os.environ
"""Whether the last step fails for good, so that all before it must be undone."""
LONG_STEPS: Final = int(os.environ.get(LONG_STEPS_VARIABLE, "0"))
"""How many steps the long pipeline has, where there is one."""
READY: Final = "ready to work"


class CardRefused(Exception):
    """Why the last step fails, where it does."""


def common_settings() -> dict[str, Any]:
    """Return what is the same for all Celery apps; everything else is as Celery has it."""
    # A worker whose benchmark was killed, and the broker with it, shall give up soon.
    return {"broker_url": os.environ[BROKER_VARIABLE], "broker_connection_max_retries": 5}


def store_url() -> str:
    """Return the URL of where results are kept; for a SQL database it is SQLAlchemy's."""
    return os.environ[STORE_VARIABLE]


def do_work(order_id: str, number: int) -> dict[str, Any]:
    """Do what each step does: nothing worth mentioning, so that all that is measured is the engine."""
    if FAILS and number == STEPS - 1:
        raise CardRefused(order_id)
    return {"order_id": order_id, "step": number}


def undo_work(order_id: str, number: int) -> None:
    """Undo what a step did."""
