"""What a person does about a run, with real workers: it comes to its right end, and nothing is done twice."""

from __future__ import annotations

from typing import TypedDict

import pytest

import backout
from backout import (
    ActionRefused,
    Request,
    ReviewDecision,
    ReviewReason,
    RollbackOutcome,
    RunState,
    StateChanged,
    Verb,
)
from backout.events import Event
from backout.jsontext import JsonValue
from tests.support.apps import pipelines
from tests.support.ledgers import on_each_stack, on_postgres_stack
from tests.support.stack import COMPENSATION, Stack
from tests.support.waiting import wait_until


class Who(TypedDict):
    """Who asks, and why."""

    actor: str
    reason: str


BY = Who(actor="ada", reason="the provider is back")


@on_each_stack
def test_parked_run_is_resumed_at_its_step(stack: Stack) -> None:
    """What was done stays, and the step that failed runs again with its retries again, under the same key."""
    handle, run = stack.run(pipelines.PARKING, {"money_park": ["error", "error", "error", "error", "ok"]})
    assert run.state is RunState.PARKED
    done = backout.resume(handle, **BY)
    assert done.state is RunState.RUNNING
    assert [task.step for task in done.tasks] == ["money_park"]
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.world.calls(handle.id) == ["goods", *["money_park"] * 5]
    assert len({line.key for line in stack.world.lines(handle.id) if line.what == "money_park"}) == 1
    row = stack.step(handle, "money_park")
    assert (row.attempt, row.forgiven_attempts) == (5, 3)
    resumed = next(entry for entry in handle.entries() if entry.event is Event.RUN_RESUMED)
    assert (resumed.actor, resumed.reason) == ("ada", "the provider is back")
    reopened = next(entry for entry in handle.entries() if entry.event is Event.STEP_REOPENED)
    assert reopened.detail["error"]["message"] == "no answer"


@on_each_stack
def test_run_that_succeeded_is_rolled_back_and_started_again(stack: Stack) -> None:
    """A late rollback undoes everything; a restart is a new round under new keys, and can be rolled back again."""
    handle, run = stack.run(pipelines.ORDER)
    assert run.state is RunState.SUCCEEDED
    backout.rollback(handle, actor="ada", reason="the customer sent it back")
    run = stack.settle(handle)
    assert (run.state, run.rollback_outcome) == (RunState.ROLLED_BACK, RollbackOutcome.COMPLETE)
    assert run.operator_state == "parcel_done_rolled_back"
    told = stack.world.told(f"{handle.id} goods")
    assert (told["cause"], told["requested_by"]) == ("the customer sent it back", "ada")
    backout.resume(handle, actor="ada", reason="and wants it after all")
    run = stack.settle(handle)
    assert (run.state, run.round, run.operator_state) == (RunState.SUCCEEDED, 2, "parcel_done")
    backout.rollback(handle, actor="ada", reason="no, not after all")
    assert stack.settle(handle).state is RunState.ROLLED_BACK
    once = ["goods", "money", "parcel", "undo parcel", "undo money", "undo goods"]
    assert stack.world.calls(handle.id) == [*once, *once]
    keys = [line.key for line in stack.world.lines(handle.id)]
    assert len(set(keys)) == len(keys)
    assert [step.state.value for step in handle.steps()] == [*["undone"] * 3, *["succeeded"] * 3] * 2


@on_each_stack
def test_rollback_to_a_step_leaves_the_run_paused_there(stack: Stack) -> None:
    """What stands is not repeated when the run is resumed."""
    handle, _ = stack.run(pipelines.ORDER)
    backout.rollback(handle, actor="ada", reason="another courier", to_step="goods")
    assert stack.settle(handle).state is RunState.PAUSED
    assert stack.states(handle, COMPENSATION) == {"parcel": "succeeded", "money": "succeeded"}
    backout.resume(handle, **BY)
    assert stack.settle(handle).state is RunState.SUCCEEDED
    forward = ["goods", "money", "parcel"]
    assert stack.world.calls(handle.id) == [*forward, "undo parcel", "undo money", "money", "parcel"]


@on_postgres_stack
def test_restart_repeats_nothing_that_was_kept(stack: Stack) -> None:
    """A note that stays by contract is not written again; what only reads is read again."""
    handle, _ = stack.run(pipelines.KEEPING, {"parcel": ["fail:no courier", "ok"]})
    assert handle.status().state is RunState.ROLLED_BACK
    backout.resume(handle, **BY)
    run = stack.settle(handle)
    assert run.state is RunState.ROLLED_BACK
    assert [line.what for line in stack.world.lines(handle.id)].count("note") == 1
    assert stack.world.calls(handle.id).count("look") == 2


