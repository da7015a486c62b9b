"""`ack="early"`: the message is acknowledged when the step starts; R2 to R14 hold all the same."""

from __future__ import annotations

import pytest

from backout import RunState
from backout.events import Event
from backout.faultpoints import FaultPoint
from tests.support.apps import pipelines
from tests.support.apps.pipelines import INSIDE
from tests.support.history import assert_entries_explain
from tests.support.stack import Stack
from tests.support.waiting import wait_until


def test_message_is_acknowledged_while_the_function_runs(postgres_stack: Stack) -> None:
    """There is nothing that a broker could lose its patience with."""
    stack = postgres_stack
    handle = stack.start(pipelines.EARLY, faults={f"money_early {INSIDE}": "hold early-runs"})
    wait_until(lambda: stack.world.is_reached("early-runs"), 15, "the function runs")
    assert stack.step(handle, "money_early").state.value == "running"
    assert stack.unacknowledged(run_id=handle.id) == []
    stack.world.open("early-runs")
    assert stack.settle(handle).state is RunState.SUCCEEDED


@pytest.mark.parametrize(
    "point",
    [
        FaultPoint.BEFORE_CLAIM.value,
        FaultPoint.AFTER_CLAIM.value,
        INSIDE,
        FaultPoint.BEFORE_COMMIT.value,
        FaultPoint.AFTER_COMMIT.value,
        FaultPoint.AFTER_SEND.value,
    ],
)
def test_killed_child_leaves_no_message_and_the_run_goes_on(postgres_stack: Stack, point: str) -> None:
    """No message comes back: the sweeper finds the claim expired, or what was never taken up."""
    stack = postgres_stack
    handle = stack.start(pipelines.EARLY, faults={f"money_early {point}": "kill child"})
    assert stack.settle(handle).state is RunState.SUCCEEDED, stack.story(handle)
    assert stack.world.effects(handle.id) == ["goods", "money_early", "parcel"]
    released = [entry for entry in handle.entries() if entry.event is Event.CLAIM_RELEASED]
    assert all(entry.actor.startswith("sweeper@") for entry in released)
    assert_entries_explain(handle)
