"""Python signals for what happens to runs: Celery's own kind, one for each `Lifecycle` name, and `any_event`.

    from backout.signals import run_succeeded

    @run_succeeded.connect(sender="fulfil_order", weak=False)
    def thank(sender, event, **_): ...

`sender` is the pipeline's name, `event` a `LifecycleEvent`. A signal is sent in the process that committed the change,
after the commit and after the next message was sent, at most once: a process may die in between. Whoever must not miss
anything follows the entries (`backout.follow`). What a receiver raises is logged; while it works, the step waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from celery.utils.dispatch import Signal

from backout.events import Lifecycle, LifecycleEvent

__all__ = [
    "any_event",
    "attempt_failed",
    "attempt_lost",
    "attempt_started",
    "attempt_succeeded",
    "review_opened",
    "review_resolved",
    "rollback_attempt_failed",
    "rollback_attempt_lost",
    "rollback_attempt_started",
    "rollback_attempt_succeeded",
    "rollback_failed",
    "rollback_started",
    "rollback_step_failed",
    "rollback_step_started",
    "rollback_step_succeeded",
    "rollback_succeeded",
    "run_cancelled",
    "run_created",
    "run_failed",
    "run_parked",
    "run_paused",
    "run_resumed",
    "run_rolled_back",
    "run_started",
    "run_succeeded",
    "step_failed",
    "step_skipped",
    "step_started",
    "step_succeeded",
]

_PROVIDES: Final = {"event"}

run_created: Final = Signal(name=Lifecycle.RUN_CREATED.value, providing_args=_PROVIDES)
run_started: Final = Signal(name=Lifecycle.RUN_STARTED.value, providing_args=_PROVIDES)
run_succeeded: Final = Signal(name=Lifecycle.RUN_SUCCEEDED.value, providing_args=_PROVIDES)
run_failed: Final = Signal(name=Lifecycle.RUN_FAILED.value, providing_args=_PROVIDES)
run_rolled_back: Final = Signal(name=Lifecycle.RUN_ROLLED_BACK.value, providing_args=_PROVIDES)
run_parked: Final = Signal(name=Lifecycle.RUN_PARKED.value, providing_args=_PROVIDES)
run_paused: Final = Signal(name=Lifecycle.RUN_PAUSED.value, providing_args=_PROVIDES)
run_resumed: Final = Signal(name=Lifecycle.RUN_RESUMED.value, providing_args=_PROVIDES)
run_cancelled: Final = Signal(name=Lifecycle.RUN_CANCELLED.value, providing_args=_PROVIDES)
step_started: Final = Signal(name=Lifecycle.STEP_STARTED.value, providing_args=_PROVIDES)
step_succeeded: Final = Signal(name=Lifecycle.STEP_SUCCEEDED.value, providing_args=_PROVIDES)
step_skipped: Final = Signal(name=Lifecycle.STEP_SKIPPED.value, providing_args=_PROVIDES)
step_failed: Final = Signal(name=Lifecycle.STEP_FAILED.value, providing_args=_PROVIDES)
attempt_started: Final = Signal(name=Lifecycle.ATTEMPT_STARTED.value, providing_args=_PROVIDES)
attempt_succeeded: Final = Signal(name=Lifecycle.ATTEMPT_SUCCEEDED.value, providing_args=_PROVIDES)
attempt_failed: Final = Signal(name=Lifecycle.ATTEMPT_FAILED.value, providing_args=_PROVIDES)
attempt_lost: Final = Signal(name=Lifecycle.ATTEMPT_LOST.value, providing_args=_PROVIDES)
rollback_started: Final = Signal(name=Lifecycle.ROLLBACK_STARTED.value, providing_args=_PROVIDES)
rollback_succeeded: Final = Signal(name=Lifecycle.ROLLBACK_SUCCEEDED.value, providing_args=_PROVIDES)
rollback_failed: Final = Signal(name=Lifecycle.ROLLBACK_FAILED.value, providing_args=_PROVIDES)
rollback_step_started: Final = Signal(name=Lifecycle.ROLLBACK_STEP_STARTED.value, providing_args=_PROVIDES)
rollback_step_succeeded: Final = Signal(name=Lifecycle.ROLLBACK_STEP_SUCCEEDED.value, providing_args=_PROVIDES)
rollback_step_failed: Final = Signal(name=Lifecycle.ROLLBACK_STEP_FAILED.value, providing_args=_PROVIDES)
rollback_attempt_started: Final = Signal(name=Lifecycle.ROLLBACK_ATTEMPT_STARTED.value, providing_args=_PROVIDES)
rollback_attempt_succeeded: Final = Signal(name=Lifecycle.ROLLBACK_ATTEMPT_SUCCEEDED.value, providing_args=_PROVIDES)
rollback_attempt_failed: Final = Signal(name=Lifecycle.ROLLBACK_ATTEMPT_FAILED.value, providing_args=_PROVIDES)
rollback_attempt_lost: Final = Signal(name=Lifecycle.ROLLBACK_ATTEMPT_LOST.value, providing_args=_PROVIDES)
review_opened: Final = Signal(name=Lifecycle.REVIEW_OPENED.value, providing_args=_PROVIDES)
review_resolved: Final = Signal(name=Lifecycle.REVIEW_RESOLVED.value, providing_args=_PROVIDES)
any_event: Final = Signal(name="any_event", providing_args=_PROVIDES)
"""Every one of them, after the receivers of its own name."""

SIGNALS: Final[Mapping[Lifecycle, Signal]] = MappingProxyType({name: globals()[name.value] for name in Lifecycle})
"""Name to signal. A name without a signal does not import."""
_ALL: Final = (*SIGNALS.values(), any_event)


def has_receivers() -> bool:
    """Return whether anybody in this process is connected to any signal."""
    return any(signal.receivers for signal in _ALL)


def send_signals(event: LifecycleEvent) -> None:
    """Call the receivers of an event's name, then those of `any_event`. Celery logs what they raise, and goes on."""
    for signal in (SIGNALS[event.name], any_event):
        signal.send(sender=event.pipeline, event=event)