@on_postgres_stack
def test_restart_begins_at_the_first_step_that_was_undone(stack: Stack) -> None:
    """Also where the step that failed is kept by contract: what comes before it was taken back, and runs again."""
    handle, run = stack.run(pipelines.KEPT_LAST, {"note_choosy": ["fail:no ink"]})
    assert run.state is RunState.ROLLED_BACK
    backout.resume(handle, **BY)
    run = stack.settle(handle)
    assert (run.state, run.round) == (RunState.ROLLED_BACK, 2)
    once = ["goods", "note_choosy", "undo goods"]
    assert stack.world.calls(handle.id) == [*once, *once]
    keys = [line.key for line in stack.world.lines(handle.id) if line.what == "note_choosy"]
    assert len(set(keys)) == 1, "it may have happened in the first round: the provider must recognise it"


@on_each_stack
def test_halted_rollback_goes_on_after_its_compensation_runs_again(stack: Stack) -> None:
    """The compensation that failed runs again with its real arguments, and the ones after it follow."""
    script = {"parcel": ["fail:no courier"], "undo money": ["fail:refused", "ok"]}
    handle, run = stack.run(pipelines.ORDER, script)
    assert run.state is RunState.IN_REVIEW
    (review,) = stack.reviews(handle)
    assert review.reason is ReviewReason.COMPENSATION_FAILED
    seen = backout.preview(handle, Request(verb=Verb.CONTINUE_ROLLBACK))
    assert [(task.kind, task.step) for task in seen.tasks] == [("undo", "money"), ("undo", "goods")]
    assert seen.tasks[0].given["output"] == {"step": "money", "attempt": 1}
    backout.continue_rollback(handle, expecting=seen.version, **BY)
    run = stack.settle(handle)
    assert (run.state, run.rollback_outcome) == (RunState.ROLLED_BACK, RollbackOutcome.COMPLETE)
    assert stack.world.calls(handle.id).count("undo money") == 2
    assert stack.world.calls(handle.id)[-1] == "undo goods"
    (review,) = stack.reviews(handle)
    assert (review.decision, review.decided_by) == ("continue_rollback", "ada")
    assert not run.requires_human_review


@on_postgres_stack
def test_one_compensation_runs_again_after_everything_was_undone(stack: Stack) -> None:
    """R6: a compensation that succeeded runs again only because a person asks, and only that one."""
    handle, _ = stack.run(pipelines.ORDER, {"parcel": ["fail:no courier"]})
    done = backout.rerun_compensation(handle, "money", actor="ada", reason="the refund did not arrive")
    assert [task.step for task in done.tasks] == ["money"]
    run = stack.settle(handle)
    assert (run.state, run.rollback_outcome) == (RunState.ROLLED_BACK, RollbackOutcome.COMPLETE)
    assert stack.world.calls(handle.id).count("undo money") == 2
    assert stack.world.calls(handle.id).count("undo goods") == 1
    keys = {line.key for line in stack.world.lines(handle.id) if line.what == "undo money"}
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("decision", "ends", "calls"),
    [
        (ReviewDecision.DONE, RunState.SUCCEEDED, ["goods", "money_once", "parcel"]),
        (ReviewDecision.NOT_DONE, RunState.SUCCEEDED, ["goods", "money_once", "money_once", "parcel"]),
        (ReviewDecision.ACCEPT, RunState.FAILED, ["goods", "money_once"]),
    ],
)
@on_postgres_stack
def test_person_decides_about_a_step_in_doubt(
    stack: Stack, decision: ReviewDecision, ends: RunState, calls: list[str]
) -> None:
    """R8: only a person's word lets a step in doubt run again, or count as done."""
    handle, run = stack.run(pipelines.ONCE, {"money_once": ["die", "ok"]})
    assert run.state is RunState.IN_REVIEW
    with pytest.raises(ActionRefused, match="may have happened"):
        backout.retry_step(handle, **BY)
    (review,) = stack.reviews(handle)
    output: JsonValue = {"step": "money_once", "attempt": 1} if decision is ReviewDecision.DONE else None
    with stack.as_current():
        backout.resolve(review.id, decision, output=output, actor="ada", reason="seen in the dashboard")
    run = stack.settle(handle)
    assert run.state is ends
    assert stack.world.calls(handle.id) == calls
    assert not run.requires_human_review


@on_postgres_stack
def test_output_that_does_not_fit_is_refused(stack: Stack) -> None:
    """What a person gives as output is checked like what the step returns; nothing is written."""
    handle, _ = stack.run(pipelines.ONCE, {"money_once": ["die", "ok"]})
    (review,) = stack.reviews(handle)
    before = handle.entries()
    with stack.as_current(), pytest.raises(ActionRefused, match="does not fit what money_once returns"):
        backout.resolve(review.id, "done", output={"attempt": "none"}, actor="ada", reason="seen")
    assert handle.entries() == before


