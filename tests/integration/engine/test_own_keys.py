"""An idempotency key of one's own is unique over runs: what was done under it is not done again."""

from __future__ import annotations

import uuid

from backout import RunHandle, RunState, StepState
from backout.events import Event
from tests.support.apps import pipelines
from tests.support.history import assert_entries_explain
from tests.support.stack import Stack
from tests.support.waiting import wait_until


def reuses(handle: RunHandle) -> list[str]:
    return [entry.detail["run_id"] for entry in handle.entries() if entry.event is Event.RESULT_REUSED]


def test_second_run_takes_the_result_of_the_first(stack: Stack) -> None:
    """A run that meets a recorded success under the same key takes its output and does not run the step."""
    customer = uuid.uuid4().hex
    first, _ = stack.run(pipelines.KEYED, {"keyed": ["error", "ok"]}, customer=customer)
    second, run = stack.run(pipelines.KEYED, customer=customer)
    assert run.state is RunState.SUCCEEDED
    assert stack.step(second, "keyed").output == {"step": "keyed", "attempt": 2}
    assert stack.step(second, "keyed").idempotency_key == customer
    assert reuses(second) == [first.id]
    assert stack.world.calls(first.id) == ["keyed", "keyed", "parcel"]
    assert stack.world.calls(second.id) == ["parcel"]
    assert_entries_explain(second)


def test_run_after_one_that_was_undone_does_it_again(stack: Stack) -> None:
    """A result that was undone is void: the next run under the same key runs the step."""
    customer = uuid.uuid4().hex
    _, undone = stack.run(pipelines.KEYED, {"parcel": ["fail"]}, customer=customer)
    second, run = stack.run(pipelines.KEYED, customer=customer)
    assert undone.state is RunState.ROLLED_BACK
    assert run.state is RunState.SUCCEEDED
    assert reuses(second) == []
    assert stack.world.calls(second.id) == ["keyed", "parcel"]


def test_run_that_took_a_result_does_not_undo_it(stack: Stack) -> None:
    """What another run did is that run's to undo: a rollback passes it by and says so."""
    customer = uuid.uuid4().hex
    _, owner = stack.run(pipelines.KEYED, customer=customer)
    second, run = stack.run(pipelines.KEYED, {"parcel": ["fail"]}, customer=customer)
    assert (owner.state, run.state) == (RunState.SUCCEEDED, RunState.ROLLED_BACK)
    assert "undo keyed" not in stack.world.calls(second.id)
    [passed_by] = [step for step in second.steps() if step.direction == "compensation" and step.step == "keyed"]
    assert passed_by.state is StepState.SKIPPED


def test_run_waits_for_the_one_that_is_just_using_the_key(postgres_stack: Stack) -> None:
    """While another run runs the step under the same key, the second one waits and then takes the result."""
    stack, customer = postgres_stack, uuid.uuid4().hex
    first = stack.start(pipelines.KEYED, {"keyed": ["hold:keyed"]}, customer=customer)
    wait_until(lambda: stack.world.is_reached("keyed"), 15, "the first run runs the step")
    second = stack.start(pipelines.KEYED, customer=customer)
    wait_until(lambda: stack.count_deliveries(second.id) >= 1, 15, "the second run's message is delivered")
    wait_until(lambda: not stack.unacknowledged(run_id=second.id), 15, "the second run's message is acknowledged")
    assert stack.states(second) == {"keyed": "ready"}
    stack.world.open("keyed")
    assert stack.settle(first).state is RunState.SUCCEEDED
    assert stack.settle(second).state is RunState.SUCCEEDED
    assert reuses(second) == [first.id]
    assert stack.world.calls(second.id) == ["parcel"]
