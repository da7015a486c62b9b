"""What a worker's main process tells its children while they run: a page of memory that they share since the fork.

Celery tells a pool's children nothing while they work: not that the worker is stopping, nor that somebody has limited
the rate of a task. Where one message is one task they need not know. In a burst they must.
"""

from __future__ import annotations

import mmap
import os
import zlib
from typing import Final

_SIZE: Final = 4096
_IS_OPEN: Final = 0
_IS_STOPPING: Final = 1
_HAS_SOFT_LIMIT: Final = 2
_SENDS_EVENTS: Final = 3
_FIRST_TASK: Final = 4
_YES: Final = 1


class Noticeboard:
    """Written by the worker's main process, read by whoever runs tasks for it.

    Attributes:
        owner_id: the process id of the main process; 0 before it has opened the board.
    """

    def __init__(self) -> None:
        # Anonymous and shared: a forked child sees what its parent writes later. A spawned one has a board of its own,
        # that nobody opens.
        self._page: Final = mmap.mmap(-1, _SIZE)
        self.owner_id = 0

    def open(self, *, has_soft_limit: bool) -> None:
        """Begin anew, in the main process of a worker and before its pool is made.

        Args:
            has_soft_limit: whether the worker has a soft time limit for all its tasks.
        """
        self._page[:] = bytes(_SIZE)
        self._page[_HAS_SOFT_LIMIT] = has_soft_limit
        self._page[_IS_OPEN] = _YES
        self.owner_id = os.getpid()

    def close(self) -> None:
        """Let nobody rely on the board any more: the worker is gone."""
        self._page[_IS_OPEN] = 0

    def say_stopping(self) -> None:
        """Say that the worker shall stop. May be called from a signal handler."""
        self._page[_IS_STOPPING] = _YES

    def say_limited(self, task: str, *, is_limited: bool) -> None:
        """Say that somebody has given a task a rate limit, or taken it away."""
        self._page[_place(task)] = is_limited

    def say_events(self, *, are_sent: bool) -> None:
        """Say whether the worker sends events of tasks: monitors turn them on and off."""
        self._page[_SENDS_EVENTS] = are_sent

    @property
    def sends_events(self) -> bool:
        """Whether the worker sends events of tasks."""
        return bool(self._page[_SENDS_EVENTS])

    @property
    def is_open(self) -> bool:
        """Whether a worker keeps this board, and is not stopping."""
        return self._page[_IS_OPEN] == _YES and self._page[_IS_STOPPING] != _YES

    @property
    def has_soft_limit(self) -> bool:
        """Whether the worker has a soft time limit for all its tasks."""
        return bool(self._page[_HAS_SOFT_LIMIT])

    @property
    def is_read_by_child(self) -> bool:
        """Whether this process is a child of the worker's main process, which does nothing but run its tasks."""
        return self.owner_id not in (0, os.getpid())

    def is_limited(self, task: str) -> bool:
        """Return whether somebody has given a task a rate limit while the worker ran.

        Two tasks may share a place on the page: then both count as limited, which costs time and nothing else.
        """
        return bool(self._page[_place(task)])


def _place(task: str) -> int:
    return _FIRST_TASK + zlib.crc32(task.encode()) % (_SIZE - _FIRST_TASK)


board: Final = Noticeboard()
"""The board of the worker that this process is, or was forked from."""
