"""R1: a message is acknowledged only after the outcome of its attempt is committed."""

from __future__ import annotations

import pytest

from backout import RunHandle, RunState
from backout.faultpoints import FaultPoint
from tests.integration.engine.conftest import OpenStack
from tests.integration.engine.kill_matrix import MESSAGES
from tests.support.apps import pipelines
from tests.support.apps.pipelines import INSIDE
from tests.support.corners import Message
from tests.support.ledgers import ENGINE_DATABASES
from tests.support.stack import COMPENSATION, FORWARD, Script, Stack
from tests.support.waiting import wait_until

WAYS = [
    pytest.param({}, "money", "succeeded", id="success"),
    pytest.param({"money": ["fail"]}, "money", "failed", id="failure"),
    pytest.param({"money": ["retry:0.2", "ok"]}, "money", "retry_scheduled", id="retry"),
    pytest.param({"parcel": ["fail"]}, "undo money", "succeeded", id="compensation"),
]


def unacknowledged(stack: Stack, handle: RunHandle, what: str) -> list[Message]:
    task = f"{pipelines.__name__}.{what.replace(' ', '_')}"
    return [message for message in stack.unacknowledged(run_id=handle.id) if message.task == task]


def state_of(stack: Stack, handle: RunHandle, what: str) -> str:
    return stack.step(handle, "money", COMPENSATION if what.startswith("undo") else FORWARD).state.value


@pytest.fixture(scope="module", params=ENGINE_DATABASES)
def stack(request: pytest.FixtureRequest, open_stack: OpenStack) -> Stack:
    """A stack in which each step has a message; for bursts see `test_bursts`."""
    own = open_stack(request.param, settings=MESSAGES)
    own.start_worker()
    return own


@pytest.mark.parametrize(("script", "what", "outcome"), WAYS)
def test_message_is_unacknowledged_when_its_outcome_is_committed(
    stack: Stack, script: Script, what: str, outcome: str
) -> None:
    """Right after the commit the broker still has the message, whatever the outcome; it goes when the task ends."""
    gate = f"committed-{outcome}-{what}"
    handle = stack.start(pipelines.ORDER, script, faults={f"{what} {FaultPoint.AFTER_COMMIT}": f"hold {gate}"})
    wait_until(lambda: stack.world.is_reached(gate), 15, "the outcome is committed")
    assert state_of(stack, handle, what) == outcome
    assert len(unacknowledged(stack, handle, what)) == 1
    stack.world.open(gate)
    assert stack.settle(handle).state in (RunState.SUCCEEDED, RunState.ROLLED_BACK)
    wait_until(lambda: not unacknowledged(stack, handle, what), 10, "the message is acknowledged")


def test_message_is_unacknowledged_while_the_function_runs(stack: Stack) -> None:
    """While the function runs, the ledger says running and the broker keeps the message."""
    handle = stack.start(pipelines.ORDER, faults={f"money {INSIDE}": "hold running"})
    wait_until(lambda: stack.world.is_reached("running"), 15, "the function runs")
    assert state_of(stack, handle, "money") == "running"
    assert len(unacknowledged(stack, handle, "money")) == 1
    stack.world.open("running")
    assert stack.settle(handle).state is RunState.SUCCEEDED