@on_postgres_stack
def test_paused_run_starts_nothing_and_goes_on_when_resumed(stack: Stack) -> None:
    """An attempt that runs goes on; what would follow waits, also when its message comes."""
    handle = stack.start(pipelines.ORDER, {"money": ["hold:middle"]})
    wait_until(lambda: stack.world.is_reached("middle"), 15, "the step runs")
    done = backout.pause(handle, actor="ada", reason="wait for finance")
    assert done.state is RunState.PAUSED
    assert "is running" in done.notes[0]
    with pytest.raises(ActionRefused, match="is running"):
        backout.rollback(handle, **BY)
    stack.world.open("middle")
    wait_until(lambda: stack.states(handle).get("money") == "succeeded" or None, 15, "its outcome is recorded")
    wait_until(lambda: stack.states(handle).get("parcel") in ("ready", "pending") or None, 15, "the next one waits")
    assert handle.status().state is RunState.PAUSED
    backout.resume(handle, actor="ada", reason="finance agrees")
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.world.calls(handle.id) == ["goods", "money", "parcel"]


@on_postgres_stack
def test_failure_in_a_paused_run_waits_too(stack: Stack) -> None:
    """A step that fails for good while its run is paused starts no rollback; resumed, it is tried again."""
    handle = stack.start(pipelines.LOSING, {"money_lost": ["hold:never", "ok"]})
    wait_until(lambda: stack.world.is_reached("never"), 15, "the step runs")
    backout.pause(handle, actor="ada", reason="wait")
    wait_until(lambda: stack.states(handle).get("money_lost") == "failed" or None, 15, "its time is up")
    assert handle.status().state is RunState.PAUSED
    assert stack.states(handle, COMPENSATION) == {}
    backout.resume(handle, **BY)
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.world.calls(handle.id) == ["goods", "money_lost", "money_lost"]


@on_postgres_stack
def test_doubt_in_a_paused_run_is_asked_about_when_it_is_resumed(stack: Stack) -> None:
    """R8 holds while a run is paused: nothing runs again before its reconcile function was asked."""
    handle = stack.start(pipelines.SLOW, {"money_slow": ["hold:not yet", "ok"]})
    wait_until(lambda: stack.world.is_reached("not yet"), 15, "the step runs")
    backout.pause(handle, actor="ada", reason="wait")
    wait_until(lambda: stack.states(handle).get("money_slow") == "in_doubt" or None, 15, "its time is up")
    assert handle.status().state is RunState.PAUSED
    backout.resume(handle, **BY)
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.world.calls(handle.id) == ["goods", "money_slow"]


@on_postgres_stack
def test_paused_run_is_cancelled_with_a_rollback(stack: Stack) -> None:
    """What has not started never does, and what was done is undone."""
    handle = stack.start(pipelines.ORDER, {"money": ["hold:before the parcel"]})
    wait_until(lambda: stack.world.is_reached("before the parcel"), 15, "the step runs")
    backout.pause(handle, actor="ada", reason="wait")
    stack.world.open("before the parcel")
    wait_until(lambda: stack.states(handle).get("money") == "succeeded" or None, 15, "its outcome is recorded")
    backout.cancel(handle, actor="ada", reason="no need", with_rollback=True)
    assert stack.settle(handle).state is RunState.ROLLED_BACK
    assert stack.world.calls(handle.id) == ["goods", "money", "undo money", "undo goods"]
    assert stack.states(handle)["parcel"] == "skipped"


@on_postgres_stack
def test_cancelled_run_is_left_as_it_is_and_can_be_resumed(stack: Stack) -> None:
    """Nothing runs after a cancellation; what was done stays, and a person may change their mind."""
    handle = stack.start(pipelines.HOURS, {"hours": ["error", "ok"]})
    wait_until(lambda: stack.states(handle).get("hours") == "retry_scheduled" or None, 15, "it waits for an hour")
    backout.cancel(handle, actor="ada", reason="not wanted any more")
    assert handle.status().state is RunState.CANCELLED
    backout.resume(handle, actor="ada", reason="wanted again")
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.world.calls(handle.id) == ["hours", "hours"]


@on_postgres_stack
def test_scheduled_retry_is_made_now(stack: Stack) -> None:
    """Whoever knows that the provider is back does not wait for an hour."""
    handle = stack.start(pipelines.HOURS, {"hours": ["error", "ok"]})
    wait_until(lambda: stack.states(handle).get("hours") == "retry_scheduled" or None, 15, "it waits for an hour")
    backout.retry_step(handle, **BY)
    assert stack.settle(handle).state is RunState.SUCCEEDED


