"""R10: bad input is refused before anything is written; a message that cannot be understood is kept as an entry."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from sqlalchemy import func, select

from backout import InvalidInput, PayloadTooLarge, RunState
from backout.events import Event
from backout.ledger.models import entry, run, step
from tests.support.apps import pipelines
from tests.support.events import watching
from tests.support.stack import Stack
from tests.support.waiting import wait_until

TASK = f"{pipelines.__name__}.goods"


def count_rows(stack: Stack) -> list[int]:
    """Count what enqueueing writes; the sweeper may be writing entries about other tests' runs meanwhile."""
    created = entry.c.event == Event.RUN_CREATED.value
    statements = [select(func.count()).select_from(run), select(func.count()).select_from(step)]
    with stack.engine.connect() as connection:
        counted = [*statements, select(func.count()).select_from(entry).where(created)]
        return [connection.execute(statement).scalar_one() for statement in counted]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        pytest.param({"script": "no mapping"}, "script", id="wrong-type"),
        pytest.param({"customer": None}, "customer", id="missing"),
        pytest.param(["no", "job"], "goods", id="no-mapping"),
        pytest.param({"customer": ""}, "subject", id="empty-subject"),
    ],
)
def test_invalid_input_writes_nothing(stack: Stack, value: Any, problem: str) -> None:
    """Input that does not fit the steps' type is refused with the field's name, before anything is written."""
    before = count_rows(stack)
    with stack.as_current(), pytest.raises(InvalidInput, match=problem):
        pipelines.ORDER.enqueue(value)
    assert count_rows(stack) == before


def test_input_that_is_too_large_writes_nothing(stack: Stack) -> None:
    """Input above the limit is refused with its size, before anything is written."""
    before = count_rows(stack)
    with stack.as_current(), pytest.raises(PayloadTooLarge, match="1,048,576"):
        pipelines.ORDER.enqueue({"customer": "x" * 1_100_000})
    assert count_rows(stack) == before


def body(**changes: Any) -> dict[str, Any]:
    message = {
        "version": 1,
        "run": str(uuid.uuid4()),
        "round": 1,
        "position": 0,
        "direction": "forward",
        "attempt": 1,
    }
    return {"backout_step": {**message, **changes}}


GARBAGE = [
    pytest.param((1,), {}, "not sent by the engine", id="delayed-by-hand"),
    pytest.param((), {}, "not sent by the engine", id="empty"),
    pytest.param((), {"backout_step": "text"}, "not sent by the engine", id="no-mapping"),
    pytest.param((), body(version=2), "version 2", id="newer-version"),
    pytest.param((), body(direction="sideways"), "damaged", id="wrong-direction"),
    pytest.param((), body(run="no id"), "damaged", id="wrong-id"),
    pytest.param((), body(position=-1), "damaged", id="negative-position"),
    pytest.param((), body(round=10**40), "damaged", id="huge-count"),
    pytest.param((), body(attempt="\x00"), "damaged", id="nul"),
]


@pytest.mark.parametrize(("arguments", "keywords", "problem"), GARBAGE)
def test_message_that_nobody_understands_is_recorded(
    stack: Stack, arguments: tuple[Any, ...], keywords: dict[str, Any], problem: str
) -> None:
    """A message that the engine did not send is kept as an entry with its content, and Celery shows a failure."""
    task_id = str(uuid.uuid4())
    with watching(stack) as watcher:
        stack.app.send_task(TASK, args=arguments, kwargs=keywords, task_id=task_id, ignore_result=True)
        failure = watcher.wait_for(task_id, "task-failed")
    assert "MessageRefused" in failure["exception"]
    (refused,) = (row for row in stack.refusals() if row.detail["task_id"] == task_id)
    assert problem in refused.reason
    assert refused.detail["task"] == TASK
    assert refused.run_id is None
    for said in (*arguments, *keywords.values()):
        assert repr(said) in refused.detail["message"]


def test_message_of_a_run_that_is_not_there_is_recorded(stack: Stack) -> None:
    """A message whose run the ledger does not have runs nothing and is kept as an entry that names the run."""
    task_id, message = str(uuid.uuid4()), body()
    stack.app.send_task(TASK, kwargs=message, task_id=task_id, ignore_result=True)
    (refused,) = wait_until(
        lambda: [row for row in stack.refusals() if row.detail["task_id"] == task_id], 15, "the message is recorded"
    )
    assert refused.run_id == message["backout_step"]["run"]
    assert stack.world.calls(refused.run_id) == []


def test_worker_goes_on_after_garbage(stack: Stack) -> None:
    """After messages that nobody understands the worker runs the next one."""
    stack.app.send_task(TASK, args=(1,), ignore_result=True)
    _, record = stack.run(pipelines.ORDER)
    assert record.state is RunState.SUCCEEDED
