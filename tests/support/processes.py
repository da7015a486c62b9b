"""What the operating system says about processes."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.waiting import wait_until

GONE_TIMEOUT_SECONDS = 15.0


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and was not yet collected by its parent does not."""
    if sys.platform == "linux":
        # In a container the parent of orphans may be a program that never collects them.
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state not in ("Z", "X")
    else:  # Not after the branch, where mypy takes it for unreachable.
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True


def wait_until_gone(pid: int, what: str) -> None:
    """Wait for the end of a process."""
    wait_until(lambda: not is_running(pid), GONE_TIMEOUT_SECONDS, f"{what} ({pid}) has ended")


def find_children(parent: int) -> dict[int, str]:
    """Return the processes that a process has started: id to command line."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,command="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    return {int(row[0]): row[-1] for row in rows if int(row[1]) == parent}
