"""The sign, the word and the tone of each state; the word alone is enough, colour never is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from backout.states import Direction, RunState, StepState


class Tone(StrEnum):
    """What a piece of text is to its reader; each face has its own colours for that."""

    PLAIN = "plain"
    STRONG = "strong"
    FAINT = "faint"
    ACTION = "action"
    """A named recovery action."""
    ID = "id"
    """What another system calls something."""
    ACTIVE = "active"
    GOOD = "good"
    BACK = "back"
    """On the way back, or to be tried again."""
    KEPT = "kept"
    WARNING = "warning"
    ERROR = "error"
    BAD = "bad"
    """The end of it is an error."""
    DOUBT = "doubt"
    PERSON = "person"
    """It waits for a person."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How a state is shown."""

    sign: str
    word: str
    tone: Tone

    def __str__(self) -> str:
        """Return sign and word."""
        return f"{self.sign} {self.word}"


RUN_MARKS: Final[Mapping[RunState, Mark]] = {
    RunState.PENDING: Mark("○", "pending", Tone.PLAIN),
    RunState.RUNNING: Mark("▶", "running", Tone.ACTIVE),
    RunState.WAITING: Mark("◔", "waiting", Tone.ACTIVE),
    RunState.PAUSED: Mark("‖", "paused", Tone.PERSON),
    RunState.PARKED: Mark("■", "parked", Tone.PERSON),
    RunState.IN_REVIEW: Mark("!", "in review", Tone.PERSON),
    RunState.ROLLING_BACK: Mark("↺", "rolling back", Tone.BACK),
    RunState.SUCCEEDED: Mark("✓", "succeeded", Tone.GOOD),
    RunState.ROLLED_BACK: Mark("↩", "rolled back", Tone.BACK),
    RunState.FAILED: Mark("✗", "failed", Tone.BAD),
    RunState.CANCELLED: Mark("–", "cancelled", Tone.PLAIN),
}

_FORWARD_MARKS: Final[Mapping[StepState, Mark]] = {
    StepState.PENDING: Mark("○", "pending", Tone.PLAIN),
    StepState.READY: Mark("○", "ready", Tone.PLAIN),
    StepState.RUNNING: Mark("▶", "running", Tone.ACTIVE),
    StepState.RETRY_SCHEDULED: Mark("↻", "waits to retry", Tone.BACK),
    StepState.WAITING: Mark("◔", "waiting", Tone.ACTIVE),
    StepState.IN_DOUBT: Mark("?", "in doubt", Tone.PERSON),
    StepState.SUCCEEDED: Mark("✓", "succeeded", Tone.GOOD),
    StepState.FAILED: Mark("✗", "failed", Tone.BAD),
    StepState.SKIPPED: Mark("–", "skipped", Tone.PLAIN),
    StepState.KEPT: Mark("=", "kept", Tone.KEPT),
    StepState.UNDONE: Mark("↩", "undone", Tone.BACK),
}

_COMPENSATION_MARKS: Final[Mapping[StepState, Mark]] = {
    **_FORWARD_MARKS,
    StepState.SUCCEEDED: Mark("✓", "undone", Tone.GOOD),
    StepState.FAILED: Mark("✗", "not undone", Tone.BAD),
    StepState.SKIPPED: Mark("–", "nothing to do", Tone.PLAIN),
}

NOT_STARTED: Final = Mark("·", "not started", Tone.FAINT)
NEVER_STARTED: Final = Mark("·", "never started", Tone.FAINT)


def mark_step(state: StepState, direction: Direction) -> Mark:
    """Return the mark of a step row."""
    return (_FORWARD_MARKS if direction is Direction.FORWARD else _COMPENSATION_MARKS)[state]
