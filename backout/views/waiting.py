"""What of a run waits for a worker, since when, and whether that is longer than it should be. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, assert_never

from backout.events import Event
from backout.ledger.records import StepRecord
from backout.pipelines.contract import StepContract
from backout.states import ACTIVE_RUN_STATES, Direction, StepState
from backout.views.clock import Clock
from backout.views.entries import say_step
from backout.views.marks import Tone
from backout.views.picture import RunPicture
from backout.views.words import clean, say_seconds

LONG_SECONDS: Final = 60.0
"""A worker takes a message within moments; one that nobody took for so long needs somebody to look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A step row that may be claimed, and that no worker has claimed yet.

    Attributes:
        since: aware UTC.
        seconds: from then until the run was read.
    """

    row: StepRecord
    since: datetime
    seconds: float

    @property
    def is_long(self) -> bool:
        """True when it has lasted over a minute."""
        return self.seconds > LONG_SECONDS

    @property
    def tone(self) -> Tone:
        """A warning when it is long."""
        return Tone.WARNING if self.is_long else Tone.ACTIVE


def find_wait(picture: RunPicture, row: StepRecord) -> Wait | None:
    """Return what a row waits for; `None` when it runs, is over, is not due yet, or a person has stopped its run."""
    if picture.run.state not in ACTIVE_RUN_STATES:
        return None
    since = _due_since(picture, row)
    seconds = (picture.now - since).total_seconds() if since is not None else -1.0
    return Wait(row=row, since=since, seconds=seconds) if since is not None and seconds >= 0 else None


def find_waits(picture: RunPicture) -> list[Wait]:
    """Return all that waits for a worker, in the order of the rows."""
    return [wait for row in picture.steps if (wait := find_wait(picture, row)) is not None]


def say_wait(picture: RunPicture, wait: Wait, clock: Clock) -> str:
    """Return a sentence: since when it waits, and after a minute what to look at."""
    row = wait.row
    at = clock.say_time(wait.since, day_of=picture.run.created_at)
    told = f"{say_step(row.step, row.direction)} waits for a worker since {at}, {clock.say_age(wait.since)}"
    if not wait.is_long:
        return f"{told}."
    return f"{told}: no worker has taken it within {say_seconds(LONG_SECONDS)}. {_say_remedy(picture, row)}"


def _due_since(picture: RunPicture, row: StepRecord) -> datetime | None:
    if row.state is StepState.RETRY_SCHEDULED:
        return row.next_retry_at
    if row.state is not StepState.READY or row.dispatched_at is None:
        return None
    # Sent again, it has waited longer than its last message.
    entries = [entry.at for entry in picture.entries_of(row) if entry.event is not Event.MESSAGE_RESENT]
    return entries[-1] if entries else row.dispatched_at


def _say_remedy(picture: RunPicture, row: StepRecord) -> str:
    queue = _find_options(picture.contract_of(row), row.direction).get("queue")
    where = f" that takes messages from the queue {clean(queue)}" if queue else ""
    return f"Look whether a worker is running{where}, and what else it has to do for so long."


def _find_options(contract: StepContract | None, direction: Direction) -> Mapping[str, object]:
    """Return with which of Celery's options a message is sent."""
    if contract is None:
        return {}
    match direction:
        case Direction.FORWARD:
            return contract.options
        case Direction.COMPENSATION:
            return contract.compensation.options if contract.compensation else {}
        case Direction.RECONCILE:
            return contract.reconcile.options if contract.reconcile else {}
        case Direction.VERIFY:
            return contract.verify.options if contract.verify else {}
        case _ as never:
            assert_never(never)
