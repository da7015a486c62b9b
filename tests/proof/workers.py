"""Workers that somebody looks after, as in production: what ends is started again. And the ways to kill them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.support.worker import Worker


class Supervised:
    """Some workers on one app; `look_after` starts those again that have ended.

    Args:
        app: the Celery app's import name.
        options: of each worker.
        environment: of each worker.
        folder: for their logs.
        count: how many.
    """

    def __init__(self, app: str, *options: str, environment: Mapping[str, str], folder: Path, count: int) -> None:
        self._app = app
        self._options = options
        self._environment = environment
        self._folder = folder
        self._started = 0
        self.ended = 0
        self.workers = [self._start() for _ in range(count)]

    def look_after(self) -> None:
        """Start again what has ended, its children and sweeper too, if any are left."""
        for place, worker in enumerate(self.workers):
            if worker.has_ended:
                self.ended += 1
                worker.kill()
                self.workers[place] = self._start()

    def wait_until_ready(self) -> None:
        """Wait until all take messages."""
        for worker in self.workers:
            worker.wait_until_ready()

    def close(self) -> None:
        """Kill all."""
        for worker in self.workers:
            worker.kill()

    def log(self) -> str:
        """Return the last lines of all logs."""
        return "\n".join(
            path.read_text(errors="replace")[-3_000:] for path in sorted(self._folder.glob("worker-*.log"))
        )

    def _start(self) -> Worker:
        self._started += 1
        log = self._folder / f"worker-{self._started}.log"
        # Names that differ, as on machines that differ: entries tell which one it was.
        name = ("-n", f"w{self._started}@proof")
        return Worker(self._app, *name, *self._options, environment=self._environment, log=log)


def children_of(pid: int) -> dict[int, str]:
    """Return the child processes of a process with their commands."""
    listed = subprocess.run(["ps", "-axo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = (line.split(maxsplit=2) for line in listed.splitlines())
    return {int(row[0]): row[2] for row in rows if len(row) == 3 and int(row[1]) == pid}


def kill_child(worker: Worker, chance: random.Random) -> bool:
    """End one process of the pool with SIGKILL; False when it has none."""
    return _kill_one([pid for pid, args in children_of(worker.process.pid).items() if "sweep" not in args], chance)


def kill_sweeper(worker: Worker, chance: random.Random) -> bool:
    """End the worker's sweeper with SIGKILL; False when it has none."""
    return _kill_one([pid for pid, args in children_of(worker.process.pid).items() if "sweep" in args], chance)


def _kill_one(pids: list[int], chance: random.Random) -> bool:
    if not pids:
        return False
    with suppress(ProcessLookupError):
        os.kill(chance.choice(pids), signal.SIGKILL)
    return True
