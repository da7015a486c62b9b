"""How far another machine's clock is from this one's, as far as an answer can tell. Pure."""

from __future__ import annotations


def difference(there: float, *, asked_at: float, answered_at: float) -> float:
    """Return how many seconds a clock is before this machine's; negative: behind.

    Args:
        there: what the other clock showed, in seconds since 1970.
        asked_at: when it was asked, by this machine's clock.
        answered_at: when the answer was here.

    Returns:
        0.0 when the other clock showed a time between the two: the way there and back explains it.
    """
    if there > answered_at:
        return there - answered_at
    return min(0.0, there - asked_at)
