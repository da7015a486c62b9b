"""Redis delivers a message again while its step still runs: one effect (R2, R3)."""

from __future__ import annotations

import redis

from backout.testing.servers import Broker
from tests.integration.brokers.conftest import OpenOn
from tests.integration.brokers.held import assert_runs_once, start_held


def test_visibility_timeout_shorter_than_the_step(stack_on: OpenOn, broker: Broker) -> None:
    """Redis delivers the message again while its step runs, and the copy is dropped.

    The copy's acknowledgement is also the first one's, as both have one tag: from then on only the ledger knows it.
    """
    stack = stack_on(broker, visibility_seconds=1)
    stack.start_worker()
    handle = start_held(stack)
    assert_runs_once(stack, handle, lambda: None, deliveries=2)


def test_connections_to_redis_are_killed(stack_on: OpenOn, own_broker: Broker) -> None:
    """After a reconnect kombu gives back what runs; the second copy is dropped, and the first one's outcome counts."""
    stack = stack_on(own_broker)
    stack.start_worker()
    handle = start_held(stack)
    with redis.Redis.from_url(own_broker.client_url) as client:
        assert_runs_once(stack, handle, lambda: client.client_kill_filter(_type="normal", skipme=True), deliveries=2)
    assert not stack.workers[0].has_ended
