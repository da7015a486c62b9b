"""Whether a worker goes on with the next step at once, or sends a message for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from backout.pipelines.message import KILL_GRACE_SECONDS, StepMessage

ROUTING_OPTIONS: Final = frozenset({"queue", "exchange", "routing_key", "priority"})
"""Options of sending that say where and when a message is delivered, and may be the same for two steps."""

LEAST_GRACE_SECONDS: Final = KILL_GRACE_SECONDS / 2
"""Celery's hard limit is the message's: a later step of the burst keeps at least this time between its own timeout and
the moment at which Celery kills the process. In it the function is interrupted three times, and its end recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """What a burst has used, and what the next step may need.

    Attributes:
        burst_seconds: how long a burst may be.
        used_seconds: since the worker took up the message.
        usual_seconds: what the next step has taken here the last time; 0 for one that is new.
        limit_seconds: from the start of the burst until Celery kills the process; `None`: it does not.
        timeout_seconds: of the next step.
    """

    burst_seconds: float
    used_seconds: float
    usual_seconds: float
    limit_seconds: float | None
    timeout_seconds: float

    @property
    def is_enough(self) -> bool:
        """True when the next step may be run in this burst."""
        if self.used_seconds + self.usual_seconds >= self.burst_seconds:
            return False
        if self.limit_seconds is None:
            return True
        return self.limit_seconds - self.used_seconds >= self.timeout_seconds + LEAST_GRACE_SECONDS


def is_plain(message: StepMessage) -> bool:
    """Return whether a message asks nothing of Celery but routing: no delay, no expiry, no headers, no links."""
    return message.countdown_seconds is None and ROUTING_OPTIONS.issuperset(message.options)


def has_same_options(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two steps ask for the same queue and the same priority."""
    return all(one.get(name) == other.get(name) for name in ROUTING_OPTIONS)
