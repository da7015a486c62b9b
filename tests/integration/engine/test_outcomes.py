"""What the ending of a step function means for the step and the run, and that it is recorded."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backout import Pipeline, ReviewReason, RunHandle, RunState
from backout.events import Event
from tests.support.apps import pipelines
from tests.support.history import assert_entries_explain
from tests.support.ledgers import on_each_stack
from tests.support.stack import COMPENSATION, Stack
from tests.support.waiting import wait_until


def delays(handle: RunHandle) -> list[float]:
    """Return the recorded delays before the retries of a run, in order."""
    return [entry.detail["delay_seconds"] for entry in handle.entries() if entry.event is Event.RETRY_SCHEDULED]


@on_each_stack
def test_retries_end_with_success(stack: Stack) -> None:
    """Attempts that fail are recorded with their error and delay, and the first that answers ends them."""
    handle, run = stack.run(pipelines.ORDER, {"money": ["connection:line is dead", "error", "ok"]})
    assert run.state is RunState.SUCCEEDED
    assert run.attempt_count == 5
    assert run.error_summary is None
    assert run.next_retry_at is None
    assert stack.step(handle, "money").attempt == 3
    assert stack.step(handle, "money").error is None
    retries = [entry for entry in handle.entries() if entry.event is Event.RETRY_SCHEDULED]
    assert [entry.reason for entry in retries] == ["ConnectionError: line is dead", "RuntimeError: no answer"]
    assert stack.world.effects(handle.id) == ["goods", "money", "parcel"]
    assert {line.key for line in stack.world.lines(handle.id) if line.what == "money"} == {f"{handle.id}:money"}
    assert_entries_explain(handle)


@pytest.mark.parametrize(
    ("pipeline", "recorded"),
    [
        pytest.param(pipelines.EXPONENTIAL, [0.1, 0.2, 0.3, 0.3], id="exponential-up-to-the-longest"),
        pytest.param(pipelines.LINEAR, [0.1, 0.2, 0.3], id="linear"),
        pytest.param(pipelines.LATE, [1.0, 1.0], id="constant"),
    ],
)
def test_delays_grow_as_the_contract_says(stack: Stack, pipeline: Pipeline, recorded: list[float]) -> None:
    """The limit and the growth of the delays are those of the contract; then the step has failed."""
    handle, run = stack.run(pipeline, {pipeline.steps[0].name: ["error"]})
    assert run.state is RunState.ROLLED_BACK
    assert delays(handle) == recorded
    row = stack.step(handle, pipeline.steps[0].name)
    assert row.attempt == len(recorded) + 1
    times = [line for line in handle.entries() if line.event is Event.ATTEMPT_STARTED]
    for delay, before, after in zip(recorded, times[:-1], times[1:], strict=True):
        # A message with a countdown may be taken up to a second before its time: clocks differ.
        assert (after.at - before.at).total_seconds() >= min(delay, 0.05)


def test_long_delay_is_kept_by_the_ledger(stack: Stack) -> None:
    """A long delay is no message that waits in a worker: the ledger has the time, and nothing is sent before it."""
    handle = stack.start(pipelines.HOURS, {"hours": ["error"]})
    row = wait_until(
        lambda: next((r for r in handle.steps() if r.state.value == "retry_scheduled"), None), 15, "a retry is recorded"
    )
    assert row.next_retry_at is not None
    assert row.sends == 0
    assert row.sweep_at == row.next_retry_at
    run = handle.status()
    assert run.state is RunState.RUNNING
    assert run.next_retry_at is not None
    for instant in (row.next_retry_at, run.next_retry_at):
        assert abs(instant - run.updated_at - timedelta(hours=1)) < timedelta(seconds=1)
    assert run.error_summary == "RuntimeError: no answer"
    stack.wait_until_idle()


def test_sweeper_sends_the_message_of_a_delayed_retry(stack: Stack) -> None:
    """A retry that waited in the ledger is sent by the sweeper when it is due."""
    handle, run = stack.run(pipelines.LATE, {"late": ["error", "ok"]})
    assert run.state is RunState.SUCCEEDED
    (resent,) = (entry for entry in handle.entries() if entry.event is Event.MESSAGE_RESENT)
    assert resent.reason == "retry_scheduled and due"
    first, second = (entry.at for entry in handle.entries() if entry.event is Event.ATTEMPT_STARTED)
    assert second - first >= timedelta(seconds=1)


@pytest.mark.parametrize(
    ("word", "attempts"),
    [
        pytest.param("connection", 3, id="listed"),
        pytest.param("error", 1, id="not-listed"),
        pytest.param("value", 1, id="excluded"),
        pytest.param("fail", 1, id="final-by-itself"),
    ],
)
def test_only_the_exceptions_of_the_contract_are_retried(stack: Stack, word: str, attempts: int) -> None:
    """Retried is what `on` names, subclasses too, except what `never_on` names; `FailStep` never is."""
    handle, run = stack.run(pipelines.CHOOSY, {"choosy": [word]})
    assert run.state is RunState.ROLLED_BACK
    assert stack.step(handle, "choosy").attempt == attempts


def test_retry_step_says_when(stack: Stack) -> None:
    """`RetryStep(after=…)` is tried again after that time, also where the contract retries no other error."""
    handle, run = stack.run(pipelines.CHOOSY, {"choosy": ["retry:0.25", "retry:0.35", "ok"]})
    assert run.state is RunState.SUCCEEDED
    assert delays(handle) == [0.25, 0.35]


def test_retries_are_limited_for_retry_step_too(stack: Stack) -> None:
    """A step that asks to be tried again for ever fails when its retries are used up."""
    handle, run = stack.run(pipelines.CHOOSY, {"choosy": ["retry:0.1"]})
    assert run.state is RunState.ROLLED_BACK
    assert stack.step(handle, "choosy").attempt == 3


def test_skipped_step_is_passed(stack: Stack) -> None:
    """`SkipStep` records the step as skipped, with the reason, and the run goes on."""
    handle, run = stack.run(pipelines.ORDER, {"money": ["skip:nothing to pay"]})
    assert run.state is RunState.SUCCEEDED
    assert stack.states(handle) == {"goods": "succeeded", "money": "skipped", "parcel": "succeeded"}
    assert [entry.reason for entry in handle.entries() if entry.event is Event.STEP_SKIPPED] == ["nothing to pay"]
    assert_entries_explain(handle)


def test_park_run_keeps_what_was_done(stack: Stack) -> None:
    """`ParkRun` leaves the run parked with everything that was done."""
    handle, run = stack.run(pipelines.ORDER, {"money": ["park:the bank holiday"]})
    assert run.state is RunState.PARKED
    assert run.error_summary == "ParkRun: the bank holiday"
    assert run.operator_state == "goods_done_money_pending"
    assert stack.world.calls(handle.id) == ["goods", "money"]
    assert stack.states(handle, COMPENSATION) == {}
    assert_entries_explain(handle)


@on_each_stack
def test_ask_human_opens_a_review_with_its_reason(stack: Stack) -> None:
    """`AskHuman` opens a review under the reason code given, and undoes nothing."""
    handle, run = stack.run(pipelines.ORDER, {"money": ["ask:credentials_failed"]})
    assert run.state is RunState.IN_REVIEW
    assert run.requires_human_review
    (review,) = stack.reviews(handle)
    assert review.reason is ReviewReason.CREDENTIALS_FAILED
    assert review.step == "money"
    assert review.evidence["last_successful_step"] == "goods"
    assert review.evidence["external_ids"] == {"goods": "goods-1", "money": "money-1"}
    assert stack.world.calls(handle.id) == ["goods", "money"]
    assert_entries_explain(handle)


def test_on_failure_park(stack: Stack) -> None:
    """With `on_failure="park"` a step that failed for good leaves the run parked, nothing undone."""
    handle, run = stack.run(pipelines.PARKING, {"money_park": ["error"]})
    assert run.state is RunState.PARKED
    assert stack.step(handle, "money_park").attempt == 3
    assert stack.states(handle) == {"goods": "succeeded", "money_park": "failed"}
    assert_entries_explain(handle)


def test_on_failure_continue(stack: Stack) -> None:
    """With `on_failure="continue"` the failure is recorded and the run goes on to its end."""
    handle, run = stack.run(pipelines.CONTINUING, {"money_continue": ["error"]})
    assert run.state is RunState.SUCCEEDED
    assert run.error_summary == "RuntimeError: no answer"
    assert stack.states(handle) == {"goods": "succeeded", "money_continue": "failed", "parcel": "succeeded"}
    assert_entries_explain(handle)


def test_on_failure_review(stack: Stack) -> None:
    """With `on_failure="review"` a person is asked when the retries are used up."""
    handle, run = stack.run(pipelines.REVIEWING, {"money_review": ["error"]})
    assert run.state is RunState.IN_REVIEW
    (review,) = stack.reviews(handle)
    assert review.reason is ReviewReason.RETRIES_EXHAUSTED_AFTER_WRITE
    assert stack.states(handle) == {"goods": "succeeded", "money_review": "failed"}
    assert_entries_explain(handle)
