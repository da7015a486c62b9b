"""What the sweeper finds besides lost messages and dead workers: late runs, runs that stand still, unknown steps."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, update

from backout import ReviewReason, RunHandle, RunState
from backout.events import Event
from backout.ledger.models import run, step
from backout.tasks.runtime import runtime_of
from backout.tasks.sweeper import Sweep, sweep_once
from tests.integration.engine.conftest import OpenStack
from tests.support.apps import pipelines
from tests.support.history import assert_entries_explain
from tests.support.ledgers import ENGINE_DATABASES
from tests.support.stack import COMPENSATION, Stack

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class TestDeadline:
    def test_step_that_would_start_too_late_fails_and_the_run_is_rolled_back(self, stack: Stack) -> None:
        """A retry that waits for an hour does not keep a run that had to be finished long before."""
        handle, record = stack.run(pipelines.HURRIED, {"hurried": ["error"]})
        assert record.state is RunState.ROLLED_BACK, stack.story(handle)
        row = stack.step(handle, "hurried")
        assert (row.error or {})["code"] == "run_deadline_passed"
        assert stack.world.calls(handle.id) == ["goods", "hurried", "undo hurried", "undo goods"]
        assert Event.RETRY_HASTENED in [entry.event for entry in handle.entries()]
        assert_entries_explain(handle)

    def test_step_that_was_never_called_is_not_undone(self, stack: Stack) -> None:
        """The deadline passed before its first attempt: it had no effect."""
        handle = stack.start(pipelines.HURRIED, {"goods": ["hold:late"]})
        with stack.engine.begin() as connection:
            connection.execute(update(run).where(run.c.id == handle.id).values(deadline_at=LONG_AGO))
        stack.world.open("late")
        assert stack.settle(handle).state is RunState.ROLLED_BACK, stack.story(handle)
        last = handle.steps()[0]
        assert (last.error or {}).get("code") == "run_deadline_passed" or stack.states(handle)["hurried"] == "failed"
        assert "hurried" not in stack.world.calls(handle.id)
        assert stack.states(handle, COMPENSATION).get("hurried", "skipped") == "skipped"

    def test_run_that_is_in_time_does_not_notice(self, stack: Stack) -> None:
        """It succeeds as any other."""
        _, record = stack.run(pipelines.HURRIED)
        assert record.state is RunState.SUCCEEDED
        assert record.deadline_at is not None
        assert record.deadline_at > record.created_at


@pytest.fixture(params=ENGINE_DATABASES)
def quiet(request: pytest.FixtureRequest, new_stack: OpenStack) -> Stack:
    """A stack without a worker: nobody but the test sweeps."""
    return new_stack(request.param)


def sweep(stack: Stack) -> Sweep:
    with stack.as_current():
        return sweep_once(runtime_of(stack.app))


def set_all(stack: Stack, handle: RunHandle, **values: object) -> None:
    with stack.engine.begin() as connection:
        connection.execute(update(step).where(step.c.run_id == handle.id).values(**values))


class TestStalledRun:
    def test_run_without_a_next_step_is_handed_to_a_person(self, quiet: Stack) -> None:
        """R4: no silent run, even where the engine itself, or somebody with SQL, has made a mistake."""
        handle = quiet.start(pipelines.ORDER)
        with quiet.engine.begin() as connection:
            connection.execute(delete(step).where(step.c.run_id == handle.id))
            connection.execute(update(run).where(run.c.id == handle.id).values(state="running", updated_at=LONG_AGO))
        assert sweep(quiet).stalled == 1
        record = handle.status()
        assert (record.state, record.requires_human_review) == (RunState.IN_REVIEW, True)
        (review,) = quiet.reviews(handle)
        assert review.reason is ReviewReason.SYSTEMS_DISAGREE
        assert "no step that could go on" in review.evidence["what"]
        assert sweep(quiet).stalled == 0

    def test_run_that_goes_on_is_left_alone(self, quiet: Stack) -> None:
        """A run whose step waits for a worker stands still and is no defect."""
        handle = quiet.start(pipelines.ORDER)
        with quiet.engine.begin() as connection:
            connection.execute(update(run).where(run.c.id == handle.id).values(updated_at=LONG_AGO))
        assert sweep(quiet).stalled == 0
        assert handle.status().state is RunState.PENDING


class TestUnknownStep:
    def test_step_that_no_worker_defines_goes_to_a_person(self, quiet: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
        """R10: after many messages that nobody took up somebody must deploy what is missing."""
        handle = quiet.start(pipelines.ORDER)
        set_all(quiet, handle, sends=6, sweep_at=LONG_AGO)
        monkeypatch.setattr("backout.pipelines.functions._functions", {})
        assert sweep(quiet).reviewed == 1
        (review,) = quiet.reviews(handle)
        assert review.reason is ReviewReason.DEFINITION_MISSING
        assert review.evidence["task"].endswith(".goods")
        assert sweep(quiet).found == 0

    def test_until_then_its_message_is_sent_again(self, quiet: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
        """A newer worker may know it; the entry says that this sweeper does not."""
        handle = quiet.start(pipelines.ORDER)
        set_all(quiet, handle, sends=5, sweep_at=LONG_AGO)
        monkeypatch.setattr("backout.pipelines.functions._functions", {})
        assert sweep(quiet).resent == 1
        assert "is unknown to this sweeper" in (handle.entries()[-1].reason or "")

    def test_plan_of_a_newer_release_is_looked_at_later(self, quiet: Stack) -> None:
        """The sweeper that cannot read it does not stumble over it at every look."""
        handle = quiet.start(pipelines.ORDER)
        with quiet.engine.begin() as connection:
            changed = update(run).where(run.c.id == handle.id)
            connection.execute(changed.values(plan={"format": 99}, definition_digest="newer"))
        set_all(quiet, handle, sweep_at=LONG_AGO)
        assert sweep(quiet).found == 0
        (row,) = handle.steps()
        assert row.sweep_at is not None
        assert row.sweep_at > LONG_AGO
