"""The Celery worker of the demo: started, killed and stopped for real, and never left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from celery import Celery

from backout.cli.demo.interrupts import Interrupts
from backout.cli.demo.stage import FOLDER_VARIABLE, Stage
from backout.errors import ConfigurationError
from backout.testing.servers.guardian import children_of

APP_MODULE: Final = "backout.cli.demo.app"
OWNER_VARIABLE: Final = "BACKOUT_DEMO_WORKER"
"""Set for a worker that ends when its standard input is closed, which the demo holds open."""
STDIN: Final = 0
CHILDREN: Final = 2
START_TIMEOUT_SECONDS: Final = 30.0
STOP_TIMEOUT_SECONDS: Final = 10.0
PING_TIMEOUT_SECONDS: Final = 0.2
LOG_TAIL_LINES: Final = 15
_CELERY_VARIABLES: Final = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL")
"""Celery lets these overrule what an app says."""


class WorkerFailed(ConfigurationError):
    """The worker did not start, or ended by itself."""

    code = "demo_worker_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """What a SIGKILL ended.

    Attributes:
        name: of the worker, as entries show it before the slash.
        group_id: the process group, which is also the process id of the worker itself.
        process_ids: of all its processes: the worker, the children of its pool, its sweeper.
        exit_code: of the worker itself; -9 says that SIGKILL ended it.
    """

    name: str
    group_id: int
    process_ids: tuple[int, ...]
    exit_code: int


class Worker:
    """At most one worker at a time, in a session of its own; ends with the block, and with this process."""

    def __init__(self, app: Celery, stage: Stage, interrupts: Interrupts) -> None:
        self.app = app
        self.stage = stage
        self.interrupts = interrupts
        self.log_path = Path(stage.folder) / "worker.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            with self.interrupts.held():
                self.stop()
        else:
            # Nobody waits for an orderly end any more; a step in the bank's hands would hold it up for seconds.
            self.kill()

    @property
    def name(self) -> str:
        """Return the name of the newest worker, as entries and Flower show it."""
        return f"worker{self._starts}@demo"

    @property
    def pid(self) -> int:
        """Return the process id of the newest worker."""
        return self._running().pid

    def process_ids(self) -> tuple[int, ...]:
        """Return the ids of all its processes, its own first."""
        pid = self.pid
        return (pid, *sorted(children_of(pid)))

    def start(self, while_waiting: Callable[[], object]) -> None:
        """Start a worker and wait until it answers.

        Args:
            while_waiting: called again and again meanwhile.

        Raises:
            WorkerFailed: it ended, or did not answer in time; with the end of its log.
        """
        self._starts += 1
        with self.interrupts.held(), self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.stage.folder,
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # A session of its own: Ctrl-C is the demo's, and one signal to the group reaches all its processes.
                start_new_session=True,
            )
        ends_at = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._answers():
            self.require_running()
            if time.monotonic() > ends_at:
                raise self._failed(f"did not answer within {START_TIMEOUT_SECONDS:g} s")
            while_waiting()

    def require_running(self) -> None:
        """Raise `WorkerFailed` if the worker has ended by itself."""
        code = self._running().poll()
        if code is not None:
            raise self._failed(f"ended with exit code {code}")

    def kill(self) -> Killed | None:
        """End all its processes with SIGKILL, as a power cut would; `None` when none was started."""
        process = self._process
        if process is None:
            return None
        process_ids = self.process_ids()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        code = self._collect(process)
        self._process = None
        return Killed(name=self.name, group_id=process.pid, process_ids=process_ids, exit_code=code)

    def stop(self) -> None:
        """Stop it in order: it finishes what it is doing. Killed when that takes too long."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        self._collect(process)
        self._process = None

    def log_tail(self) -> str:
        """Return the last lines that the workers printed."""
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "no worker was started"
        return self._process

    def _collect(self, process: subprocess.Popen[bytes]) -> int:
        assert process.stdin is not None
        process.stdin.close()
        code = process.wait()
        # Whatever the worker may have left of itself.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        return code

    def _answers(self) -> bool:
        replies: Sequence[Any] = self.app.control.ping(destination=[self.name], timeout=PING_TIMEOUT_SECONDS)
        return bool(replies)

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "celery", "-A", APP_MODULE, "worker", "--pool", "prefork"]
        command += ["--concurrency", str(CHILDREN), "--hostname", self.name, "--queues", self.stage.name]
        # What workers tell each other; there is one, and it is not missed when it is killed.
        return [*command, "--loglevel", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat"]

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in _CELERY_VARIABLES}
        found_from = os.pathsep.join(path for path in sys.path if path)
        return {**kept, "PYTHONPATH": found_from, FOLDER_VARIABLE: self.stage.folder, OWNER_VARIABLE: "1"}

    def _failed(self, problem: str) -> WorkerFailed:
        tail = self.log_tail()
        return WorkerFailed(
            problem=f"the demo's Celery worker {problem}",
            remedy=f"The end of its log, {self.log_path}:\n{tail}" if tail else f"It wrote nothing to {self.log_path}",
        )


def forget_foreign_broker() -> None:
    """Make this process use the broker of the demo, whatever the environment says of Celery's."""
    for name in _CELERY_VARIABLES:
        os.environ.pop(name, None)


def end_with_owner(**_: Any) -> None:
    """Start, in a worker of the demo, the thread that ends it when the demo is gone, however that went."""
    if os.environ.get(OWNER_VARIABLE) and os.getpgrp() == os.getpid():
        threading.Thread(target=_wait_for_owner, name="demo-owner", daemon=True).start()


def _wait_for_owner() -> None:
    while os.read(STDIN, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)
