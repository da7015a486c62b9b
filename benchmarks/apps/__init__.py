"""The Celery apps that are measured; each does the same trivial work in five steps.

Each module has an `app` for the worker, and `prepare()` and `enqueue(count)` for `benchmarks.feeder`. They learn where
the servers are from the environment.
"""

import os
from typing import Any, Final

BROKER_VARIABLE: Final = "BACKOUT_BENCH_BROKER_URL"
DATABASE_VARIABLE: Final = "BACKOUT_BENCH_DATABASE_URL"

STEPS: Final = 5


def common_settings() -> dict[str, Any]:
    """Return what is the same for all apps; everything else is as Celery has it."""
    # A worker whose benchmark was killed, and the broker with it, shall give up soon.
    return {"broker_url": os.environ[BROKER_VARIABLE], "broker_connection_max_retries": 5}


def database_url() -> str:
    """Return the URL of the database, for SQLAlchemy."""
    return os.environ[DATABASE_VARIABLE]


def do_work(order_id: str, number: int) -> dict[str, Any]:
    """Do what each step does: nothing worth mentioning, so that all that is measured is the engine."""
    return {"order_id": order_id, "step": number}
