"""Workers of different releases beside each other (R10)."""

from __future__ import annotations

from backout import RunState
from backout.testing.servers import Broker
from tests.integration.brokers.conftest import OpenOn
from tests.integration.brokers.held import ORDERED
from tests.support.apps import pipelines
from tests.support.history import assert_entries_explain
from tests.support.waiting import wait_until

OLD_SHOP = "tests.support.apps.old_shop"


def test_old_worker_discards_a_message_and_a_newer_one_ends_the_run(stack_on: OpenOn, broker: Broker) -> None:
    """Celery acknowledges and discards what it does not know; the sweeper sends it again, for a worker that does."""
    stack = stack_on(broker)
    old = stack.start_worker(app=OLD_SHOP)
    handle = stack.start(pipelines.ORDER)
    wait_until(lambda: "Received unregistered task" in old.log, 15, "the old worker has discarded the message")
    wait_until(lambda: not stack.messages(), 5, "the broker has it no more")
    old.kill()
    stack.start_worker()
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.world.calls(handle.id) == ORDERED
    assert_entries_explain(handle)