@on_postgres_stack
def test_step_is_skipped(stack: Stack) -> None:
    """The run goes on without the step; a later rollback still undoes what it may have done."""
    handle, _ = stack.run(pipelines.REVIEWING, {"money_review": ["fail:no account"]})
    backout.skip_step(handle, actor="ada", reason="paid in cash", step="money_review")
    run = stack.settle(handle)
    assert run.state is RunState.SUCCEEDED
    assert run.operator_state == "goods_done_money_review_failed"
    backout.rollback(handle, actor="ada", reason="sent back")
    assert stack.settle(handle).state is RunState.ROLLED_BACK
    assert stack.world.calls(handle.id) == ["goods", "money_review", "undo money_review", "undo goods"]


@on_postgres_stack
def test_no_rollback_passes_an_irreversible_step_without_a_word(stack: Stack) -> None:
    """R7: only with a reason; then the others are undone, and the record says that it is not all."""
    handle, run = stack.run(pipelines.IRREVERSIBLE, {"parcel": ["fail:no courier"]})
    assert run.state is RunState.IN_REVIEW
    with pytest.raises(ActionRefused, match="cannot be undone"):
        backout.rollback(handle, **BY)
    backout.rollback(handle, actor="ada", reason="agreed", across_irreversible="the customer keeps the letter")
    run = stack.settle(handle)
    assert (run.state, run.rollback_outcome) == (RunState.FAILED, RollbackOutcome.PARTIAL)
    assert stack.states(handle) == {"goods": "undone", "letter": "succeeded", "parcel": "failed"}


@on_postgres_stack
def test_second_operator_is_told(stack: Stack) -> None:
    """R13: of two who have seen the same, one wins, and the other is told what changed, and by whom."""
    handle, _ = stack.run(pipelines.PARKING, {"money_park": ["fail:no account", "ok"]})
    wanted = Request(verb=Verb.RESUME)
    seen_by_ada, seen_by_ben = backout.preview(handle, wanted), backout.preview(handle, wanted)
    assert seen_by_ada.version == seen_by_ben.version
    backout.act(handle, wanted, actor="ada", reason="go on", expecting=seen_by_ada.version)
    with pytest.raises(StateChanged, match="decided on what the preview showed"):
        backout.act(handle, wanted, actor="ben", reason="go on", expecting=seen_by_ben.version)
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.world.calls(handle.id).count("money_park") == 2


@on_postgres_stack
def test_next_safe_actions_say_what_may_have_happened(stack: Stack) -> None:
    """The words name the step, the attempt that was cut off, and the key to ask the provider for."""
    handle, _ = stack.run(pipelines.ONCE, {"money_once": ["die", "ok"]})
    actions = backout.next_safe_actions(handle)
    done = next(a for a in actions if a.request.decision is ReviewDecision.DONE)
    assert done.is_possible
    assert not done.is_safe
    assert "money_once may have happened: attempt 1 was cut off before it answered" in done.why
    assert f"{handle.id}:money_once" in done.why
    retry = next(a for a in actions if a.request.verb is Verb.RETRY_STEP)
    assert not retry.is_possible
    assert "resolve" in retry.why


@pytest.mark.parametrize("word", ["doubt", "ask:confirmation_missing", "ask:may_have_duplicated"])
@on_postgres_stack
def test_step_that_does_not_know_whether_it_happened_is_in_doubt(stack: Stack, word: str) -> None:
    """R8: a request without an answer is no failure that a retry mends; only what a person knows lets it run again."""
    handle, run = stack.run(pipelines.ONCE, {"money_once": [word, "ok"]})
    assert run.state is RunState.IN_REVIEW
    assert stack.states(handle)["money_once"] == "in_doubt"
    with pytest.raises(ActionRefused, match="may have happened"):
        backout.retry_step(handle, **BY)
    assert stack.world.calls(handle.id) == ["goods", "money_once"]


@on_postgres_stack
def test_step_in_doubt_is_asked_about_and_not_repeated(stack: Stack) -> None:
    """The step says that no answer came; its reconcile function finds the effect, and the run goes on."""
    handle, run = stack.run(pipelines.ASKED, {"money_asked": ["doubt"]})
    assert run.state is RunState.SUCCEEDED
    assert stack.world.calls(handle.id) == ["goods", "money_asked", "parcel"]


@on_postgres_stack
def test_output_of_a_restarted_run_is_its_last_steps(stack: Stack) -> None:
    """Also where the last step stands from an earlier round, and another one closes the run."""
    handle, _ = stack.run(pipelines.NOTED, {"goods": ["retry:0", "ok"]})
    backout.rollback(handle, actor="ada", reason="sent back")
    assert stack.settle(handle).state is RunState.ROLLED_BACK
    backout.resume(handle, actor="ada", reason="wanted again")
    run = stack.settle(handle)
    assert run.state is RunState.SUCCEEDED
    assert stack.world.calls(handle.id) == ["goods", "goods", "note", "undo goods", "goods", "goods"]
    assert run.output == {"step": "note", "attempt": 1}
