"""The sign, the word and the colour of each state; the word alone is enough, colour never is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from backout.states import Direction, RunState, StepState


@dataclass(frozen=True, slots=True)
class Mark:
    """How a state is shown."""

    sign: str
    word: str
    style: str

    def as_text(self) -> Text:
        """Return sign and word."""
        return Text(f"{self.sign} {self.word}", style=self.style)


RUN_MARKS: Final[Mapping[RunState, Mark]] = {
    RunState.PENDING: Mark("○", "pending", "default"),
    RunState.RUNNING: Mark("▶", "running", "cyan"),
    RunState.WAITING: Mark("◔", "waiting", "cyan"),
    RunState.PAUSED: Mark("‖", "paused", "bold magenta"),
    RunState.PARKED: Mark("■", "parked", "bold magenta"),
    RunState.IN_REVIEW: Mark("!", "in review", "bold magenta"),
    RunState.ROLLING_BACK: Mark("↺", "rolling back", "yellow"),
    RunState.SUCCEEDED: Mark("✓", "succeeded", "green"),
    RunState.ROLLED_BACK: Mark("↩", "rolled back", "yellow"),
    RunState.FAILED: Mark("✗", "failed", "bold red"),
    RunState.CANCELLED: Mark("–", "cancelled", "default"),
}

_FORWARD_MARKS: Final[Mapping[StepState, Mark]] = {
    StepState.PENDING: Mark("○", "pending", "default"),
    StepState.READY: Mark("○", "ready", "default"),
    StepState.RUNNING: Mark("▶", "running", "cyan"),
    StepState.RETRY_SCHEDULED: Mark("↻", "waits to retry", "yellow"),
    StepState.WAITING: Mark("◔", "waiting", "cyan"),
    StepState.IN_DOUBT: Mark("?", "in doubt", "bold magenta"),
    StepState.SUCCEEDED: Mark("✓", "succeeded", "green"),
    StepState.FAILED: Mark("✗", "failed", "bold red"),
    StepState.SKIPPED: Mark("–", "skipped", "default"),
    StepState.KEPT: Mark("=", "kept", "blue"),
    StepState.UNDONE: Mark("↩", "undone", "yellow"),
}

_COMPENSATION_MARKS: Final[Mapping[StepState, Mark]] = {
    **_FORWARD_MARKS,
    StepState.SUCCEEDED: Mark("✓", "undone", "green"),
    StepState.FAILED: Mark("✗", "not undone", "bold red"),
    StepState.SKIPPED: Mark("–", "nothing to do", "default"),
}

NOT_STARTED: Final = Mark("·", "not started", "dim")


def mark_step(state: StepState, direction: Direction) -> Mark:
    """Return the mark of a step row."""
    return (_FORWARD_MARKS if direction is Direction.FORWARD else _COMPENSATION_MARKS)[state]
