"""Questions that may hang: a network that swallows packets lets a driver wait for minutes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class NoAnswer(Exception):
    """The time given was up; the question goes on in its thread, which ends with this process."""

    def __init__(self, *, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:g} s")


class _Question(Generic[T]):
    """One question in a thread of its own."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._answers: list[T] = []
        self._error: BaseException | None = None
        # A daemon: a command that has shown what it found must not wait for what does not answer.
        self._thread = threading.Thread(target=self._run, name="backout-doctor", daemon=True)

    def _run(self) -> None:
        try:
            self._answers.append(self._ask())
        except BaseException as error:
            self._error = error

    def wait(self, seconds: float) -> T:
        self._thread.start()
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise NoAnswer(seconds=seconds)
        if self._error is not None:
            raise self._error
        return self._answers[0]


def ask_within(seconds: float, ask: Callable[[], T]) -> T:
    """Return the answer to a question; its error is raised here.

    Raises:
        NoAnswer: there is none within `seconds`.
    """
    return _Question(ask).wait(seconds)
