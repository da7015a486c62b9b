"""Tell whether the process that holds a claim still lives, where that can be known for certain.

A claim without a heartbeat may belong to a worker that is only cut off. But of a process on the same machine the kernel
knows: if it is gone, its attempt is over, and nobody needs to wait for its deadline.
"""

from __future__ import annotations

import os
import socket
from functools import lru_cache
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_FIELDS_BEFORE_START: Final = 19
"""Fields of `/proc/<pid>/stat` between the name in parentheses and the start time (proc(5), fields 3 to 21)."""


def this_process() -> str | None:
    """Return a name for this process that no other one has or will have; `None` where the system cannot tell."""
    return _name(os.getpid())


def is_gone(name: str | None) -> bool:
    """Return whether the process of this name is certainly gone.

    False when it lives, and also when nobody here can tell: it ran on another machine, in another container, or before
    this machine was started.
    """
    scope = _scope()
    if name is None or scope is None or not name.startswith(f"{scope}/"):
        return False
    pid, _, started = name.removeprefix(f"{scope}/").partition("/")
    try:
        # Not `/proc/<pid>`: mounted with hidepid it shows other users' processes as missing.
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    found = _state_and_start(int(pid))
    # A zombie runs no code; another start time means that the number was given to another process.
    return found is not None and (found[0] in "ZX" or found[1] != started)


@lru_cache(maxsize=1)
def _name(pid: int) -> str | None:
    scope, found = _scope(), _state_and_start(pid)
    return f"{scope}/{pid}/{found[1]}" if scope is not None and found is not None else None


@lru_cache(maxsize=1)
def _scope() -> str | None:
    """Return a name for the numbering of processes that this one is in: machine, boot and process namespace."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()}/{boot}/{(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return None


def _state_and_start(pid: int) -> tuple[str, str] | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name in parentheses may itself have spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    return fields[0], fields[_FIELDS_BEFORE_START]
