"""SIGKILL of the processes beside the worker: one that enqueues, and the sweeper (R4)."""

from __future__ import annotations

import signal
import uuid

from backout import RunHandle, RunState
from backout.events import Event
from backout.faultpoints import FaultPoint
from tests.integration.engine.conftest import OpenStack
from tests.support.apps import pipelines
from tests.support.stack import Stack
from tests.support.waiting import wait_until

ORDERED = ["goods", "money", "parcel"]


def enqueue_and_die(stack: Stack) -> RunHandle:
    """Enqueue in a process that dies between its commit and its send; return the run that it has left."""
    event = uuid.uuid4().hex
    stack.world.arm(FaultPoint.ENQUEUE_COMMITTED.value, "kill child")
    process = stack.enqueue_elsewhere("order", None, event)
    said, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert said == ""
    return stack.find(pipelines.ORDER, event)


def resends(handle: RunHandle) -> list[str | None]:
    return [entry.reason for entry in handle.entries() if entry.event is Event.MESSAGE_RESENT]


def test_run_of_a_killed_enqueuer_is_sent_by_the_sweeper(stack: Stack) -> None:
    """A run that was recorded and whose message was never sent runs all the same, once."""
    handle = enqueue_and_die(stack)
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.world.calls(handle.id) == ORDERED
    assert resends(handle) == ["no worker took up message 1"]


def test_next_sweeper_sends_what_a_killed_one_had_marked(new_stack: OpenStack) -> None:
    """A sweeper killed between its commit and its send is started again, and the message is sent after all."""
    stack = new_stack()
    handle = enqueue_and_die(stack)
    place = f"{handle.id} {FaultPoint.SWEEP_COMMITTED}"
    stack.world.arm(place, "kill child")
    worker = stack.start_worker()
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.world.has_struck(place)
    assert stack.world.calls(handle.id) == ORDERED
    assert resends(handle) == ["no worker took up message 1", "no worker took up message 2"]
    assert "the sweeper ended with exit code -9; starting it again" in worker.log


def test_message_that_the_broker_lost_is_sent_again(stack: Stack) -> None:
    """A message that vanished from the broker is sent again by the sweeper (R12)."""
    handle = stack.start(pipelines.UNHEARD)
    wait_until(lambda: stack.messages("nobody", run_id=handle.id), 10, "its message waits")
    stack.lose_messages("nobody")
    (again,) = wait_until(lambda: stack.messages("nobody", run_id=handle.id), 15, "its message is sent again")
    assert again.keywords["backout_step"]["position"] == 1
    assert resends(handle) == ["no worker took up message 1"]
