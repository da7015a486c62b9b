"""SIGKILL of the pool's child at every point of an attempt's path, in both directions (R2, R4, R8)."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from backout import ReviewReason, RunHandle, RunState
from backout.events import Event
from backout.faultpoints import FaultPoint
from tests.integration.engine.conftest import OpenStack
from tests.integration.engine.kill_matrix import BURSTS, CELLS, MESSAGES, Cell, assert_survived, start_cell
from tests.support.apps import pipelines
from tests.support.apps.pipelines import INSIDE
from tests.support.history import assert_entries_explain
from tests.support.stack import COMPENSATION, Stack

DOUBTFUL = [
    (is_undo, point)
    for is_undo in (False, True)
    for point in (FaultPoint.AFTER_CLAIM.value, INSIDE, FaultPoint.AFTER_CALL.value)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The runs of all tests of this module."""

    stack: Stack
    is_in_bursts: bool
    cells: dict[Cell, RunHandle]
    doubtful: dict[tuple[bool, str], RunHandle]
    deadly: RunHandle


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("postgresql", MESSAGES), id="postgresql"),
        pytest.param(("postgresql", BURSTS), id="postgresql-bursts"),
        pytest.param(("sqlite", BURSTS), id="sqlite-bursts"),
        pytest.param(("mariadb", MESSAGES), id="mariadb"),
    ],
)
def started(request: pytest.FixtureRequest, open_stack: OpenStack) -> Started:
    """All cells at once on one worker, whose pool replaces each child that is killed."""
    database, settings = request.param
    stack = open_stack(database, settings=settings)
    stack.start_worker()
    return Started(
        stack=stack,
        is_in_bursts=settings is BURSTS,
        cells={cell: start_cell(stack, cell, "child") for cell in CELLS},
        doubtful={cell: start_doubtful(stack, *cell) for cell in DOUBTFUL},
        deadly=stack.start(pipelines.ORDER, {"money": ["die"]}),
    )


def start_doubtful(stack: Stack, is_undo: bool, point: str) -> RunHandle:
    script = {"parcel": ["fail"]} if is_undo else {}
    what = "undo money_once" if is_undo else "money_once"
    return stack.start(pipelines.ONCE, script, faults={f"{what} {point}": "kill child"})


@pytest.mark.parametrize("settings", [MESSAGES, BURSTS], ids=["messages", "bursts"])
def test_what_a_killed_child_had_not_sent_is_sent_at_once(new_stack: OpenStack, settings: dict[str, float]) -> None:
    """The message that comes back is enough: nobody waits until the sweeper sends the next one an hour later."""
    stack = new_stack(settings={"backout_resend_seconds": 3600, **settings})
    stack.start_worker()
    after_commit = FaultPoint.AFTER_COMMIT.value
    forward = stack.start(pipelines.ORDER, faults={f"money {after_commit}": "kill child"})
    turning = stack.start(pipelines.ORDER, {"money": ["fail"]}, faults={f"money {after_commit}": "kill child"})
    undoing = stack.start(pipelines.ORDER, {"parcel": ["fail"]}, faults={f"undo parcel {after_commit}": "kill child"})
    assert stack.settle(forward).state is RunState.SUCCEEDED, stack.story(forward)
    assert stack.settle(turning).state is RunState.ROLLED_BACK, stack.story(turning)
    assert stack.settle(undoing).state is RunState.ROLLED_BACK, stack.story(undoing)
    for handle in (forward, turning, undoing):
        assert len(stack.world.calls(handle.id)) == len(stack.world.effects(handle.id))
        assert_entries_explain(handle)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_run_ends_and_no_effect_is_doubled(started: Started, cell: Cell) -> None:
    """Wherever the child is killed, the run ends, done steps do not run again, and each effect exists once."""
    assert_survived(started.stack, cell, started.cells[cell], is_in_burst=started.is_in_bursts)


@pytest.mark.parametrize(("is_undo", "point"), DOUBTFUL)
def test_step_in_doubt_is_left_to_a_person(started: Started, is_undo: bool, point: str) -> None:
    """A step that may not be run again, killed while it was claimed, is not: a person is asked (R8)."""
    stack, handle = started.stack, started.doubtful[is_undo, point]
    run = stack.settle(handle)
    what = "undo money_once" if is_undo else "money_once"
    assert run.state is RunState.IN_REVIEW, stack.story(handle)
    assert run.requires_human_review
    (review,) = stack.reviews(handle)
    assert review.reason is ReviewReason.CONFIRMATION_MISSING
    assert review.step == "money_once"
    assert stack.world.calls(handle.id).count(what) == (0 if point == FaultPoint.AFTER_CLAIM else 1)
    states = stack.states(handle, COMPENSATION) if is_undo else stack.states(handle)
    assert states["money_once"] == "in_doubt"
    assert "parcel" not in stack.world.calls(handle.id) or is_undo
    assert "undo goods" not in stack.world.calls(handle.id)
    assert [entry.event for entry in handle.entries()][-2:] == [Event.STEP_IN_DOUBT, Event.RUN_IN_REVIEW]
    assert_entries_explain(handle)


def test_ids_recorded_before_the_kill_are_kept(started: Started) -> None:
    """An external id that was recorded before the process died is in the ledger and in the evidence (R14)."""
    stack, handle = started.stack, started.doubtful[False, INSIDE]
    stack.settle(handle)
    assert stack.step(handle, "money_once").external_ids == {"money_once": "money_once-1"}
    assert handle.status().external_ids["money_once"] == "money_once-1"
    (review,) = stack.reviews(handle)
    assert review.evidence["external_ids"]["money_once"] == "money_once-1"


def test_step_that_kills_its_process_each_time_is_not_run_for_ever(started: Started) -> None:
    """After a few attempts that ended without an answer a person is asked, also when the step is idempotent."""
    stack, handle = started.stack, started.deadly
    run = stack.settle(handle)
    assert run.state is RunState.IN_REVIEW, stack.story(handle)
    (review,) = stack.reviews(handle)
    assert review.reason is ReviewReason.CONFIRMATION_MISSING
    assert "3 attempts ended without an answer" in review.evidence["what"]
    assert stack.world.calls(handle.id) == ["goods", *["money"] * 3]
    assert stack.world.effects(handle.id) == ["goods", "money"]
    assert_entries_explain(handle)
