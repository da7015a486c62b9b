"""Becomes a service: `python -I -S container.py SPECIFICATION`, as process 1 of namespaces of its own.

It makes a root folder that holds the machine's programs and what the service may see, enters it, becomes the service's
user and runs the service's command. SPECIFICATION is the JSON text of `tests.compose.images.Specification`.

Only the standard library, and nothing of the project: the process starts in milliseconds, and as root.
"""

import ctypes
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
READ_ONLY, REMOUNT, BIND, RECURSIVE = 1, 32, 4096, 16384  # mount(2)
SET_NO_NEW_PRIVILEGES = 38  # prctl(2)
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def mount(source: str, target: Path, *, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount, or raise what the system says."""
    if LIBC.mount(source.encode(), str(target).encode(), kind.encode(), flags, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), f"mount {source} on {target}: {os.strerror(ctypes.get_errno())}")


def show(source: Path, target: Path, *, read_only: bool) -> None:
    """Let the source be seen at the target too."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    mount(str(source), target, flags=BIND | RECURSIVE)
    if read_only:
        mount("", target, flags=REMOUNT | BIND | READ_ONLY)


def make_root(given: dict[str, Any]) -> None:
    """Make the folder that the service takes for the whole machine, and enter it."""
    root = Path(given["root"])
    mount("tmpfs", root, kind="tmpfs", options="mode=755")
    # First, because the environment's Python may lie below one of them.
    for name in given["tmpfs"]:
        (root / name.lstrip("/")).mkdir(parents=True, exist_ok=True)
        mount("tmpfs", root / name.lstrip("/"), kind="tmpfs", options="mode=1777")
    for name in given["visible"]:
        path = Path(name)
        if path.is_symlink() and path.parent == Path("/"):  # /bin and /lib where /usr holds all
            (root / path.name).symlink_to(path.readlink())
        elif path.is_dir():
            show(path, root / name.lstrip("/"), read_only=name != "/dev")
    (root / "proc").mkdir()
    mount("proc", root / "proc", kind="proc")
    mount("tmpfs", root / "dev/shm", kind="tmpfs")
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for source, target, read_only in given["mounts"]:
        show(Path(source), root / target.lstrip("/"), read_only=read_only)
    if given["read_only"]:
        mount("", root, flags=REMOUNT | BIND | READ_ONLY)
    os.chroot(root)
    os.chdir("/")


def run_command(given: dict[str, Any]) -> None:
    """Give up all rights and become the command; does not return."""
    os.chdir(given["working_folder"])
    os.setgroups([])
    os.setgid(given["group_id"])
    os.setuid(given["user_id"])
    if given["no_new_privileges"]:
        LIBC.prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    os.execvpe(given["arguments"][0], given["arguments"], given["environment"])


def run_under_init(given: dict[str, Any]) -> int:
    """Run the command as a child, pass signals on to it, collect orphans, and return its exit code."""
    child = os.fork()
    if child == 0:
        os.setsid()
        run_command(given)
    for number in FORWARDED:
        signal.signal(number, lambda received, _: os.kill(child, received))
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def main() -> int:
    """Become the service that the command line describes."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    socket.sethostname(given["hostname"])
    make_root(given)
    if given["init"]:
        return run_under_init(given)
    run_command(given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
