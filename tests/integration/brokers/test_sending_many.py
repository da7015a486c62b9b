"""Many messages at once, to brokers that take them and to others: the runs are recorded either way (R4, R12)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

import pytest
import redis

from backout import EnqueuedRuns, RunState
from backout.testing.servers import Broker
from backout.testing.servers.rabbitmq import RabbitMQ
from tests.integration.brokers.conftest import OpenOn
from tests.integration.brokers.test_broker_restart import BROKERS as OWN_BROKERS
from tests.integration.brokers.test_sending import BROKERS, SECONDS, at_most, swallowing
from tests.support.apps import pipelines
from tests.support.apps.pipelines import Job
from tests.support.stack import Stack

MANY = 30
UNSENT = f"the broker did not take {MANY} of {MANY} messages of goods"


def enqueue(stack: Stack, numbers: Iterable[int] = range(MANY)) -> EnqueuedRuns:
    with stack.as_current():
        return pipelines.ORDER.enqueue_many(Job(customer=f"c-{number}") for number in numbers)


@pytest.mark.parametrize("name", BROKERS)
def test_all_messages_arrive(name: str, request: pytest.FixtureRequest, stack_on: OpenOn) -> None:
    """One for each run, in the order of the inputs."""
    stack = stack_on(request.getfixturevalue(name))
    result = enqueue(stack, range(1_100))
    assert (result.created, result.unsent) == (1_100, 0)
    assert [message.run_id for message in stack.messages()] == [handle.id for handle in result]


@pytest.mark.parametrize("name", BROKERS)
def test_broker_that_swallows_everything(
    name: str, request: pytest.FixtureRequest, stack_on: OpenOn, caplog: pytest.LogCaptureFixture
) -> None:
    """Enqueueing ends in a known time, on a connection that died unnoticed and on the next, and tells of it."""
    stack = stack_on(request.getfixturevalue(name))
    with closing(swallowing(stack)) as hole:
        assert enqueue(stack).unsent == 0
        hole.swallow()
        for sent in (1, 2):
            with at_most(SECONDS):
                result = enqueue(stack)
            assert (result.created, result.unsent) == (MANY, MANY)
            assert caplog.text.count(UNSENT) == sent
            assert {handle.status().state for handle in result} == {RunState.PENDING}


@pytest.mark.parametrize("name", OWN_BROKERS)
def test_connection_that_died_unnoticed_is_replaced(
    name: str, request: pytest.FixtureRequest, stack_on: OpenOn
) -> None:
    """A broker that was restarted since the last send gets all messages at once."""
    server: Broker | RabbitMQ = request.getfixturevalue(name)
    stack = stack_on(server)
    assert enqueue(stack).unsent == 0
    server.kill()
    server.restart()
    server.flush()
    result = enqueue(stack)
    assert result.unsent == 0
    assert {message.run_id for message in stack.messages()} == {handle.id for handle in result}


def test_full_redis(stack_on: OpenOn, own_broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """A Redis that is full refuses them with an error of its own, which is told; later ones are sent."""
    stack = stack_on(own_broker)
    with redis.Redis.from_url(own_broker.client_url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        with at_most(SECONDS):
            result = enqueue(stack)
        assert (result.created, result.unsent) == (MANY, MANY)
        assert UNSENT in caplog.text
        assert "maxmemory" in caplog.text
        client.config_set("maxmemory", "0")
    assert enqueue(stack).unsent == 0


def test_redis_with_retries_of_the_users_own(stack_on: OpenOn, own_broker: Broker) -> None:
    """Kombu makes no pipelines where the client repeats commands; the messages are sent one after the other."""
    stack = stack_on(own_broker)
    options = stack.app.conf.broker_transport_options
    stack.app.conf.broker_transport_options = {**options, "retry_on_timeout": True}
    result = enqueue(stack)
    assert result.unsent == 0
    assert [message.run_id for message in stack.messages()] == [handle.id for handle in result]
    own_broker.kill()
    with at_most(SECONDS):
        assert enqueue(stack).unsent == MANY


def test_what_is_unsent_runs_with_the_sweepers_help(stack_on: OpenOn, own_broker: Broker) -> None:
    """R4: when the broker is back, all of them run."""
    stack = stack_on(own_broker)
    own_broker.kill()
    result = enqueue(stack, range(5))
    assert result.unsent == 5
    own_broker.restart()
    stack.start_worker()
    for handle in result:
        assert stack.settle(handle).state is RunState.SUCCEEDED
