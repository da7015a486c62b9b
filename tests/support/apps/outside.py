"""The world outside of the ledger, in one folder: the bank's own books, gates that hold a step, faults to strike.

Both the workers and the tests use it. Nothing here knows the engine: what the books say is what really happened.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_until

HOLD_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A call that reached the bank.

    Attributes:
        what: the step's name; `undo <step>` for its compensation.
        key: the idempotency key that the bank was given.
        is_new: the bank met the key for the first time, so that the call had an effect.
    """

    what: str
    key: str
    attempt: int
    pid: int
    is_new: bool


class Outside:
    """The folder of one test's outside world."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("books", "gates", "faults", "told"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def book(self, run_id: str, *, what: str, key: str, attempt: int) -> None:
        """Have an effect, once for each key, and write a line about the call."""
        with (self.folder / "books" / run_id).open("a+") as book:
            # The bank takes one call after the other; a caller that is killed lets go of the lock.
            fcntl.flock(book, fcntl.LOCK_EX)
            book.seek(0)
            known = {json.loads(text)["key"] for text in book}
            line = Line(what=what, key=key, attempt=attempt, pid=os.getpid(), is_new=key not in known)
            book.write(json.dumps(asdict(line)) + "\n")

    def lines(self, run_id: str) -> list[Line]:
        """Return the calls of a run that reached the bank, in order."""
        path = self.folder / "books" / run_id
        if not path.exists():
            return []
        with path.open() as book:
            fcntl.flock(book, fcntl.LOCK_SH)
            return [Line(**json.loads(text)) for text in book]

    def calls(self, run_id: str) -> list[str]:
        """Return what was called, in order."""
        return [line.what for line in self.lines(run_id)]

    def effects(self, run_id: str) -> list[str]:
        """Return what really happened, in order."""
        return [line.what for line in self.lines(run_id) if line.is_new]

    def tell(self, name: str, facts: Mapping[str, Any]) -> None:
        """Write facts down under a name."""
        (self.folder / "told" / name).write_text(json.dumps(facts))

    def told(self, name: str) -> dict[str, Any]:
        """Return the facts that were written down last under a name."""
        facts: dict[str, Any] = json.loads((self.folder / "told" / name).read_text())
        return facts

    def hold(self, gate: str) -> None:
        """Say that somebody stands at the gate, and stand there until it is opened."""
        (self.folder / "gates" / f"{gate}.reached").touch()
        wait_until((self.folder / "gates" / f"{gate}.open").exists, HOLD_SECONDS, f"gate {gate} is opened")

    def is_reached(self, gate: str) -> bool:
        """Tell whether somebody stands, or stood, at the gate."""
        return (self.folder / "gates" / f"{gate}.reached").exists()

    def open(self, gate: str) -> None:
        """Let everybody through, now and later."""
        (self.folder / "gates" / f"{gate}.open").touch()

    def arm(self, place: str, action: str) -> None:
        """Let a fault strike once at a place: `kill child`, `kill worker` or `hold <gate>`."""
        path = self.folder / "faults" / place
        path.with_suffix(".new").write_text(action)
        path.with_suffix(".new").rename(path)

    def strike(self, place: str) -> None:
        """Do what is armed at a place; it is disarmed first, so that it strikes only once."""
        path = self.folder / "faults" / place
        try:
            path.rename(path.with_suffix(".struck"))
        except FileNotFoundError:
            return
        action, _, argument = path.with_suffix(".struck").read_text().partition(" ")
        actions: dict[str, Callable[[], None]] = {"kill": lambda: kill(argument), "hold": lambda: self.hold(argument)}
        actions[action]()

    def has_struck(self, place: str) -> bool:
        """Tell whether the fault at a place has struck."""
        return (self.folder / "faults" / place).with_suffix(".struck").exists()


def kill(who: str) -> None:
    """End this process, or all processes of its worker, as a crash would: nothing runs after this."""
    if who == "worker":
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()
