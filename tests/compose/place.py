"""The place where the services run: namespaces of their own, in which their names are known and nobody else is."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tests.compose.failure import CheckFailed

PROGRAMS: Final = ("unshare", "nsenter", "mount", "setpriv")
GET_FLAGS, SET_FLAGS, IS_UP = 0x8913, 0x8914, 0x1  # ioctls and flag of netdevice(7)
END_TIMEOUT_SECONDS: Final = 150.0
"""Longer than the longest grace period of a service."""


def find_obstacle() -> str | None:
    """Return why the check cannot run here; `None` if it can."""
    if sys.platform != "linux":
        return "running the compose file as processes needs Linux, for its namespaces"
    if os.geteuid() != 0:
        return "running the compose file as processes needs root, for namespaces and mounts: sudo make compose-check"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"not on the PATH: {', '.join(missing)} (Debian, Ubuntu: apt install util-linux mount)"
    tried = subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True, check=False)
    if tried.returncode != 0:
        return f"this system lets nobody make namespaces: {tried.stderr.decode().strip()}"
    return None


def run_apart(module: str, words: Sequence[str]) -> int:
    """Run a module in namespaces of its own and return its exit code; whatever ends us ends all that is in there.

    The module finds a pipe as its standard input, which closes when we end, and calls `end_with_owner`.
    """
    process = subprocess.Popen(
        [
            *("unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL"),
            *(sys.executable, "-m", module, *words),
        ],
        stdin=subprocess.PIPE,
        # Not in the terminal's foreground: Ctrl-C comes to us alone, and from us through the pipe.
        start_new_session=True,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return process.wait()
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(END_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def end_with_owner() -> None:
    """Raise `KeyboardInterrupt` in the main thread when the standard input closes, or at SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def wait_for_end() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait_for_end, daemon=True).start()


def furnish(names: Iterable[str], *, folder: Path) -> None:
    """Give each name an address of its own, and let the loopback device carry them.

    Not 127.0.0.1 for all: what listens there alone is not seen by the other services of a real network either.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = fcntl.ioctl(control, GET_FLAGS, struct.pack("16sh14x", b"lo", 0))
        (flags,) = struct.unpack("16xh14x", request)
        fcntl.ioctl(control, SET_FLAGS, struct.pack("16sh14x", b"lo", flags | IS_UP))
    hosts = folder / "hosts"
    lines = [f"127.0.8.{number} {name}" for number, name in enumerate(names, start=1)]
    hosts.write_text("\n".join(["127.0.0.1 localhost", *lines]) + "\n")
    mounted = subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], capture_output=True, check=False)
    if mounted.returncode != 0:
        raise CheckFailed(f"/etc/hosts cannot be replaced: {mounted.stderr.decode().strip()}")
