"""End an attempt whose time is up, as far as the pool can.

Celery's own soft limit works on prefork only. The main thread of a process (prefork, solo) can be interrupted by a
timer signal; a greenlet by gevent. A thread of a thread pool cannot be interrupted: there the claim is not held beyond
the deadline, the ledger treats the attempt as lost, and a late answer becomes an entry.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import Final

from backout.tasks.handlers import set_handler

AGAIN_SECONDS: Final = 5.0
"""Between one interruption and the next, for a function that has swallowed the first: time to clean up."""


def time_limit(seconds: float, error: Callable[[], Exception]) -> AbstractContextManager[None]:
    """Raise `error()` inside the block when it lasts longer than `seconds`, if this pool can do that."""
    if _runs_in_gevent():
        return _gevent_limit(seconds, error)
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        return _timer_limit(seconds, error)
    return nullcontext()


def _runs_in_gevent() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


@contextmanager
def _gevent_limit(seconds: float, error: Callable[[], Exception]) -> Iterator[None]:
    gevent = sys.modules["gevent"]
    with gevent.Timeout(seconds, error()):
        yield


@contextmanager
def _timer_limit(seconds: float, error: Callable[[], Exception]) -> Iterator[None]:
    def time_is_up(_number: int, _frame: FrameType | None) -> None:
        raise error()

    if signal.getitimer(signal.ITIMER_REAL)[0]:
        # User code around us uses the only timer of the process; the ledger's deadline holds all the same.
        yield
        return
    previous = set_handler(signal.SIGALRM, time_is_up)
    # Again and again: code that catches every exception and tries once more must not outlive its time.
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        set_handler(signal.SIGALRM, previous)
