"""The pools besides prefork and threads (which the engine's tests use): the whole path, and a cold shutdown."""

from __future__ import annotations

import signal

import pytest

from backout import RunState
from backout.events import Event
from backout.testing.servers import Broker
from tests.integration.brokers.conftest import OpenOn
from tests.integration.brokers.held import GATE, ORDERED, start_held
from tests.support.apps import pipelines
from tests.support.history import assert_entries_explain
from tests.support.stack import Stack
from tests.support.waiting import wait_until

GEVENT = ("--pool", "gevent", "--concurrency", "10")
SOLO = ("--pool", "solo")


@pytest.fixture(scope="module", params=[GEVENT, SOLO], ids=["gevent", "solo"])
def stack(request: pytest.FixtureRequest, broker: Broker, module_stack_on: OpenOn) -> Stack:
    """A stack with a worker of another pool, shared by the tests of this module."""
    stack = module_stack_on(broker)
    stack.start_worker(*request.param)
    return stack


def test_runs_succeed(stack: Stack) -> None:
    """Several runs at once succeed, with a retry in one step of each."""
    handles = [stack.start(pipelines.ORDER, {"money": ["error", "ok"]}) for _ in range(5)]
    for handle in handles:
        assert stack.settle(handle).state is RunState.SUCCEEDED
        assert stack.world.calls(handle.id) == ["goods", "money", "money", "parcel"]
        assert_entries_explain(handle)


def test_run_is_rolled_back(stack: Stack) -> None:
    """The chain of compensations runs in reverse order."""
    handle, run = stack.run(pipelines.ORDER, {"parcel": ["fail"]})
    assert run.state is RunState.ROLLED_BACK
    assert stack.world.calls(handle.id) == [*ORDERED, "undo parcel", "undo money", "undo goods"]
    assert_entries_explain(handle)


def test_timeout_interrupts(stack: Stack) -> None:
    """A step that takes too long is interrupted, although Celery's own limits do nothing here."""
    handle, run = stack.run(pipelines.QUICK, {"quick": ["hold:never", "ok"]})
    assert run.state is RunState.SUCCEEDED
    retries = [entry.reason for entry in handle.entries() if entry.event is Event.RETRY_SCHEDULED]
    assert retries == ["StepTimedOut: quick did not answer within 0.7 s"]
    assert_entries_explain(handle)


def test_cold_shutdown_of_a_gevent_worker_loses_its_message_and_not_the_run(stack_on: OpenOn, broker: Broker) -> None:
    """On SIGQUIT Celery acknowledges what it cuts off; the ledger gives the step to the next worker."""
    stack = stack_on(broker)
    worker = stack.start_worker(*GEVENT)
    handle = start_held(stack, "ok")
    worker.send(signal.SIGQUIT)
    worker.wait_until_ended()
    stack.world.open(GATE)
    wait_until(lambda: stack.messages() == stack.unacknowledged() == [], 5, "Celery has lost the message")
    stack.start_worker(*GEVENT)
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.world.effects(handle.id) == ORDERED
    assert Event.STEP_FAILED not in [entry.event for entry in handle.entries()]
    assert Event.RETRY_SCHEDULED not in [entry.event for entry in handle.entries()]
    assert_entries_explain(handle)


def test_process_for_each_task(stack_on: OpenOn, broker: Broker) -> None:
    """With a fork for each task, events of sent tasks, and a sweeper that publishes, no process hangs."""
    stack = stack_on(broker, settings={"task_send_sent_event": True})
    stack.start_worker("--max-tasks-per-child", "1", "--task-events")
    handles = [stack.start(pipelines.ORDER) for _ in range(5)]
    for handle in handles:
        assert stack.settle(handle, 60).state is RunState.SUCCEEDED
        assert stack.world.calls(handle.id) == ORDERED
