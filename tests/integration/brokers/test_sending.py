"""Sends to a broker that does not take them end in a known time, and the run is recorded (R4, R12).

That the sweeper sends it later is tested with RabbitMQ's deleted queues, and with brokers that come back empty.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from backout import RunState
from backout.testing.servers import Broker
from tests.integration.brokers.conftest import OpenOn
from tests.support.apps import pipelines
from tests.support.black_hole import BlackHole
from tests.support.servers import find_rabbitmq_version
from tests.support.stack import Stack

BROKERS = ["broker", *(["rabbitmq"] if find_rabbitmq_version() else [])]
UNSENT = "the broker did not take the message of goods"
IMPATIENT = {
    "socket_timeout": 0.5,
    "socket_connect_timeout": 0.5,
    "read_timeout": 1,
    "write_timeout": 1,
}
"""The user's own, which come before ours: the defaults would make these tests wait for a quarter of a minute."""
SECONDS = 8.0


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail if the block takes longer."""
    started = time.monotonic()
    yield
    took = time.monotonic() - started
    assert took < seconds, f"it took {took:.1f} s"


def swallowing(stack: Stack) -> BlackHole:
    """Let the stack's client reach its broker through a hole that can swallow everything."""
    url = stack.corner.url
    address = urlsplit(url)
    is_redis = url.startswith("redis")
    hole = BlackHole(address.path if is_redis else ("127.0.0.1", address.port or 0))
    through = f"redis://127.0.0.1:{hole.port}/0" if is_redis else f"amqp://guest:guest@127.0.0.1:{hole.port}//"
    stack.app.conf.broker_url = through
    own: dict[str, Any] = stack.app.conf.broker_transport_options
    known = {name for name in IMPATIENT if name.startswith("socket") is is_redis}
    stack.app.conf.broker_transport_options = {**own, **{name: IMPATIENT[name] for name in known}}
    stack.app.conf.broker_connection_timeout = 0.5
    return hole


@pytest.mark.parametrize("name", BROKERS)
def test_broker_that_swallows_everything(
    name: str, request: pytest.FixtureRequest, stack_on: OpenOn, caplog: pytest.LogCaptureFixture
) -> None:
    """Enqueueing ends in a known time on an open connection that died unnoticed, and on the next one."""
    stack = stack_on(request.getfixturevalue(name))
    with closing(swallowing(stack)) as hole:
        handles = [stack.start(pipelines.ORDER)]
        assert UNSENT not in caplog.text
        hole.swallow()
        for sent in (1, 2):
            with at_most(SECONDS):
                handles.append(stack.start(pipelines.ORDER))
            assert caplog.text.count(UNSENT) == sent
        assert {handle.status().state for handle in handles} == {RunState.PENDING}


def test_full_redis(stack_on: OpenOn, own_broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """A Redis that is full refuses the message with an error of its own; the run is recorded all the same."""
    stack = stack_on(own_broker)
    with redis.Redis.from_url(own_broker.client_url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        with at_most(SECONDS):
            handle = stack.start(pipelines.ORDER)
        assert UNSENT in caplog.text
        client.config_set("maxmemory", "0")
    assert handle.status().state is RunState.PENDING
