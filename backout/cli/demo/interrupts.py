"""Ctrl-C that is neither lost nor comes at the wrong moment.

Python drops a KeyboardInterrupt that happens to be raised inside a callback of its garbage collector, with no more than
a line on standard error; then the demo would go on as if nobody had pressed anything.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupts:
    """Raises KeyboardInterrupt as ever, and remembers that it did; the earlier handler is back after the block."""

    def __init__(self) -> None:
        self._is_pressed = False
        self._is_held = False
        self._earlier: Any = None

    def __enter__(self) -> Self:
        self._earlier = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._earlier)

    def raise_missed(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed and the program has gone on."""
        if self._is_pressed:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let Ctrl-C wait until the block ends, where stopping half-way would leave a process that nobody knows."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        self.raise_missed()

    def _press(self, _number: int, _frame: FrameType | None) -> None:
        self._is_pressed = True
        if not self._is_held:
            raise KeyboardInterrupt
