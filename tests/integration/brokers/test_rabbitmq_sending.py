"""Messages that RabbitMQ drops or does not take: nothing is lost in silence, and no send hangs (R4, R12)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backout import RunState
from backout.testing.servers.rabbitmq import RabbitMQ
from tests.integration.brokers.conftest import OpenOn
from tests.integration.brokers.held import GATE, ORDERED, start_held
from tests.integration.brokers.test_sending import UNSENT, at_most
from tests.support.apps import pipelines
from tests.support.corners import AmqpCorner
from tests.support.history import assert_entries_explain
from tests.support.waiting import wait_until

AT_ONCE_SECONDS = 4.0
"""Less than a single read's timeout."""


@pytest.fixture
def alarmed(rabbitmq: RabbitMQ) -> Iterator[RabbitMQ]:
    """The node, free of alarms after the test."""
    yield rabbitmq
    rabbitmq.unblock_publishers()


def test_queue_is_deleted_under_a_producer(
    stack_on: OpenOn, rabbitmq: RabbitMQ, caplog: pytest.LogCaptureFixture
) -> None:
    """A message without a queue counts as not sent, and the next send declares the queue again."""
    stack = stack_on(rabbitmq)
    assert isinstance(stack.corner, AmqpCorner)
    handles = [stack.start(pipelines.ORDER)]
    stack.corner.delete_queue()
    handles.append(stack.start(pipelines.ORDER))
    assert caplog.text.count(UNSENT) == 1
    assert "NO_ROUTE" in caplog.text
    assert not stack.corner.has_queue()
    handles.append(stack.start(pipelines.ORDER))
    assert caplog.text.count(UNSENT) == 1
    assert [message.run_id for message in stack.messages()] == [handles[-1].id]
    stack.start_worker()
    for handle in handles:
        assert stack.settle(handle).state is RunState.SUCCEEDED
        assert stack.world.calls(handle.id) == ORDERED


def test_queue_was_declared_with_other_arguments(
    stack_on: OpenOn, rabbitmq: RabbitMQ, caplog: pytest.LogCaptureFixture
) -> None:
    """A refused declaration fails no enqueue: it is told about, and the run waits in the ledger."""
    stack = stack_on(rabbitmq)
    assert isinstance(stack.corner, AmqpCorner)
    stack.corner.declare_queue({"x-max-length": 7})
    handle = stack.start(pipelines.ORDER)
    assert "PRECONDITION_FAILED" in caplog.text
    assert UNSENT in caplog.text
    assert handle.status().state is RunState.PENDING


def test_memory_alarm(stack_on: OpenOn, alarmed: RabbitMQ, caplog: pytest.LogCaptureFixture) -> None:
    """While RabbitMQ takes no messages, enqueueing fails to send at once, on a new connection and an open one."""
    stack = stack_on(alarmed)
    stack.start(pipelines.ORDER)
    alarmed.block_publishers()
    for sent in (1, 2, 3):
        with at_most(AT_ONCE_SECONDS):
            stack.start(pipelines.ORDER)
        assert caplog.text.count(UNSENT) == sent
    assert "memory or disk alarm" in caplog.text


def test_memory_alarm_during_a_step(stack_on: OpenOn, alarmed: RabbitMQ) -> None:
    """The step's outcome is recorded although its successor cannot be sent; after the alarm the run goes on.

    With the sweeper's message, or with the one that was given up: RabbitMQ still reads what a closed connection held.
    """
    stack = stack_on(alarmed)
    stack.start_worker("--task-events")
    handle = start_held(stack)
    alarmed.block_publishers()
    stack.world.open(GATE)
    wait_until(lambda: stack.step(handle, "money").state.value == "succeeded", AT_ONCE_SECONDS, "it is recorded")
    wait_until(lambda: "did not take the message of parcel" in stack.workers[0].log, 15, "its successor is not sent")
    alarmed.unblock_publishers()
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.world.calls(handle.id) == ORDERED
    assert_entries_explain(handle)
