"""Named points in the path of an attempt at which a test can make something go wrong.

Nothing happens at a point unless a test has armed it: `reach` is then one look into an empty dictionary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Final


class FaultPoint(StrEnum):
    """The points, in the order in which an attempt passes them."""

    BEFORE_CLAIM = "before_claim"
    AFTER_CLAIM = "after_claim"
    AFTER_CALL = "after_call"
    """The function has returned, so its effect exists; nothing is recorded yet."""
    BEFORE_COMMIT = "before_commit"
    AFTER_COMMIT = "after_commit"
    AFTER_SEND = "after_send"
    """The next message is out; this one is not acknowledged yet."""
    ENQUEUE_COMMITTED = "enqueue_committed"
    """A run is recorded and its first message is not sent yet."""
    SWEEP_COMMITTED = "sweep_committed"
    """The sweeper has marked rows as sent again and has not sent them yet."""


class SimulatedDeath(BaseException):
    """Stands for the death of the process at a point or in a function: nothing of the engine acts on it.

    A test raises it where a real process would end; what was recorded until then is all that a dead one leaves.
    """


_armed: Final[dict[FaultPoint, Callable[[], None]]] = {}


def reach(point: FaultPoint) -> None:
    """Run what a test has armed at this point; do nothing otherwise."""
    if _armed and (action := _armed.get(point)) is not None:
        action()


def arm(point: FaultPoint, action: Callable[[], None]) -> None:
    """Run `action` each time this process reaches the point, until `disarm_all`."""
    _armed[point] = action


@contextmanager
def armed(actions: Mapping[FaultPoint, Callable[[], None]]) -> Iterator[None]:
    """Arm points inside the block; what was armed before is armed again at the end."""
    before = dict(_armed)
    _armed.update(actions)
    try:
        yield
    finally:
        _armed.clear()
        _armed.update(before)


def disarm_all() -> None:
    """Make every point harmless again."""
    _armed.clear()
