"""The messages as they stand in the broker: what Flower shows, where they go, how large they are."""

from __future__ import annotations

import ast

from backout import RunHandle, RunState
from tests.integration.engine.conftest import OpenStack
from tests.support.apps import pipelines
from tests.support.apps.making import LINKS
from tests.support.corners import Message
from tests.support.events import watching
from tests.support.stack import COMPENSATION, Stack
from tests.support.waiting import wait_until


def wait_for_message(stack: Stack, handle: RunHandle, queue: str = "nobody") -> Message:
    """Return the message of a run that waits in a queue which no worker reads."""
    waiting = wait_until(lambda: stack.messages(queue, run_id=handle.id), 15, f"a message of {handle.id} in {queue}")
    return waiting[0]


def test_first_message_is_the_root_of_the_tree(new_stack: OpenStack) -> None:
    """The first message has the run's id, is its own root, and reads as run, pipeline, step and attempt in Flower."""
    stack = new_stack()
    handle = stack.start(pipelines.ORDER)
    message = wait_for_message(stack, handle, "celery")
    assert message.headers["id"] == handle.id
    assert message.headers["root_id"] == handle.id
    assert message.headers["parent_id"] is None
    assert message.headers["argsrepr"] == "()"
    assert ast.literal_eval(message.headers["kwargsrepr"]) == {
        "run": handle.id,
        "pipeline": "order",
        "step": "goods",
        "direction": "forward",
        "attempt": 1,
    }
    assert message.task == f"{pipelines.__name__}.goods"
    assert message.headers["ignore_result"]
    assert message.headers["retries"] == 0


def test_message_carries_ids_only(new_stack: OpenStack) -> None:
    """A forward message holds ids and counts; neither the input nor an output."""
    stack = new_stack()
    handle = stack.start(pipelines.ORDER, {"goods": ["ok:a secret"]})
    message = wait_for_message(stack, handle, "celery")
    assert message.arguments == []
    assert message.keywords == {
        "backout_step": {
            "version": 1,
            "run": handle.id,
            "round": 1,
            "position": 0,
            "direction": "forward",
            "attempt": 1,
        },
    }
    assert "a secret" not in str(message.stored)
    assert message.chain == []


def test_size_of_a_message_does_not_grow_with_the_pipeline(new_stack: OpenStack) -> None:
    """The forward messages of a pipeline of 3 and one of 300 steps have the same size."""
    stack = new_stack()
    sizes = set()
    for pipeline in (pipelines.SHORT_LINE, pipelines.LONG_LINE):
        handle = stack.start(pipeline)
        sizes.add(wait_for_message(stack, handle, "celery").size_bytes)
    (size_bytes,) = sizes
    assert size_bytes < 2_000


def test_options_of_a_step_go_with_its_message(postgres_stack: Stack) -> None:
    """Queue and priority of a step are those of its message, and its parent in Flower is the step before."""
    stack = postgres_stack
    handle = stack.start(pipelines.UNHEARD)
    message = wait_for_message(stack, handle)
    assert message.properties["delivery_info"]["routing_key"] == "nobody"
    assert message.properties["priority"] == 7
    assert message.headers["root_id"] == handle.id
    assert message.headers["parent_id"] == handle.id
    assert message.headers["id"] == stack.step(handle, "unheard").task_id


def test_options_of_a_step_reach_its_celery_task(postgres_stack: Stack) -> None:
    """What belongs to the task class in the worker, such as a rate limit, is set on the step's own Celery task."""
    task = postgres_stack.app.tasks[f"{pipelines.__name__}.stuck"]
    assert task.rate_limit == "100/s"
    assert task.acks_late
    assert task.reject_on_worker_lost
    assert task.ignore_result


def test_rollback_is_a_celery_chain(postgres_stack: Stack) -> None:
    """The compensations travel as one Celery chain in the order of undoing, with their recorded task ids."""
    stack = postgres_stack
    handle = stack.start(pipelines.STUCK, {"stuck": ["fail"]})
    message = wait_for_message(stack, handle)
    links = [(message.task, message.headers["id"])]
    links += [(link["task"], link["options"]["task_id"]) for link in reversed(message.chain)]
    names = ["stuck", "money", "goods"]
    module = pipelines.__name__
    assert links == [(f"{module}.undo_{name}", stack.step(handle, name, COMPENSATION).task_id) for name in names]
    assert all(link["immutable"] for link in message.chain)
    assert message.headers["root_id"] == handle.id
    assert message.headers["parent_id"] == stack.step(handle, "stuck").task_id


def test_chain_is_cut_at_its_longest(postgres_stack: Stack) -> None:
    """A chain has at most `chain_links` compensations, so that its messages stay small."""
    stack = postgres_stack
    handle = stack.start(pipelines.STUCK_LONG, {"stuck": ["fail"]})
    message = wait_for_message(stack, handle)
    assert len(stack.states(handle, COMPENSATION)) > LINKS
    assert len(message.chain) == LINKS - 1


def test_flower_sees_one_tree(postgres_stack: Stack) -> None:
    """Steps, the failure and the compensations of a run are one tree of tasks, each the child of its cause."""
    stack = postgres_stack
    with watching(stack) as watcher:
        handle, run = stack.run(pipelines.LONG, {"room8": ["fail"]})
        assert run.state is RunState.ROLLED_BACK
        failed = stack.step(handle, "room8")
        tasks = [row.task_id for row in handle.steps()]
        # Several processes tell, the worker of its messages and its children of what their bursts go on with.
        for task_id in tasks:
            watcher.wait_for(task_id, "task-failed" if task_id == failed.task_id else "task-succeeded")
    seen = {event["uuid"]: event["parent_id"] for event in watcher.of_root(handle.id)}
    assert seen == dict(zip(tasks, [None, *tasks[:-1]], strict=True))
    kinds = {row.task_id: watcher.of(row.task_id)[-1] for row in handle.steps()}
    assert [kind for kind in kinds.values() if kind != "task-succeeded"] == ["task-failed"]
