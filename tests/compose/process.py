"""One start of a service: a process tree in namespaces of its own, as a container is one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

from backout.testing.servers.guardian import children_of
from tests.compose import container
from tests.compose.failure import CheckFailed

NAMESPACES: Final = {"--mount": "mnt", "--uts": "uts", "--ipc": "ipc", "--pid": "pid"}
"""The options of unshare and nsenter, and the files in /proc."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Specification:
    """What `container` is told."""

    root: str
    """An empty folder on which the service's own root is mounted."""
    visible: list[str]
    """Folders of the machine that are seen at their own place."""
    mounts: list[tuple[str, str, bool]]
    """Source, target, and whether it is for reading only."""
    tmpfs: list[str]
    read_only: bool
    hostname: str
    arguments: list[str]
    environment: dict[str, str]
    working_folder: str
    user_id: int
    group_id: int
    init: bool
    no_new_privileges: bool


def new_hostname() -> str:
    """Return a host name such as Docker gives: nothing may rely on its being the name of the service."""
    return uuid.uuid4().hex[:12]


class ServiceProcess:
    """A running service; ends with everything in it."""

    def __init__(self, specification: Specification, *, log: IO[bytes]) -> None:
        self.specification = specification
        arguments = [sys.executable, "-I", "-S", container.__file__, json.dumps(asdict(specification))]
        self._process = subprocess.Popen(
            ["unshare", *NAMESPACES, "--fork", "--kill-child=SIGKILL", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C is for the check alone, which then stops the services in order.
            start_new_session=True,
        )

    @property
    def exit_code(self) -> int | None:
        """Return the exit code as Docker counts it, 137 after SIGKILL; `None` while the service runs."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to process 1 of the service."""
        for pid in self._first_process():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """End the service at once, as the kernel does when memory runs out."""
        self.send_signal(signal.SIGKILL)
        self._process.kill()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for the end; False when the time is up."""
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def start_inside(self, command: Sequence[str], *, output: int | IO[bytes]) -> subprocess.Popen[bytes]:
        """Start another command in the service, as its user and with its environment."""
        first = next(self._first_process(), None)
        if first is None:
            raise CheckFailed("the service has ended")
        given = self.specification
        user = [f"--reuid={given.user_id}", f"--regid={given.group_id}", "--clear-groups"]
        in_folder = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', given.working_folder, *command]
        return subprocess.Popen(
            [
                shutil.which("nsenter") or "nsenter",
                *(f"{option}=/proc/{first}/ns/{name}" for option, name in NAMESPACES.items()),
                *(f"--root=/proc/{first}/root", f"--wd=/proc/{first}/root"),
                *("/usr/bin/setpriv", *user, "--no-new-privs", *in_folder),
            ],
            env=given.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _first_process(self) -> Iterator[int]:
        # unshare has one child, which is process 1 in there.
        if self._process.poll() is None:
            yield from children_of(self._process.pid)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a command that was started with `start_inside`, and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def make_empty_folder(path: Path) -> Path:
    """Return the folder, made if it is not there."""
    path.mkdir(parents=True, exist_ok=True)
    return path
