"""An example that runs as its README says, in a process of its own; its address is read from what it prints."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import find_children, is_running, wait_until_gone
from tests.support.waiting import wait_until
from tests.support.worker import ROOT

START_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class RunningExample:
    """An example that is ready.

    Attributes:
        url: of its first page, without the slash at the end.
        log: what it and its programs print.
        pid: of the launcher.
    """

    url: str
    log: Path
    pid: int


@contextmanager
def run_example(*command: str, environment: Mapping[str, str], log: Path) -> Iterator[RunningExample]:
    """Keep an example running inside the block; at its end press Ctrl-C, and fail if anything is left."""
    with log.open("wb") as output:
        launcher = subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: launcher.poll() is not None or find_url(log), START_SECONDS, "the example is ready")
        url = find_url(log)
        assert url is not None, log.read_text()
        yield RunningExample(url=url, log=log, pid=launcher.pid)
        programs = [pid for pid in find_children(launcher.pid) if is_running(pid)]
        launcher.send_signal(signal.SIGINT)
        assert launcher.wait(START_SECONDS) == 0, log.read_text()
        for pid in programs:
            wait_until_gone(pid, "a program of the example")
    finally:
        if launcher.poll() is None:
            # SIGTERM lets it stop its programs, which are in sessions of their own.
            launcher.terminate()
            launcher.wait(START_SECONDS)


def find_url(log: Path) -> str | None:
    """Return the first address that the welcome names; `None` before it is printed."""
    text = log.read_text(errors="replace")
    found = re.search(r":\s+(http://127\.0\.0\.1:\d+)/\n", text)
    return found.group(1) if found and "Ctrl-C ends it" in text else None
