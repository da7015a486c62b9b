"""Every message may come several times, at once and later: nothing happens twice (R2, R3, R6)."""

from __future__ import annotations

import pytest

from backout import RunHandle, RunState
from backout.states import Direction
from tests.integration.engine.conftest import OpenStack
from tests.integration.engine.kill_matrix import MESSAGES
from tests.support.apps import names, pipelines
from tests.support.history import assert_entries_explain, started_after_success
from tests.support.ledgers import DATABASES, on_each_stack
from tests.support.stack import Stack
from tests.support.waiting import wait_until

COPIES = 3
ROOMS = list(pipelines.LONG_NAMES)
EXPECTED = {
    "order": (RunState.SUCCEEDED, ["goods", "money", "parcel"]),
    "long": (RunState.ROLLED_BACK, [*ROOMS, *(f"undo {name}" for name in reversed(ROOMS))]),
    "retried": (RunState.SUCCEEDED, ["goods", "money", "money", "parcel"]),
}


@pytest.fixture(scope="module", params=DATABASES)
def copied(request: pytest.FixtureRequest, open_stack: OpenStack) -> tuple[Stack, dict[str, list[RunHandle]]]:
    """Runs of which each message, and each link of each chain, is published three times."""
    stack = open_stack(request.param, settings=MESSAGES)
    runs = {
        "order": [stack.start(pipelines.ORDER) for _ in range(5)],
        "long": [stack.start(pipelines.LONG, {"room8": ["fail"]}) for _ in range(3)],
        "retried": [stack.start(pipelines.ORDER, {"money": ["error", "ok"]}) for _ in range(3)],
    }
    stack.copy_messages(COPIES)
    stack.start_worker(environment={names.COPIES: str(COPIES)})
    return stack, runs


@pytest.mark.parametrize("kind", list(EXPECTED))
def test_every_message_three_times(copied: tuple[Stack, dict[str, list[RunHandle]]], kind: str) -> None:
    """With each message sent three times, each attempt runs once (R2), and each compensation runs once (R6)."""
    stack, runs = copied
    state, calls = EXPECTED[kind]
    for handle in runs[kind]:
        assert stack.settle(handle, 60).state is state, stack.story(handle)
        assert stack.world.calls(handle.id) == calls
        assert started_after_success(handle) == []
        assert_entries_explain(handle)
    assert "nothing to do for" in stack.workers[0].log


@pytest.mark.parametrize("script", [{}, {"parcel": ["fail"]}], ids=["succeeded", "rolled_back"])
def test_messages_of_a_finished_run_do_nothing(stack: Stack, script: dict[str, list[str]]) -> None:
    """All messages of a finished run, sent again three times, run nothing and change nothing (R2, R6)."""
    handle, before = stack.run(pipelines.ORDER, script)
    rows, entries, calls = handle.steps(), handle.entries(), stack.world.calls(handle.id)
    for row in rows:
        for _ in range(COPIES):
            stack.send_step(pipelines.ORDER, row)
        wait_until(lambda row=row: stack.count_deliveries(row.task_id) > COPIES, 15, "they are delivered")  # type: ignore[misc]
    stack.wait_until_idle()
    assert stack.world.calls(handle.id) == calls
    assert handle.status() == before
    assert handle.steps() == rows
    assert handle.entries() == entries


@on_each_stack
def test_message_of_a_running_step_is_dropped(stack: Stack) -> None:
    """While one attempt holds the claim, a second message of its step runs nothing (R3)."""
    gate = "busy"
    handle = stack.start(pipelines.ORDER, {"money": [f"hold:{gate}"]})
    wait_until(lambda: stack.world.is_reached(gate), 15, "the step runs")
    running = stack.step(handle, "money")
    stack.send_step(pipelines.ORDER, running)
    wait_until(lambda: stack.count_deliveries(running.task_id) >= 2, 15, "the second message is delivered")
    wait_until(lambda: len(stack.unacknowledged(run_id=handle.id)) == 1, 15, "the second message is acknowledged")
    assert stack.world.calls(handle.id) == ["goods", "money"]
    stack.world.open(gate)
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.world.calls(handle.id) == ["goods", "money", "parcel"]


def test_message_of_a_compensation_that_comes_too_early_does_nothing(stack: Stack) -> None:
    """A compensation whose predecessor is not recorded yet is not run by its message (R5)."""
    gate = "early"
    handle = stack.start(pipelines.ORDER, {"parcel": ["fail"], "undo money": [f"hold:{gate}"]})
    wait_until(lambda: stack.world.is_reached(gate), 15, "the second compensation runs")
    waiting = stack.step(handle, "goods", Direction.COMPENSATION)
    assert waiting.state.value == "pending"
    stack.send_step(pipelines.ORDER, waiting)
    wait_until(lambda: stack.count_deliveries(waiting.task_id) >= 1, 15, "the early message is delivered")
    wait_until(lambda: len(stack.unacknowledged(run_id=handle.id)) == 1, 15, "the early message is acknowledged")
    assert stack.step(handle, "goods", Direction.COMPENSATION).state.value == "pending"
    assert stack.world.calls(handle.id)[-1] == "undo money"
    stack.world.open(gate)
    assert stack.settle(handle).state is RunState.ROLLED_BACK
    assert stack.world.calls(handle.id)[-3:] == ["undo parcel", "undo money", "undo goods"]
