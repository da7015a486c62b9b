"""The places where a worker is killed, and what must be true after each: shared by the tests of both kinds of kill."""

from __future__ import annotations

from dataclasses import dataclass

from backout import RunHandle, RunState
from backout.events import Event
from backout.faultpoints import FaultPoint
from tests.support.apps import pipelines
from tests.support.apps.pipelines import INSIDE
from tests.support.history import assert_entries_explain, started_after_success
from tests.support.stack import COMPENSATION, FORWARD, Stack

POINTS = (
    FaultPoint.BEFORE_CLAIM.value,
    FaultPoint.AFTER_CLAIM.value,
    INSIDE,
    FaultPoint.AFTER_CALL.value,
    FaultPoint.BEFORE_COMMIT.value,
    FaultPoint.AFTER_COMMIT.value,
    FaultPoint.AFTER_SEND.value,
)
EFFECT_EXISTS = (INSIDE, FaultPoint.AFTER_CALL.value, FaultPoint.BEFORE_COMMIT.value)
"""Killed here, the effect has happened and nothing is recorded of it."""
CLAIM_IS_HELD = (FaultPoint.AFTER_CLAIM.value, *EFFECT_EXISTS)
ORDERED = ["goods", "money", "parcel"]
UNDONE = ["undo parcel", "undo money", "undo goods"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of the matrix: the step in the middle of the way, in one direction, and the point of the kill."""

    is_undo: bool
    point: str

    @property
    def what(self) -> str:
        """The step that is killed, as the bank knows it."""
        return "undo money" if self.is_undo else "money"

    @property
    def place(self) -> str:
        """Where the fault is armed."""
        return f"{self.what} {self.point}"

    def __str__(self) -> str:
        """Name the cell in the report."""
        return f"{self.what.replace(' ', '-')}-{self.point}"


BURSTS = {"backout_burst_seconds": 15}
"""Settings with which all steps of a run after the first are run without messages of their own."""
MESSAGES = {"backout_burst_seconds": 0}
CELLS = [Cell(is_undo=is_undo, point=point) for is_undo in (False, True) for point in POINTS]


def start_cell(stack: Stack, cell: Cell, who: str) -> RunHandle:
    """Start the run of a cell; `who` is killed: the `child`, or the `worker`."""
    script = {"parcel": ["fail"]} if cell.is_undo else {}
    return stack.start(pipelines.ORDER, script, faults={cell.place: f"kill {who}"})


def assert_survived(stack: Stack, cell: Cell, handle: RunHandle, *, is_in_burst: bool = False) -> None:
    """Fail unless the run ended as if nobody had been killed, and the bank has each effect once.

    Args:
        stack: with all its workers.
        cell: what was to happen.
        handle: the run in which it did.
        is_in_burst: the step was claimed with the outcome before it: there is no point before its claim.
    """
    run = stack.settle(handle)
    story = stack.story(handle)
    is_killed = not is_in_burst or cell.point != FaultPoint.BEFORE_CLAIM
    assert stack.world.has_struck(f"{handle.id} {cell.place}") == is_killed, story
    assert run.state is (RunState.ROLLED_BACK if cell.is_undo else RunState.SUCCEEDED), story
    assert stack.world.effects(handle.id) == [*ORDERED, *(UNDONE if cell.is_undo else [])], story
    calls = stack.world.calls(handle.id)
    assert calls.count(cell.what) == (2 if cell.point in EFFECT_EXISTS else 1), story
    if cell.point != FaultPoint.AFTER_SEND:
        # After the send the other child may have begun with what follows, and be killed in the middle of that.
        assert len(calls) == len(stack.world.effects(handle.id)) + (cell.point in EFFECT_EXISTS), story
    assert started_after_success(handle) == []
    direction = COMPENSATION if cell.is_undo else FORWARD
    released = [
        entry
        for entry in handle.entries()
        if entry.event is Event.CLAIM_RELEASED and (entry.step, entry.direction) == ("money", direction)
    ]
    assert len(released) == (cell.point in CLAIM_IS_HELD), story
    assert_entries_explain(handle)
