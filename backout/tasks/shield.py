"""Defer signals around a ledger transaction.

Celery's soft limit and shutdowns raise from signal handlers at any bytecode. An exception out of COMMIT with the row
committed was reproduced three times of three; taken for a failure it would undo a recorded success. While the shield is
up, a signal is only noted; it is delivered when the shield comes down.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from backout.tasks.handlers import Handler, handler_of, set_handler

_NAMES: Final = ("SIGTERM", "SIGQUIT", "SIGINT", "SIGUSR1", "SIGALRM")
SIGNALS: Final = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
TIME_IS_UP: Final = frozenset(getattr(signal, name) for name in ("SIGUSR1", "SIGALRM") if hasattr(signal, name))
"""Signals that say that an attempt took too long: pointless once its outcome is recorded."""


class _Deferring:
    """A handler that notes a signal while the shield is up, and passes it on otherwise."""

    def __init__(self, original: Handler) -> None:
        self.original = original

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if _depth[0]:
            _noted[number] = self.original
        else:
            self.original(number, frame)


_depth: Final = [0]
_noted: Final[dict[int, Handler]] = {}


@contextmanager
def shield(*, forget: frozenset[int] = frozenset()) -> Iterator[None]:
    """Defer signals inside the block; only the main thread gets Python signal handlers, elsewhere this does nothing.

    Args:
        forget: signals that have lost their meaning when the block ends without an exception.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _wrap_handlers()
    _depth[0] += 1
    try:
        yield
        for number in forget:
            _noted.pop(number, None)
    finally:
        _depth[0] -= 1
        if not _depth[0]:
            _deliver()


def _wrap_handlers() -> None:
    # Looked at each time: Celery and user code install their handlers when they like.
    for number in SIGNALS:
        handler = handler_of(number)
        if callable(handler) and not isinstance(handler, _Deferring):
            set_handler(number, _Deferring(handler))


def _deliver() -> None:
    if not _noted:
        return
    number = next(iter(_noted))
    handler = _noted.pop(number)
    try:
        handler(number, None)
    finally:
        # A handler may raise; the signals that came after its own are delivered all the same.
        _deliver()
