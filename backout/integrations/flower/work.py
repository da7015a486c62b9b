"""Work for the ledger, away from Flower's loop: it also takes in Celery's events, and nothing may hold it up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from backout.errors import ConfigurationError
from backout.ledger.session import LEDGER_ERRORS

Result = TypeVar("Result")

READ_SECONDS: Final = 10.0
ACT_SECONDS: Final = 40.0
"""A broker that does not answer is given up after 20 seconds; the ledger has its own time before that."""
THREADS: Final = 4
MOST_THREADS: Final = 20


class LedgerAway(Exception):
    """The ledger cannot be used now; whether something was done is not known where it was about to be."""


class Threads:
    """Threads that end with the process, whatever they are waiting for.

    Not an executor: at the end of the process Python waits for an executor's threads before Flower saves what it has
    seen (`--persistent`), and a database that does not answer would keep it from doing so.
    """

    def __init__(self) -> None:
        self._waiting: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._count = 0

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Let a thread do it as soon as one is free."""
        if self._count < THREADS:
            self.add()
        future: Future[Result] = Future()
        self._waiting.put((future, work))
        return future

    def add(self) -> None:
        """Start another thread, for one that does not come back; there is an end to that."""
        if self._count < MOST_THREADS:
            self._count += 1
            threading.Thread(target=self._run, name=f"backout-{self._count}", daemon=True).start()

    def _run(self) -> None:
        while True:
            future, work = self._waiting.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)


_threads: Final = Threads()


async def do(work: Callable[..., Result], *given: Any, within_seconds: float) -> Result:
    """Do something in a thread and return what it returns.

    Args:
        work: is called with all that follows, and may block.
        given: by position.
        within_seconds: how long to wait; what was begun is not stopped.

    Raises:
        LedgerAway: the database is not there or does not answer in time, or its schema is not the one of this release.
    """
    future = _threads.submit(lambda: work(*given))
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), within_seconds)
    except TimeoutError as error:
        if not future.cancelled():
            _threads.add()
        raise LedgerAway(f"The database of the runs did not answer within {within_seconds:g} seconds.") from error
    except ConfigurationError as error:
        raise LedgerAway(str(error)) from error
    except LEDGER_ERRORS as error:
        raise LedgerAway("The database of the runs cannot be used just now.") from error
