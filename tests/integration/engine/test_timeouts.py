"""An attempt ends when its time is up: interrupted where the pool can, and by the ledger's deadline where it cannot."""

from __future__ import annotations

import pytest

from backout import ReviewReason, RunState
from backout.events import Event
from tests.integration.engine.conftest import OpenStack
from tests.support.apps import pipelines
from tests.support.history import assert_entries_explain
from tests.support.stack import COMPENSATION, Stack
from tests.support.waiting import wait_until

NEVER = "hold:never"
"""A gate that no test opens."""


def assert_is_retried_after_timeout(stack: Stack) -> None:
    handle, run = stack.run(pipelines.QUICK, {"quick": [NEVER, "ok"]})
    assert run.state is RunState.SUCCEEDED
    retries = [entry for entry in handle.entries() if entry.event is Event.RETRY_SCHEDULED]
    assert [entry.reason for entry in retries] == ["StepTimedOut: quick did not answer within 0.7 s"]
    assert stack.world.calls(handle.id) == ["quick", "quick"]
    assert_entries_explain(handle)


def test_timeout_interrupts_and_counts_as_a_failed_attempt(stack: Stack) -> None:
    """An idempotent step that takes too long is interrupted and tried again by its retry settings."""
    assert_is_retried_after_timeout(stack)


def test_step_that_always_takes_too_long_fails(postgres_stack: Stack) -> None:
    """When the retries are used up, a step that never answers in time has failed, and the run is rolled back."""
    stack = postgres_stack
    handle, run = stack.run(pipelines.QUICK, {"quick": [NEVER]})
    assert run.state is RunState.ROLLED_BACK
    assert stack.step(handle, "quick").attempt == 3
    assert stack.step(handle, "quick").error is not None
    assert stack.states(handle, COMPENSATION) == {"quick": "succeeded"}
    assert stack.world.told(f"{handle.id} quick")["error"]["code"] == "step_timed_out"


def test_timeout_of_a_step_that_may_not_run_again_asks_a_person(stack: Stack) -> None:
    """After a timeout nobody knows whether a write happened: without idempotency a person is asked (R8)."""
    handle, run = stack.run(pipelines.QUICK_ONCE, {"quick_once": [NEVER]})
    assert run.state is RunState.IN_REVIEW
    (review,) = stack.reviews(handle)
    assert review.reason is ReviewReason.CONFIRMATION_MISSING
    assert "did not answer within 0.7 s" in review.evidence["what"]
    assert stack.world.calls(handle.id) == ["quick_once"]
    assert stack.states(handle) == {"quick_once": "in_doubt"}
    assert_entries_explain(handle)


def test_timeout_interrupts_on_a_solo_pool(new_stack: OpenStack) -> None:
    """A solo worker, where Celery's own limits do nothing, interrupts too."""
    stack = new_stack()
    stack.start_worker("--pool", "solo")
    assert_is_retried_after_timeout(stack)


@pytest.fixture(scope="module")
def threads_stack(open_stack: OpenStack) -> Stack:
    stack = open_stack("postgresql")
    stack.start_worker("--pool", "threads", "--concurrency", "4")
    return stack


def test_ledgers_deadline_takes_the_claim_on_threads(threads_stack: Stack) -> None:
    """A thread cannot be interrupted: its claim ends with the deadline, another attempt runs, its answer is late."""
    stack = threads_stack
    handle, run = stack.run(pipelines.QUICK, {"quick": ["hold:thread", "ok"]})
    assert run.state is RunState.SUCCEEDED
    assert Event.CLAIM_RELEASED in [entry.event for entry in handle.entries()]
    stack.world.open("thread")
    late = wait_until(
        lambda: [entry for entry in handle.entries() if entry.event is Event.LATE_RESULT], 15, "the thread has answered"
    )
    assert [entry.attempt for entry in late] == [1]
    assert stack.step(handle, "quick").output == {"step": "quick", "attempt": 2}
    assert stack.world.effects(handle.id) == ["quick"]
    assert_entries_explain(handle)


def test_threads_run_and_roll_back(threads_stack: Stack) -> None:
    """The whole path, forward and back, works on a pool of threads."""
    handles = [threads_stack.start(pipelines.LONG, {"room8": ["fail"]}) for _ in range(6)]
    rooms = list(pipelines.LONG_NAMES)
    for handle in handles:
        assert threads_stack.settle(handle).state is RunState.ROLLED_BACK
        assert threads_stack.world.calls(handle.id) == [*rooms, *(f"undo {room}" for room in reversed(rooms))]
        assert_entries_explain(handle)
