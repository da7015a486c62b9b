"""R3: an attempt that outlives its claim is not applied, and its answer is kept."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

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
    (late,) = wait_until(
        lambda: [entry for entry in handle.entries() if entry.event is Event.LATE_RESULT], 15, "it has answered"
    )
    assert late.attempt == 1
    assert late.detail == {"outcome": "Succeeded", "output": {"step": "money", "attempt": 1}}
    # That it is over is all that its late answer tells the row: nothing is waited for any longer.
    assert before.may_run_until is not None
    assert stack.step(handle, "money") == replace(before, may_run_until=None)
    assert before.attempt == 2
    assert before.output == {"step": "money", "attempt": 2}
    assert handle.status().state is RunState.SUCCEEDED
    assert stack.world.effects(handle.id) == ["goods", "money", "parcel"]
    assert_entries_explain(handle)


def test_late_answer_does_not_end_the_attempt_that_has_the_claim_now(stack: Stack) -> None:
    """An answer that comes while a newer attempt runs is kept as an entry, and the newer attempt goes on."""
    handle = stack.start(pipelines.ORDER, {"money": ["hold:older", "hold:newer"]})
    wait_until(lambda: stack.world.is_reached("older"), 15, "the first attempt runs")
    frozen = stack.world.lines(handle.id)[-1].pid
    os.kill(frozen, signal.SIGSTOP)
    try:
        wait_until(lambda: stack.world.is_reached("newer"), 15, "the second attempt runs")
        stack.world.open("older")
    finally:
        os.kill(frozen, signal.SIGCONT)
    late = wait_until(
        lambda: [entry for entry in handle.entries() if entry.event is Event.LATE_RESULT], 15, "the first has answered"
    )
    assert [entry.attempt for entry in late] == [1]
    row = stack.step(handle, "money")
    assert (row.state.value, row.attempt, row.output) == ("running", 2, None)
    assert stack.states(handle) == {"goods": "succeeded", "money": "running"}
    stack.world.open("newer")
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.step(handle, "money").output == {"step": "money", "attempt": 2}
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
