"""`celery -A proj backout sweep`: the sweeper, as a service of its own or as the child of a worker."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import click

from backout.cli.celery_app import import_pipelines
from backout.cli.door import find_app
from backout.errors import ConfigurationError, LedgerUnavailable
from backout.tasks.runtime import runtime_of
from backout.tasks.sweeper import run_sweeper, sweep_once

logger = logging.getLogger(__name__)


@click.command("sweep")
@click.option("--once", is_flag=True, help="Look once and end; prints what was found.")
@click.option("--parent", type=int, hidden=True, help="End when this process is no longer the parent.")
@click.option("-E", "--task-events", is_flag=True, help="Send Celery events, as a worker's -E does.")
@click.pass_context
def sweep(ctx: click.Context, once: bool, parent: int | None, task_events: bool) -> None:
    """Send again what a crash swallowed, and take steps from workers that no longer answer.

    Each worker starts one by itself; run it as a service where `backout_sweeper = False`. Any number may run at once.
    """
    app = find_app(ctx)
    if app is None:
        raise ConfigurationError(
            problem="the sweeper sends messages and needs the Celery app",
            remedy="Run `celery -A proj backout sweep` or `backout --app proj sweep`.",
        )
    # As a worker does: `app.finalize()` alone leaves out what `imports` and `autodiscover_tasks` name.
    import_pipelines(app)
    # Celery's own set-up of logging, so that a worker and its sweeper log alike.
    app.log.setup(loglevel=logging.INFO)
    runtime = runtime_of(app)
    runtime.announcer.task_events = task_events or bool(app.conf.worker_send_task_events)
    if once:
        click.echo(str(sweep_once(runtime)))
        return
    try:
        # Verified before the loop: a wrong schema is no outage to wait for.
        _ = runtime.ledger
    except LedgerUnavailable as error:
        logger.warning("backout: %s The sweeper starts and waits for it.", error)
    should_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: should_stop.set())
    run_sweeper(runtime, should_stop=should_stop, parent_is_alive=_watch(parent))


def _watch(parent: int | None) -> Callable[[], Any]:
    """Return whether the worker that started this process is still there; the id changes when it dies."""
    return (lambda: True) if parent is None else (lambda: os.getppid() == parent)
