"""A Flower with the application of one way, on a Unix socket of its own."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from benchmarks.lab import Lab
from benchmarks.processes import ProcessGroup
from benchmarks.ways import Way
from benchmarks.workers import BenchmarkFailed

START_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1


@contextmanager
def start_flower(way: Way, *, lab: Lab, variables: Mapping[str, str]) -> Iterator[ProcessGroup]:
    """Start it, wait until it answers, and stop it at the end of the block."""
    path = lab.folder / f"flower-{way.name.replace(' ', '-')}"
    command = [sys.executable, "-m", "celery", "-A", way.module, "flower", f"--unix_socket={path}"]
    group = ProcessGroup(command, variables=variables, log=lab.folder / f"{path.name}.log")
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(path):
            if group.has_ended or time.monotonic() > deadline:
                raise BenchmarkFailed(f"{way.name}: Flower does not start\n{group.log_tail()}")
            time.sleep(POLL_SECONDS)
        yield group
    finally:
        group.stop()


def _answers(path: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(5.0)
        try:
            client.connect(str(path))
            client.sendall(b"GET /healthcheck HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return b"200" in client.recv(100)
        except OSError:
            return False
