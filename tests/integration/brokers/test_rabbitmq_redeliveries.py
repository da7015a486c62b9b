"""RabbitMQ takes messages from those who work on them: one effect, and nothing silently dropped (R2, R3, R10)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backout import RunState
from backout.events import Event
from backout.testing.servers.rabbitmq import RabbitMQ
from tests.integration.brokers.conftest import QUORUM, OpenOn
from tests.integration.brokers.held import GATE, ORDERED, assert_runs_once, start_held
from tests.integration.engine.kill_matrix import BURSTS
from tests.support.apps import pipelines
from tests.support.history import assert_entries_explain
from tests.support.waiting import wait_until

CONSUMER_TIMEOUT_MILLISECONDS = 1_000
TICK_MILLISECONDS = 500
DELIVERY_LIMIT = 2


@pytest.fixture
def impatient(rabbitmq: RabbitMQ) -> Iterator[RabbitMQ]:
    """The node, with a short timeout for acknowledgements on channels that are opened during the test."""
    set_node(rabbitmq, consumer_timeout=CONSUMER_TIMEOUT_MILLISECONDS, channel_tick_interval=TICK_MILLISECONDS)
    yield rabbitmq
    set_node(rabbitmq, consumer_timeout=1_800_000, channel_tick_interval=60_000)


def set_node(node: RabbitMQ, **options: int) -> None:
    node.evaluate(", ".join(f"application:set_env(rabbit, {name}, {value})" for name, value in options.items()) + ".")


def test_connections_are_closed(stack_on: OpenOn, rabbitmq: RabbitMQ) -> None:
    """The same worker gets the message of the step that it still runs once more, and drops it."""
    stack = stack_on(rabbitmq)
    stack.start_worker()
    handle = start_held(stack)
    assert_runs_once(stack, handle, lambda: rabbitmq.close_connections("as a test"), deliveries=2)
    assert not stack.workers[0].has_ended


def test_connections_are_closed_in_a_burst(stack_on: OpenOn, rabbitmq: RabbitMQ) -> None:
    """What comes again is the message that began the burst, whose step is done: nothing runs twice."""
    stack = stack_on(rabbitmq, settings=BURSTS)
    stack.start_worker()
    handle = start_held(stack)
    assert_runs_once(stack, handle, lambda: rabbitmq.close_connections("as a test"), deliveries=2, carrier="goods")
    assert not stack.workers[0].has_ended


def test_step_is_longer_than_the_consumer_timeout(stack_on: OpenOn, impatient: RabbitMQ) -> None:
    """RabbitMQ closes the channel of a message that is long unacknowledged: Celery's worker ends, the next one goes on.

    The step that ran is finished and recorded; its message comes again and does nothing.
    """
    stack = stack_on(impatient)
    with stack.supervised_worker():
        handle = start_held(stack)
        first = stack.workers[0].log_path
        wait_until(lambda: "Unrecoverable error: PreconditionFailed(406" in first.read_text(), 20, "Celery gives up")
        stack.world.open(GATE)
        assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.workers[0].has_ended
    assert stack.world.calls(handle.id) == ORDERED
    assert stack.step(handle, "money").attempt == 1
    assert_entries_explain(handle)


def test_message_beyond_the_delivery_limit_is_not_the_end(stack_on: OpenOn, rabbitmq: RabbitMQ) -> None:
    """A quorum queue drops the message of a step that kills its process again and again; a person is asked."""
    stack = stack_on(rabbitmq, queue_arguments={**QUORUM, "x-delivery-limit": DELIVERY_LIMIT})
    stack.start_worker()
    handle, run = stack.run(pipelines.ORDER, {"money": ["die"]})
    assert run.state is RunState.IN_REVIEW
    assert len(stack.reviews(handle)) == 1
    assert stack.world.effects(handle.id) == ["goods", "money"]
    assert [entry.event for entry in handle.entries()].count(Event.CLAIM_RELEASED) == 2
    assert_entries_explain(handle)
