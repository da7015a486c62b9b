"""A server process in a private folder, both gone when the process that started them ends."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from backout.testing.servers import guardian
from backout.testing.servers.programs import ServerUnavailable

POLL_SECONDS = 0.01
CLOSE_TIMEOUT_SECONDS = 15.0
LONGEST_FOLDER = 60
"""Characters. The path of a Unix socket may have about 100 (104 on macOS), file name included."""
LOG_TAIL_LINES = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account of the operating system under which a server runs."""

    user_id: int
    group_id: int


def unprivileged_account() -> Account | None:
    """Return the account for a server that refuses to run as root; None where we are not root.

    Raises `ServerUnavailable` if this machine has no account `nobody`: run as another user then.
    """
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise ServerUnavailable(
            problem="this process runs as root and there is no account named nobody to run the server under",
            remedy="Run as an ordinary user, or create that account.",
        ) from None
    return Account(user_id=nobody.pw_uid, group_id=nobody.pw_gid)


def is_reachable(path: Path, *, account: Account | None) -> bool:
    """Tell whether the account may read and run the file; None stands for our own account."""
    if account is None:
        return os.access(path, os.R_OK | os.X_OK)
    everybody_may_run = path.exists() and path.stat().st_mode & 0o005 == 0o005
    return everybody_may_run and all(folder.stat().st_mode & 0o001 for folder in path.resolve().parents)


def make_private_folder(name: str, *, account: Account | None) -> Path:
    """Create an empty folder with a short path that only the account can enter."""
    candidates = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]
    usable = [
        folder
        for folder in candidates
        if len(str(folder)) <= LONGEST_FOLDER and os.access(folder, os.W_OK) and is_reachable(folder, account=account)
    ]
    if not usable:
        raise ServerUnavailable(
            problem=f"no temporary folder with a short path: tried {', '.join(map(str, candidates))}",
            remedy="Set TMPDIR to a folder with a path of at most 60 characters.",
        )
    folder = Path(tempfile.mkdtemp(prefix=f"backout-{name}-", dir=usable[0]))
    if account is not None:
        os.chown(folder, account.user_id, account.group_id)
    return folder


class GuardedServer:
    """A private folder and the server process in it, both watched by a guardian process (see `guardian`).

    Use it as a context manager, or call `close`. Calls from several threads wait for each other. In a process forked
    from the owner it does nothing: the server stays the owner's.
    """

    def __init__(self, *, name: str, final_signal: signal.Signals, account: Account | None = None) -> None:
        """Create the folder and start the guardian; the server is started by `start`.

        `name` is part of the folder's name, `final_signal` ends the server when the owner is gone, `account` is whom
        the server runs as (None: ourselves).
        """
        self.name = name
        self.account = account
        self.final_signal = final_signal
        self.folder = make_private_folder(name, account=account)
        self.log_path = self.folder / "server.log"
        self._owner_id = os.getpid()
        self._lock = threading.Lock()
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__, str(os.getpid()), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A session of its own, so that whatever is sent to the owner's process group spares the one who cleans up.
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Return the process id of the server; None while it does not run."""
        pid: int | None = self._ask({"do": "status"}).get("pid")
        return pid

    @property
    def guardian_pid(self) -> int:
        """Return the process id of the guardian."""
        return self._guardian.pid

    def start(
        self,
        command: Sequence[str],
        *,
        is_ready: Callable[[], bool],
        timeout_seconds: float,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start the server and wait until it is ready; `environment` is added to the little that every server gets.

        Raises `ServerUnavailable` with the end of the server's log if it ends before that, or takes too long.
        """
        self._launch(command, environment or {})
        deadline = time.monotonic() + timeout_seconds
        while not is_ready():
            if self.pid is None:
                raise self._failure("ended while it was starting")
            if time.monotonic() > deadline:
                raise self._failure(f"was not ready after {timeout_seconds:g} seconds")
            time.sleep(POLL_SECONDS)

    def run_to_end(self, command: Sequence[str], *, timeout_seconds: float) -> None:
        """Run a program that prepares the server, guarded like the server itself.

        Raises `ServerUnavailable` with the end of the log if it fails or takes too long.
        """
        self._launch(command, {})
        deadline = time.monotonic() + timeout_seconds
        while (status := self._ask({"do": "status"})).get("exit_code") is None:
            if time.monotonic() > deadline:
                raise self._failure(f"was not prepared after {timeout_seconds:g} seconds")
            time.sleep(POLL_SECONDS)
        if status["exit_code"] != 0:
            raise self._failure(f"could not be prepared: exit code {status['exit_code']}")

    def end(self, number: signal.Signals, *, timeout_seconds: float) -> None:
        """Send the signal and wait for the server's end; kill it after the timeout. Does nothing if it has ended."""
        self._ask({"do": "signal", "number": int(number), "timeout_seconds": timeout_seconds})

    def close(self) -> None:
        """Stop the server and remove the folder. A second call does nothing."""
        if os.getpid() != self._owner_id or self._guardian.returncode is not None:
            return
        assert self._guardian.stdin is not None
        assert self._guardian.stdout is not None
        self._guardian.stdin.close()
        self._guardian.wait(CLOSE_TIMEOUT_SECONDS)
        self._guardian.stdout.close()
        # The guardian has removed it already, unless it was itself killed.
        shutil.rmtree(self.folder, ignore_errors=True)

    def log_tail(self) -> str:
        """Return the last lines that the server printed."""
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])

    def _launch(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        answer = self._ask(
            {
                "do": "start",
                "command": list(command),
                "environment": {**server_environment(), **environment},
                "account": self.account and asdict(self.account),
                "log": str(self.log_path),
                "final_signal": int(self.final_signal),
            }
        )
        if "error" in answer:
            raise self._failure(f"could not be started: {answer['error']}")

    def _ask(self, request: dict[str, object]) -> dict[str, Any]:
        """Send a request to the guardian and return its answer; an empty one if there is no guardian of ours."""
        if os.getpid() != self._owner_id or self._guardian.stdin is None or self._guardian.stdin.closed:
            return {}
        assert self._guardian.stdout is not None
        with self._lock:
            try:
                self._guardian.stdin.write(json.dumps(request).encode() + b"\n")
                self._guardian.stdin.flush()
            except BrokenPipeError:
                return {}
            answer: dict[str, Any] = json.loads(self._guardian.stdout.readline() or b"{}")
        return answer

    def _failure(self, what_happened: str) -> ServerUnavailable:
        tail = self.log_tail()
        return ServerUnavailable(
            problem=f"the {self.name} server {what_happened}",
            remedy=f"The end of its log:\n{tail}" if tail else "It printed nothing.",
        )


def server_environment() -> dict[str, str]:
    """Return the environment for a server: nothing of ours that could change how it works, but what finds libraries."""
    kept = {name: value for name, value in os.environ.items() if name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")}
    # The locale is set because PostgreSQL on macOS refuses to start without one.
    return {"PATH": os.defpath, "LC_ALL": "C", **kept}
