"""Many messages that RabbitMQ confirms together: those that it drops or refuses are known (R4, R12)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backout import RunState
from backout.testing.servers.rabbitmq import RabbitMQ
from tests.integration.brokers.conftest import QUORUM, OpenOn
from tests.integration.brokers.test_rabbitmq_sending import AT_ONCE_SECONDS
from tests.integration.brokers.test_sending import at_most
from tests.integration.brokers.test_sending_many import MANY, UNSENT, enqueue
from tests.support.corners import AmqpCorner

ROOM = 12


@pytest.fixture
def alarmed(rabbitmq: RabbitMQ) -> Iterator[RabbitMQ]:
    """The node, free of alarms after the test."""
    yield rabbitmq
    rabbitmq.unblock_publishers()


def test_queue_is_deleted_under_a_producer(
    stack_on: OpenOn, rabbitmq: RabbitMQ, caplog: pytest.LogCaptureFixture
) -> None:
    """Messages without a queue count as not sent, and the next send declares the queue again."""
    stack = stack_on(rabbitmq)
    assert isinstance(stack.corner, AmqpCorner)
    assert enqueue(stack).unsent == 0
    stack.corner.delete_queue()
    lost = enqueue(stack, range(3))
    assert lost.unsent == 3
    assert "NO_ROUTE" in caplog.text
    result = enqueue(stack)
    assert result.unsent == 0
    assert [message.run_id for message in stack.messages()] == [handle.id for handle in result]
    stack.start_worker()
    for handle in lost:
        assert stack.settle(handle).state is RunState.SUCCEEDED


def test_quorum_queue_has_all_of_them(stack_on: OpenOn, rabbitmq: RabbitMQ) -> None:
    """As a classic one."""
    stack = stack_on(rabbitmq, queue_arguments=QUORUM)
    result = enqueue(stack)
    assert result.unsent == 0
    assert {message.run_id for message in stack.messages()} == {handle.id for handle in result}


def test_queue_that_is_full_refuses_the_rest(
    stack_on: OpenOn, rabbitmq: RabbitMQ, caplog: pytest.LogCaptureFixture
) -> None:
    """What RabbitMQ does not accept is counted, and the others are not."""
    stack = stack_on(rabbitmq, queue_arguments={"x-max-length": ROOM, "x-overflow": "reject-publish"})
    result = enqueue(stack)
    assert (result.created, result.unsent) == (MANY, MANY - ROOM)
    assert len(stack.messages()) == ROOM
    assert f"did not take {MANY - ROOM} of {MANY} messages of goods (RabbitMQ did not accept it)" in caplog.text


def test_queue_was_declared_with_other_arguments(
    stack_on: OpenOn, rabbitmq: RabbitMQ, caplog: pytest.LogCaptureFixture
) -> None:
    """A refused declaration fails nothing: it is told about, and the runs wait in the ledger."""
    stack = stack_on(rabbitmq)
    assert isinstance(stack.corner, AmqpCorner)
    stack.corner.declare_queue({"x-max-length": 7})
    result = enqueue(stack)
    assert result.unsent == MANY
    assert "PRECONDITION_FAILED" in caplog.text
    assert UNSENT in caplog.text


def test_memory_alarm(stack_on: OpenOn, alarmed: RabbitMQ, caplog: pytest.LogCaptureFixture) -> None:
    """While RabbitMQ takes no messages, sending fails at once, on an open connection and on a new one."""
    stack = stack_on(alarmed)
    assert enqueue(stack).unsent == 0
    alarmed.block_publishers()
    for sent in (1, 2):
        with at_most(2 * AT_ONCE_SECONDS):
            assert enqueue(stack).unsent == MANY
        assert caplog.text.count(UNSENT) == sent
    assert "memory or disk alarm" in caplog.text
