"""The broker dies in the middle of a step and comes back empty: the run is ended by what the ledger knows (R4, R12)."""

from __future__ import annotations

import pytest

from backout import RunState
from backout.testing.servers import Broker
from backout.testing.servers.rabbitmq import RabbitMQ
from tests.integration.brokers.conftest import OpenOn
from tests.integration.brokers.held import GATE, ORDERED, start_held
from tests.support.apps import pipelines
from tests.support.history import assert_entries_explain
from tests.support.servers import find_rabbitmq_version
from tests.support.waiting import wait_until

BROKERS = ["own_broker", *(["rabbitmq"] if find_rabbitmq_version() else [])]


@pytest.mark.parametrize("name", BROKERS)
def test_broker_comes_back_empty(name: str, request: pytest.FixtureRequest, stack_on: OpenOn) -> None:
    """With a supervisor for the worker, runs with a held step, a waiting message and a failed send all end."""
    server: Broker | RabbitMQ = request.getfixturevalue(name)
    stack = stack_on(server)
    with stack.supervised_worker("--concurrency", "1", "--pool", "prefork"):
        held = start_held(stack)
        waiting = stack.start(pipelines.ORDER)
        server.kill()
        unsent = stack.start(pipelines.ORDER)
        server.restart()
        server.flush()
        stack.world.open(GATE)
        for handle in (held, waiting, unsent):
            assert stack.settle(handle, 60).state is RunState.SUCCEEDED
            assert stack.world.effects(handle.id) == ORDERED
            assert_entries_explain(handle)


def test_worker_that_loses_redis_during_a_step_ends(stack_on: OpenOn, own_broker: Broker) -> None:
    """Celery 5.7 does not survive it once the step is done, which is why every worker needs a supervisor.

    If this fails with a new release of Celery or kombu, the worker survives: then the documentation can ask for less.
    """
    stack = stack_on(own_broker)
    worker = stack.start_worker()
    handle = start_held(stack)
    own_broker.kill()
    wait_until(lambda: "Unrecoverable error: AttributeError" in worker.log_path.read_text(), 20, "Celery gives up")
    stack.world.open(GATE)
    worker.wait_until_ended()
    assert stack.step(handle, "money").state.value == "succeeded"
