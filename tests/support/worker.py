"""A real Celery worker of a test: started in a session of its own, killed, stopped, and its log read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.support.apps import names
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
START_SECONDS = 30.0
STOP_SECONDS = 30.0
LOG_LINES = 60
OPTIONS = ("--without-mingle", "--without-gossip")
"""Talk between workers that only makes them start later."""


class Worker:
    """A worker and its pool and sweeper, which are one process group."""

    def __init__(self, app: str, *options: str, environment: Mapping[str, str], log: Path) -> None:
        self.log_path = log
        self._ready = log.with_suffix(".ready")
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", app, "worker", "--loglevel", "INFO", *OPTIONS, *options],
                env={**os.environ, **environment, names.READY: str(self._ready)},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Wait until it takes messages; fail with its log if it ends instead."""
        try:
            wait_until(lambda: self._ready.exists() or self.has_ended, START_SECONDS, "the worker is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from None
        assert not self.has_ended, f"the worker ended with {self.process.returncode}\n{self.log}"

    @property
    def has_ended(self) -> bool:
        """Whether the main process has ended."""
        return self.process.poll() is not None

    @property
    def log(self) -> str:
        """The last lines of what it and its sweeper wrote."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_LINES:])

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the main process: SIGTERM for a warm shutdown, SIGQUIT for a cold one."""
        self.process.send_signal(number)

    def wait_until_ended(self) -> int:
        """Wait for the end of the main process and return its exit code."""
        wait_until(lambda: self.has_ended, STOP_SECONDS, f"the worker ends\n{self.log}")
        return self.process.returncode

    def kill(self) -> None:
        """End all its processes with SIGKILL, as a crash of the machine would."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)
