"""Make a Celery app whose broker and ledger the environment names."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celery import Celery, signals
from kombu import Queue

from backout.settings import PREFIX
from tests.support.apps import names

LINKS = 3
"""The most compensations in one chain."""
SETTINGS: dict[str, Any] = {
    "lease_seconds": 2.0,
    "sweep_interval_seconds": 0.5,
    "resend_seconds": 2.0,
    "countdown_limit_seconds": 0.5,
    "chain_links": LINKS,
}
"""Short times, so that a test sees in seconds what otherwise takes minutes."""


def make_app(name: str, environment: Mapping[str, str], **options: Any) -> Celery:
    """Return an app; backout is bound by the settings alone until somebody installs it."""
    app = Celery(name, broker=environment[names.BROKER], **options)
    app.conf.update(
        broker_connection_retry_on_startup=True,
        # A worker whose test run was killed finds no broker any more, and ends.
        broker_connection_max_retries=3,
        worker_send_task_events=True,
        task_send_sent_event=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=True,
    )
    app.conf.update({f"{PREFIX}{key}": value for key, value in SETTINGS.items()})
    app.conf.update({f"{PREFIX}database_url": environment[names.LEDGER]})
    configure(app, json.loads(environment[names.CELERY]))
    return app


def configure(app: Celery, settings: dict[str, Any]) -> None:
    """Set what is special about one test; it comes after the tests' own settings."""
    arguments = settings.pop("test_queue_arguments", None)
    app.conf.update(settings)
    if arguments:
        name = app.conf.task_default_queue
        app.conf.task_queues = [Queue(name, routing_key=name, queue_arguments=arguments)]


@signals.worker_ready.connect
def say_ready(**_: Any) -> None:
    """Leave a mark for the test that waits for this worker."""
    Path(os.environ[names.READY]).touch()
