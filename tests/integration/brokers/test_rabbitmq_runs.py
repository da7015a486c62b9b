"""The whole path on RabbitMQ: forward, retries and back, on classic and on quorum queues."""

from __future__ import annotations

import pytest

from backout import Pipeline, RunState
from backout.events import Event
from backout.testing.servers.rabbitmq import RabbitMQ
from tests.integration.brokers.conftest import QUORUM, OpenOn
from tests.support.apps import pipelines
from tests.support.history import assert_entries_explain
from tests.support.stack import COMPENSATION, Stack

ORDERED = ["goods", "money", "parcel"]
ROOMS = list(pipelines.LONG_NAMES)
LATE = {"late": ["error", "ok"]}
"""Its retry has a delay of one second, longer than the tests' limit for countdowns; that of `order` has a short one."""


@pytest.fixture(scope="module", params=["classic", "quorum"])
def stack(request: pytest.FixtureRequest, rabbitmq: RabbitMQ, module_stack_on: OpenOn) -> Stack:
    """A stack with a worker that the tests of this module share."""
    arguments = QUORUM if request.param == "quorum" else {}
    stack = module_stack_on(rabbitmq, queue_arguments=arguments)
    stack.start_worker("--task-events")
    return stack


def test_run_succeeds(stack: Stack) -> None:
    """Several runs at once succeed, each step once."""
    handles = [stack.start(pipelines.ORDER) for _ in range(5)]
    for handle in handles:
        assert stack.settle(handle).state is RunState.SUCCEEDED
        assert stack.world.calls(handle.id) == ORDERED
        assert_entries_explain(handle)
        assert Event.MESSAGE_RESENT not in [entry.event for entry in handle.entries()]


def test_run_is_rolled_back_over_several_chains(stack: Stack) -> None:
    """Eight compensations, three in a chain, run in reverse order, each once, with nothing sent again."""
    handle, run = stack.run(pipelines.LONG, {"room8": ["fail"]})
    assert run.state is RunState.ROLLED_BACK
    assert stack.world.calls(handle.id) == [*ROOMS, *(f"undo {room}" for room in reversed(ROOMS))]
    assert set(stack.states(handle, COMPENSATION).values()) == {"succeeded"}
    assert_entries_explain(handle)
    assert Event.MESSAGE_RESENT not in [entry.event for entry in handle.entries()]


@pytest.mark.parametrize(
    ("pipeline", "script"),
    [(pipelines.ORDER, {"money": ["error", "ok"]}), (pipelines.LATE, LATE)],
    ids=["short", "long"],
)
def test_retry_runs_when_it_is_due(stack: Stack, pipeline: Pipeline, script: dict[str, list[str]]) -> None:
    """A retry comes after its delay: by countdown if short, on a quorum queue always from the ledger."""
    handle, run = stack.run(pipeline, script)
    assert run.state is RunState.SUCCEEDED
    (name,) = script
    assert stack.step(handle, name).attempt == 2
    assert stack.world.effects(handle.id).count(name) == 1
    assert_entries_explain(handle)
    log = stack.workers[0].log_path.read_text()
    assert "may block the worker process until the ETA arrives" not in log
