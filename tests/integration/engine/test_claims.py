"""R3: an attempt that outlives its claim is not applied, and its answer is kept."""

from __future__ import annotations

import os
import signal

from backout import RunState
from backout.events import Event
from tests.support.apps import pipelines
from tests.support.history import assert_entries_explain
from tests.support.stack import Stack
from tests.support.waiting import wait_until


def test_late_answer_is_an_entry_and_not_the_outcome(stack: Stack) -> None:
    """A process that was frozen for longer than its lease answers late: the newer attempt's outcome stays."""
    gate = "frozen"
    handle = stack.start(pipelines.ORDER, {"money": [f"hold:{gate}", "ok"]})
    wait_until(lambda: stack.world.is_reached(gate), 15, "the first attempt runs")
    frozen = stack.world.lines(handle.id)[-1].pid
    os.kill(frozen, signal.SIGSTOP)
    try:
        assert stack.settle(handle).state is RunState.SUCCEEDED
        before = stack.step(handle, "money")
        stack.world.open(gate)
    finally:
        os.kill(frozen, signal.SIGCONT)

    def late_results() -> list[object]:
        return [entry for entry in handle.entries() if entry.event is Event.LATE_RESULT]

    wait_until(late_results, 15, "the frozen attempt has answered")
    (late,) = (entry for entry in handle.entries() if entry.event is Event.LATE_RESULT)
    assert late.attempt == 1
    assert late.detail == {"outcome": "Succeeded", "output": {"step": "money", "attempt": 1}}
    assert stack.step(handle, "money") == before
    assert before.attempt == 2
    assert before.output == {"step": "money", "attempt": 2}
    assert handle.status().state is RunState.SUCCEEDED
    assert stack.world.effects(handle.id) == ["goods", "money", "parcel"]
    assert_entries_explain(handle)


def test_heartbeat_holds_the_claim_of_a_step_longer_than_its_lease(stack: Stack) -> None:
    """A step that takes longer than its lease keeps its claim while its process lives: it runs once."""
    gate = "slow"
    handle = stack.start(pipelines.ORDER, {"money": [f"hold:{gate}"]})
    wait_until(lambda: stack.world.is_reached(gate), 15, "the step runs")
    first = stack.step(handle, "money").claim_expires_at
    assert first is not None

    def lease_is_over() -> bool:
        # Extended until after the end of a second lease: without a heartbeat the sweeper would have taken it long ago.
        expires_at = stack.step(handle, "money").claim_expires_at
        return expires_at is not None and (expires_at - first).total_seconds() > 2.0

    wait_until(lease_is_over, 15, "more than a lease has passed")
    stack.world.open(gate)
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.step(handle, "money").attempt == 1
    assert stack.world.calls(handle.id) == ["goods", "money", "parcel"]
