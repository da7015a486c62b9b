"""A command at a terminal of its own, with somebody who reads and types."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
ANSWER_SECONDS = 30.0


class Terminal:
    """A command that believes to talk to a person.

    Args:
        arguments: of `backout`.
    """

    def __init__(self, *arguments: str) -> None:
        ours, theirs = pty.openpty()
        os.set_blocking(ours, False)
        self._file = ours
        self._shown = ""
        environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "backout.cli", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._file)

    @property
    def shown(self) -> str:
        """All that was shown so far, with blanks as one."""
        try:
            while part := os.read(self._file, 65536):
                self._shown += part.decode()
        except (BlockingIOError, OSError):
            pass
        return " ".join(self._shown.split())

    def wait_for(self, text: str) -> None:
        """Wait until something is shown."""
        try:
            wait_until(lambda: text in self.shown, ANSWER_SECONDS, f"{text!r} is shown")
        except AssertionError as failure:
            raise AssertionError(f"{failure}: {self.shown}") from None

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self._file, f"{line}\n".encode())

    def wait_until_ended(self) -> int:
        """Return the exit code."""
        wait_until(lambda: (self.shown or True) and self.process.poll() is not None, ANSWER_SECONDS, "the command ends")
        return int(self.process.returncode)
