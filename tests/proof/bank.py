"""The bank: a process of its own with its own books, the witness of what really happened.

It takes one request after the other, in the order in which they arrive, and books before it answers: what a killed
caller has sent is booked before anybody can ask about it. It knows nothing of the engine.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from tests.support.worker import ROOT

ANSWER_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One effect: something that was done, or taken back.

    Attributes:
        deed: what was done; `undo <deed>` for what took it back.
        key: the idempotency key of the deed itself, also for what takes it back.
    """

    run_id: str
    deed: str
    key: str


class Books:
    """What was done, in order."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._counts: dict[Line, int] = {}

    def answer(self, request: dict[str, Any]) -> Any:
        """Answer one request: `do`, `once` (a key that is known has no second effect), `find` or `books`."""
        if request["verb"] == "books":
            return [asdict(line) for line in self.lines]
        line = Line(run_id=request["run_id"], deed=request["deed"], key=request["key"])
        known = self._counts.get(line, 0)
        if request["verb"] == "find" or (request["verb"] == "once" and known):
            return known
        self.lines.append(line)
        self._counts[line] = known + 1
        return known + 1


def serve(listener: socket.socket) -> None:
    """Take requests until the process ends: one line of JSON each, answered by one line."""
    books = Books()
    while True:
        connection, _ = listener.accept()
        # A caller that was killed in the middle of its request must not stop the bank.
        connection.settimeout(1.0)
        with connection, connection.makefile("rwb") as stream:
            try:
                asked = stream.readline()
                if asked.endswith(b"\n"):
                    stream.write(json.dumps(books.answer(json.loads(asked))).encode() + b"\n")
                    stream.flush()
            except OSError:
                continue


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """The bank as its customers reach it."""

    port: int

    def do(self, run_id: str, deed: str, key: str, *, once: bool) -> int:
        """Have the effect; return how often it has been had."""
        count: int = self._ask(verb="once" if once else "do", run_id=run_id, deed=deed, key=key)
        return count

    def find(self, run_id: str, deed: str, key: str) -> int:
        """Return how often the effect was had."""
        count: int = self._ask(verb="find", run_id=run_id, deed=deed, key=key)
        return count

    def books(self) -> list[Line]:
        """Return all effects, in order."""
        return [Line(**line) for line in self._ask(verb="books")]

    def _ask(self, **request: Any) -> Any:
        with socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_SECONDS) as connection:
            stream = connection.makefile("rwb")
            stream.write(json.dumps(request).encode() + b"\n")
            stream.flush()
            return json.loads(stream.readline())


@contextmanager
def open_bank() -> Iterator[Bank]:
    """Run the bank in a process of its own."""
    process = subprocess.Popen([sys.executable, "-m", __name__], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Bank(port=int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        print(server.getsockname()[1], flush=True)
        serve(server)
