"""Work that several threads do at the same instant."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

TIMEOUT_SECONDS = 60.0


def run_together(works: Sequence[Callable[[], T]]) -> list[T]:
    """Start all works at one barrier, each in its own thread; return their results in order, or raise an error."""
    barrier = threading.Barrier(len(works))

    def wait_and_run(work: Callable[[], T]) -> T:
        barrier.wait(TIMEOUT_SECONDS)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        futures = [pool.submit(wait_and_run, work) for work in works]
        return [future.result(TIMEOUT_SECONDS) for future in futures]


class Beside:
    """One thread beside the test's own: `with Beside() as beside: future = beside.start(work)`."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True)

    def start(self, work: Callable[[], T]) -> Future[T]:
        """Let the thread do the work; the result comes from the future."""
        return self._pool.submit(work)
