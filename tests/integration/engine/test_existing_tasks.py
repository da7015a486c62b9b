"""Tasks and base classes that a project had before go on working, and become steps."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from backout import RunHandle, RunState
from tests.integration.engine.conftest import OpenStack
from tests.support.apps import pipelines
from tests.support.stack import Stack
from tests.support.waiting import wait_until

LEGACY = "tests.support.apps.legacy"
QUEUE = "parcels"
OpenRun = Callable[[], RunHandle]


@pytest.fixture(scope="module")
def legacy(open_stack: OpenStack) -> Stack:
    stack = open_stack("postgresql")
    stack.start_worker("--queues", f"celery,{QUEUE}", app=LEGACY)
    return stack


def start_legacy(stack: Stack) -> RunHandle:
    said, _ = stack.enqueue_elsewhere("legacy", app=LEGACY).communicate()
    return stack.handle(pipelines.ORDER, json.loads(said)["id"])


def test_existing_tasks_run_as_steps(legacy: Stack) -> None:
    """Existing Celery tasks, bound ones too, run as steps under their own names, with their outputs recorded."""
    handle = start_legacy(legacy)
    assert legacy.settle(handle).state is RunState.SUCCEEDED
    assert legacy.step(handle, "label").output == {"context": "pushed", "customer": "c-1"}
    assert legacy.step(handle, "stamp").output == {"task": f"{LEGACY}.stamp", "context": "pushed"}
    assert legacy.world.calls(handle.id) == ["goods", "label"]


def test_steps_run_inside_the_context_of_a_custom_base(legacy: Stack) -> None:
    """A base class whose `__call__` pushes a context and calls `run` works for steps as for any task."""
    handle = start_legacy(legacy)
    assert legacy.settle(handle).output == "pushed"


@pytest.mark.parametrize(("customer", "ending"), [("lucky", "succeeded in"), ("unlucky", "raised unexpected")])
def test_existing_task_can_be_called_as_before(legacy: Stack, customer: str, ending: str) -> None:
    """A task that is a step too still runs when it is called the usual way: once, outside of the ledger."""
    task_id = f"plain-{customer}"
    sent = legacy.app.send_task(f"{LEGACY}.label", args=({"customer": customer},), task_id=task_id, queue=QUEUE)
    worker = legacy.workers[0]
    wait_until(lambda: f"[{sent.id}] {ending}" in worker.log_path.read_text(), 15, f"the task {ending}")
    assert legacy.world.calls(customer) == ["label"]
    assert legacy.refusals() == []


def test_step_goes_to_the_queue_of_its_task(new_stack: OpenStack) -> None:
    """The step of an existing task is sent to that task's queue with its priority, and run by whoever reads it."""
    stack = new_stack()
    stack.start_worker(app=LEGACY)
    handle = start_legacy(stack)
    # Nobody reads that queue: the sweeper may have sent it once more by now.
    message, *_ = wait_until(lambda: stack.messages(QUEUE), 15, "the message waits in the task's queue")
    assert message.task == f"{LEGACY}.label"
    assert message.properties["priority"] == 3
    assert stack.states(handle) == {"goods": "succeeded", "label": "ready"}
    stack.start_worker("--queues", QUEUE, app=LEGACY)
    assert stack.settle(handle).state is RunState.SUCCEEDED
