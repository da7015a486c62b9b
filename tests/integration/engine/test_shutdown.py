"""Shutdowns in the middle of a step: a warm one finishes it, a cold one is no failure."""

from __future__ import annotations

import signal

import pytest

from backout import ReviewReason, RunHandle, RunState
from backout.events import Event
from tests.integration.engine.conftest import OpenStack
from tests.support.apps import pipelines
from tests.support.history import assert_entries_explain
from tests.support.ledgers import ENGINE_DATABASES
from tests.support.stack import COMPENSATION, Stack
from tests.support.waiting import wait_until

PARCEL_FAILS = {"parcel": ["fail"]}


def events(handle: RunHandle) -> list[Event]:
    return [entry.event for entry in handle.entries()]


def shut_down_coldly(stack: Stack, handle: RunHandle, gate: str) -> None:
    """Send SIGQUIT while the run's step stands at the gate, and wait for the worker's end."""
    wait_until(lambda: stack.world.is_reached(gate), 15, "the step runs")
    stack.workers[-1].send(signal.SIGQUIT)
    stack.workers[-1].wait_until_ended()
    stack.world.open(gate)


def test_warm_shutdown_finishes_the_step(new_stack: OpenStack) -> None:
    """On SIGTERM the worker finishes the running step and records it; the next worker goes on with the next one."""
    stack = new_stack()
    worker = stack.start_worker()
    handle = stack.start(pipelines.ORDER, {"money": ["hold:warm"]})
    wait_until(lambda: stack.world.is_reached("warm"), 15, "the step runs")
    worker.send(signal.SIGTERM)
    wait_until(lambda: "Warm shutdown" in worker.log, 15, "the worker shuts down")
    stack.world.open("warm")
    assert worker.wait_until_ended() == 0
    assert stack.step(handle, "money").state.value == "succeeded"
    stack.start_worker()
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.world.calls(handle.id) == ["goods", "money", "parcel"]
    assert stack.step(handle, "money").attempt == 1


@pytest.mark.parametrize("database", ENGINE_DATABASES)
def test_cold_shutdown_gives_an_idempotent_step_back(new_stack: OpenStack, database: str) -> None:
    """An idempotent step cut off by SIGQUIT is not failed: its claim is given back and the next worker runs it."""
    stack = new_stack(database)
    stack.start_worker()
    handle = stack.start(pipelines.ORDER, {"money": ["hold:cold", "ok"]})
    shut_down_coldly(stack, handle, "cold")
    assert Event.CLAIM_RELEASED in events(handle)
    assert stack.step(handle, "money").state.value == "ready"
    stack.start_worker()
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert Event.STEP_FAILED not in events(handle)
    assert Event.RETRY_SCHEDULED not in events(handle)
    assert stack.world.effects(handle.id) == ["goods", "money", "parcel"]
    assert_entries_explain(handle)


def test_cold_shutdown_gives_an_idempotent_compensation_back(new_stack: OpenStack) -> None:
    """The same holds for a compensation: the rollback is finished by the next worker."""
    stack = new_stack()
    stack.start_worker()
    handle = stack.start(pipelines.ORDER, {**PARCEL_FAILS, "undo money": ["hold:cold", "ok"]})
    shut_down_coldly(stack, handle, "cold")
    assert stack.step(handle, "money", COMPENSATION).state.value == "ready"
    stack.start_worker()
    assert stack.settle(handle).state is RunState.ROLLED_BACK
    assert stack.world.effects(handle.id)[3:] == ["undo parcel", "undo money", "undo goods"]
    assert_entries_explain(handle)


def test_cold_shutdown_of_a_step_that_may_not_run_again_asks_a_person(new_stack: OpenStack) -> None:
    """A step that is not idempotent and was cut off by SIGQUIT is in doubt, and the run goes to review (R8)."""
    stack = new_stack()
    stack.start_worker()
    handle = stack.start(pipelines.ONCE, {"money_once": ["hold:cold", "ok"]})
    shut_down_coldly(stack, handle, "cold")
    run = stack.settle(handle)
    assert run.state is RunState.IN_REVIEW
    (review,) = stack.reviews(handle)
    assert review.reason is ReviewReason.CONFIRMATION_MISSING
    assert "shutdown" in review.evidence["what"]
    stack.start_worker()
    stack.wait_until_idle()
    assert handle.status() == run
    assert stack.world.calls(handle.id) == ["goods", "money_once"]
    assert_entries_explain(handle)


def test_cold_shutdown_of_a_solo_worker_is_no_failure(new_stack: OpenStack) -> None:
    """On a solo pool SIGQUIT raises inside the step's own code; that is the shutdown's doing, not the step's."""
    stack = new_stack()
    stack.start_worker("--pool", "solo")
    handle = stack.start(pipelines.ORDER, {"money": ["hold:cold", "ok"]})
    shut_down_coldly(stack, handle, "cold")
    stack.start_worker()
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert Event.STEP_FAILED not in events(handle)
    assert Event.RETRY_SCHEDULED not in events(handle)
    assert_entries_explain(handle)
