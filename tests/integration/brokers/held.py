"""Runs whose step in the middle is held while a test disturbs their broker."""

from __future__ import annotations

from collections.abc import Callable

from backout import RunHandle, RunState
from tests.support.apps import pipelines
from tests.support.history import assert_entries_explain
from tests.support.stack import Stack
from tests.support.waiting import wait_until

GATE = "lost"
ORDERED = ["goods", "money", "parcel"]


def start_held(stack: Stack, *then: str) -> RunHandle:
    """Start a run whose step in the middle stands at the gate; `then` is what its later attempts do."""
    handle = stack.start(pipelines.ORDER, {"money": [f"hold:{GATE}", *then]})
    wait_until(lambda: stack.world.is_reached(GATE), 15, "the step runs")
    return handle


def assert_runs_once(
    stack: Stack, handle: RunHandle, disturb: Callable[[], None], *, deliveries: int, carrier: str = "money"
) -> None:
    """Disturb the broker while the step runs, until its message has come that often; it must have run once.

    Args:
        stack: with its worker.
        handle: of a run that `start_held` has started.
        disturb: makes the broker deliver the message again.
        deliveries: how often it must have come.
        carrier: the step whose message it is; another one in a burst.
    """
    task_id = stack.step(handle, carrier).task_id
    disturb()
    wait_until(lambda: stack.count_deliveries(task_id) >= deliveries, 40, "the message is delivered again")
    stack.world.open(GATE)
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.world.calls(handle.id) == ORDERED
    assert stack.step(handle, "money").attempt == 1
    assert_entries_explain(handle)
