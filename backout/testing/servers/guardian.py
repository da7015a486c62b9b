"""The small process that stands between a server and the process that wants it, so that no server outlives its owner.

It is started with `python -I -S guardian.py OWNER_PID FOLDER` and talks JSON lines: requests on its standard input, one
answer each on its standard output. When its owner ends, however it ends (`kill -9` included), the guardian stops the
server, removes the folder, and ends too.

Why a process, when Linux has PR_SET_PDEATHSIG: that signal belongs to the thread that started the server and not to the
process, other systems lack it, and it removes no folder. Here it is the second line, should the guardian itself be
killed.

Requests, and the answers to them:

    {"do": "start", "command": ["valkey-server", "…"], "environment": {}, "log": "/…/server.log", "final_signal": 15,
     "account": {"user_id": 65534, "group_id": 65534} or null for the owner's}
                                            {"pid": 4711}, or {"error": "why it could not be started"}
    {"do": "signal", "number": 15, "timeout_seconds": 10}
                                            {"exit_code": 0}: sent, and the server ended (killed after the timeout)
    {"do": "status"}                        {"pid": 4711} while it runs, {"exit_code": 0} after it ended, {} before

Only the standard library, and nothing of backout: it must start in milliseconds and run under any environment.
"""

import contextlib
import ctypes
import glob
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from typing import Any

OWNER_CHECK_SECONDS = 0.2
LAST_STOP_SECONDS = 5.0
SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


class Guardian:
    """Runs at most one server at a time, for one owner, in one folder."""

    def __init__(self, *, owner_id: int, folder: str) -> None:
        self.owner_id = owner_id
        self.folder = folder
        self.server: subprocess.Popen[bytes] | None = None
        self.final_signal = signal.SIGTERM
        self.unread = b""

    def run(self) -> None:
        """Answer requests until the owner is gone, then leave nothing behind."""
        try:
            while (request := self.next_request()) is not None:
                answer = json.dumps(self.answer(request)) + "\n"
                os.write(sys.stdout.fileno(), answer.encode())
        except BrokenPipeError:
            pass  # The owner ended between its request and our answer.
        finally:
            self.end_server(self.final_signal, LAST_STOP_SECONDS)
            shutil.rmtree(self.folder, ignore_errors=True)

    def next_request(self) -> dict[str, Any] | None:
        """Return the owner's next request, or None once the owner has ended or closed the pipe."""
        while b"\n" not in self.unread:
            # The end of the pipe alone is not enough: a child that the owner forked may still hold it open.
            if os.getppid() != self.owner_id:
                return None
            if not select.select([sys.stdin], [], [], OWNER_CHECK_SECONDS)[0]:
                self.reap()
                continue
            received = os.read(sys.stdin.fileno(), 65536)
            if not received:
                return None
            self.unread += received
        line, _, self.unread = self.unread.partition(b"\n")
        request: dict[str, Any] = json.loads(line)
        return request

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what the request asks and return the answer."""
        if request["do"] == "start":
            return self.start(request)
        if request["do"] == "signal":
            return self.end_server(request["number"], request["timeout_seconds"])
        return self.status()

    def start(self, request: dict[str, Any]) -> dict[str, Any]:
        """Start the server; it is up when it answers its clients, which the owner finds out."""
        self.final_signal = request["final_signal"]
        try:
            with open(request["log"], "ab") as log:
                self.server = subprocess.Popen(
                    request["command"],
                    cwd=self.folder,
                    env=request["environment"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # A group of its own: Ctrl-C at the owner's terminal is the owner's, who stops its servers in order.
                    start_new_session=True,
                    preexec_fn=self.die_with_guardian,  # noqa: PLW1509 - no threads here
                    **user_options(request["account"]),
                )
        except (OSError, KeyError, subprocess.SubprocessError) as error:
            return {"error": f"{type(error).__name__}: {error}"}
        return {"pid": self.server.pid}

    def die_with_guardian(self) -> None:
        """Ask Linux, in the new process, to end it when the guardian dies.

        Runs after the change of user, which would clear the request. Safe as a `preexec_fn` because the guardian has
        one thread only, and that thread lives as long as the guardian.
        """
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, self.final_signal)

    def end_server(self, number: int, timeout_seconds: float) -> dict[str, Any]:
        """Send the signal and wait; kill after the timeout. Does nothing to a server that has ended."""
        if self.server is not None and self.server.poll() is None:
            try:
                if number == signal.SIGKILL:
                    kill_with_children(self.server)
                self.server.send_signal(number)
                self.server.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                kill_with_children(self.server)
        return self.status()

    def status(self) -> dict[str, Any]:
        """Tell whether the server runs."""
        if self.server is None:
            return {}
        exit_code = self.server.poll()
        return {"pid": self.server.pid} if exit_code is None else {"exit_code": exit_code}

    def reap(self) -> None:
        """Collect a server that ended by itself, so that its process id does not stay visible as a zombie."""
        if self.server is not None:
            self.server.poll()


def kill_with_children(server: subprocess.Popen[bytes]) -> None:
    """End the server and its children with SIGKILL.

    A busy backend of PostgreSQL would live on until its query is done, and a new server would refuse to start.
    """
    # Stopped first, so that it starts no more children and does not tidy up after those that end.
    server.send_signal(signal.SIGSTOP)
    for process_id in children_of(server.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)
    server.kill()
    server.wait()


def children_of(process_id: int) -> list[int]:
    """Return the ids of the direct children of a process."""
    if sys.platform == "linux":
        # Not with ps, which small images do not have. The fields after the name, which ends with the last parenthesis,
        # are state and parent (proc(5)).
        pairs = []
        for path in glob.glob("/proc/[0-9]*/stat"):
            with contextlib.suppress(OSError), open(path, encoding="ascii", errors="replace") as stat:
                name, _, fields = stat.read().rpartition(")")
                pairs.append((name.split()[0], fields.split()[1]))
    else:
        listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
        pairs = [(line.split()[0], line.split()[1]) for line in listing.splitlines()]
    return [int(child) for child, parent in pairs if int(parent) == process_id]


def user_options(account: dict[str, int] | None) -> dict[str, Any]:
    """Return the options that start a process under another account; none for one's own."""
    if account is None:
        return {}
    return {"user": account["user_id"], "group": account["group_id"], "extra_groups": []}


def main() -> None:
    """Serve the owner named on the command line."""
    # Signals meant for the owner (a whole group or terminal session told to end) must not end the guardian before it.
    # A handler that does nothing, because SIG_IGN would be inherited by the server.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    Guardian(owner_id=int(sys.argv[1]), folder=sys.argv[2]).run()


if __name__ == "__main__":
    main()
