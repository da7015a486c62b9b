"""What a Celery worker does for backout when it starts: verify the ledger, keep a sweeper, inform its children."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import Any, Final

import click
from celery import Celery, bootsteps, signals

from backout.errors import BackoutError, DefinitionError, LedgerUnavailable
from backout.pipelines.functions import find_function, known_tasks
from backout.tasks.doctor.answer import SWEEPER_KEY, describe_worker
from backout.tasks.noticeboard import board
from backout.tasks.runtime import runtime_of

logger = logging.getLogger(__name__)

CHECK_SECONDS: Final = 5.0
NOTICE_SECONDS: Final = 0.5
STOP_SECONDS: Final = 5.0


class LedgerCheck(bootsteps.StartStopStep):
    """Refuse to start on a ledger that this release cannot work with."""

    label = "backout ledger"

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        try:
            runtime = runtime_of(parent.app)
            # Said before the pool is forked: its children know nothing of the worker's `-E`.
            runtime.announcer.task_events = bool(parent.task_events)
            _ = runtime.ledger
        except LedgerUnavailable as error:
            # Nothing moves without the database; the schema is verified when it is back, before the first claim.
            logger.error("backout: %s The worker starts and waits for it.", error)
            return
        except BackoutError as error:
            # A plain exception would be logged as a crash of the worker; this is the operator's to mend.
            raise SystemExit(f"backout: the worker does not start: {error}") from error
        logger.info("backout: the ledger is %s", runtime.unverified_ledger.shown_url)

    def info(self, parent: Any) -> dict[str, Any]:
        """Return what `celery inspect stats` says of backout in this worker: `backout doctor` reads it."""
        return describe_worker(parent)


class NoticeboardKeeper(bootsteps.StartStopStep):
    """Tell the pool's children what Celery tells the worker only: who watches, what is limited, that it stops."""

    label = "backout noticeboard"

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._timer: Any = None
        # All this before the pool is forked, so that its children have it, and not each of them makes it again.
        for name in known_tasks():
            _prepare(name)
        board.open(has_soft_limit=bool(getattr(parent, "soft_time_limit", None)))

    def start(self, parent: Any) -> None:
        """Begin to look at what may change while the worker runs."""
        self._timer = parent.timer.call_repeatedly(NOTICE_SECONDS, lambda: _write_notices(parent))

    def stop(self, parent: Any) -> None:
        """Let nobody rely on the board any more."""
        board.close()
        if self._timer is not None:
            self._timer.cancel()

    terminate = stop


def _prepare(task: str) -> None:
    function = find_function(task)
    try:
        _ = function.schema if function is not None else None
    except DefinitionError:
        # Told to whoever runs the step.
        logger.debug("backout: the types of %s cannot be read", task, exc_info=True)


def _write_notices(worker: Any) -> None:
    dispatcher = getattr(getattr(worker, "consumer", None), "event_dispatcher", None)
    groups = getattr(dispatcher, "groups", None)
    is_on = bool(getattr(dispatcher, "enabled", False)) and (not groups or "task" in groups)
    board.say_events(are_sent=is_on)
    for name in known_tasks():
        task = worker.app.tasks.get(name)
        # `celery control rate_limit` sets it here, in the main process.
        board.say_limited(name, is_limited=task is not None and bool(task.rate_limit))


def _say_stopping(**_: Any) -> None:
    board.say_stopping()


signals.worker_shutting_down.connect(_say_stopping, weak=False)


class SweeperProcess(bootsteps.StartStopStep):
    """Keep one sweeper process beside the worker; it ends with the worker, and is started again if it dies.

    It has an interpreter of its own: a fork of the worker would inherit its locks, and a thread of the worker would
    leave them to the pool's children.
    """

    label = "backout sweeper"

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._process: subprocess.Popen[bytes] | None = None
        self._command: list[str] | None = None
        self._timer: Any = None
        self._restarts = 0

    def include_if(self, parent: Any) -> bool:
        """Leave it out where the settings say that a service of its own sweeps."""
        return runtime_of(parent.app).settings.sweeper

    def start(self, parent: Any) -> None:
        """Start the sweeper and look after it."""
        name = app_name(parent.app)
        if name is None:
            logger.error(
                "backout: no sweeper was started, because the worker was started without `-A`: set `backout_app` to "
                "the app's import name (`proj.celery:app`), or run `celery -A proj backout sweep` beside the workers",
            )
            return
        self._command = [
            sys.executable,
            "-m",
            "backout",
            "--app",
            name,
            "sweep",
            "--parent",
            str(os.getpid()),
            *(["--task-events"] if parent.task_events else []),
        ]
        self._launch()
        self._timer = parent.timer.call_repeatedly(CHECK_SECONDS, self._look_after)

    def info(self, parent: Any) -> dict[str, Any]:
        """Return what `celery inspect stats` says of the sweeper."""
        is_alive = self._process is not None and self._process.poll() is None
        return {SWEEPER_KEY: {"is_alive": is_alive, "restarts": self._restarts}}

    def stop(self, parent: Any) -> None:
        """Stop the sweeper; other workers' sweepers go on."""
        if self._timer is not None:
            self._timer.cancel()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()

    terminate = stop

    def _launch(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(self._command or [], env=environment, stdin=subprocess.DEVNULL)

    def _look_after(self) -> None:
        if self._process is not None and (code := self._process.poll()) is not None:
            logger.error("backout: the sweeper ended with exit code %s; starting it again", code)
            self._restarts += 1
            self._launch()


def app_name(app: Celery) -> str | None:
    """Return the name by which another process imports the app; `None` when nobody can tell."""
    configured: str | None = runtime_of(app).settings.app
    if configured is not None:
        return configured
    context = click.get_current_context(silent=True)
    given = context.find_root().params.get("app") if context is not None else None
    return given if isinstance(given, str) else None
