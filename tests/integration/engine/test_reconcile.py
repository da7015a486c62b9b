"""A step in doubt is asked about before it runs again or is undone, as a task of its own (R8)."""

from __future__ import annotations

from typing import Any

import pytest

from backout import Direction, ReviewReason, RollbackOutcome, RunHandle, RunState
from backout.events import Event
from backout.faultpoints import FaultPoint
from backout.ledger.records import EntryRecord
from tests.integration.engine.conftest import OpenStack
from tests.support.apps import pipelines
from tests.support.apps.pipelines import INSIDE
from tests.support.history import assert_entries_explain
from tests.support.stack import COMPENSATION, Stack

ASKED_STEP = "money_asked"
HAPPENED = (INSIDE, FaultPoint.AFTER_CALL.value, FaultPoint.BEFORE_COMMIT.value)
DOUBTFUL = (FaultPoint.AFTER_CLAIM.value, *HAPPENED)


def answers(handle: RunHandle) -> list[dict[str, Any]]:
    """Return what the questions of a run were answered, in order."""
    return [entry.detail for entry in handle.entries() if entry.event is Event.QUESTION_ANSWERED]


def started(handle: RunHandle, direction: Direction) -> list[EntryRecord]:
    """Return the attempts of a direction."""
    return [e for e in handle.entries() if e.event is Event.ATTEMPT_STARTED and e.direction is direction]


@pytest.mark.parametrize("point", DOUBTFUL)
def test_killed_step_is_asked_about_and_its_effect_exists_once(stack: Stack, point: str) -> None:
    """Wherever its child is killed: what has happened is taken as done, what has not happened runs again."""
    handle = stack.start(pipelines.ASKED, faults={f"{ASKED_STEP} {point}": "kill child"})
    run = stack.settle(handle)
    story = stack.story(handle)
    assert run.state is RunState.SUCCEEDED, story
    assert stack.world.calls(handle.id) == ["goods", ASKED_STEP, "parcel"], story
    (answer,) = answers(handle)
    assert answer["answer"] == ("done" if point in HAPPENED else "not_done"), story
    row = stack.step(handle, ASKED_STEP)
    assert (row.attempt, row.lost_attempts) == (1 if point in HAPPENED else 2, 1)
    assert row.output == {"step": ASKED_STEP, "attempt": row.attempt}
    assert run.error_summary is None
    assert_entries_explain(handle)


def test_whole_worker_is_killed_and_another_one_asks(new_stack: OpenStack) -> None:
    """The question is sent by the sweeper of whatever worker lives."""
    stack = new_stack()
    handle = stack.start(pipelines.ASKED, faults={f"{ASKED_STEP} {INSIDE}": "kill worker"})
    stack.start_worker().wait_until_ended()
    stack.start_worker()
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.world.calls(handle.id) == ["goods", ASKED_STEP, "parcel"]
    assert [answer["answer"] for answer in answers(handle)] == ["done"]


def test_killed_child_is_noticed_at_once(new_stack: OpenStack) -> None:
    """The message that Celery gives back when a process has died is enough: nobody waits for a lease of an hour."""
    stack = new_stack(settings={"backout_lease_seconds": 3600})
    stack.start_worker()
    handles = [
        stack.start(pipelines.ASKED, faults={f"{ASKED_STEP} {INSIDE}": "kill child"}),
        stack.start(pipelines.ORDER, faults={f"money {INSIDE}": "kill child"}),
    ]
    for handle in handles:
        assert stack.settle(handle).state is RunState.SUCCEEDED, stack.story(handle)
        assert len(stack.world.effects(handle.id)) == 3
        assert_entries_explain(handle)


def test_timeout_of_a_step_is_asked_about(postgres_stack: Stack) -> None:
    """A step that was interrupted has perhaps happened; the bank knows."""
    stack = postgres_stack
    handle = stack.start(pipelines.QUICK_ASKED, {"quick_asked": ["hold:never"]})
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.world.calls(handle.id) == ["quick_asked"]
    assert [answer["answer"] for answer in answers(handle)] == ["done"]


def test_reconcile_has_its_own_retries(postgres_stack: Stack) -> None:
    """The bank may be busy; the question is asked again as its own retry rule says."""
    stack = postgres_stack
    script = {f"find {ASKED_STEP}": ["connection", "error", "ok"]}
    handle = stack.start(pipelines.ASKED, script, faults={f"{ASKED_STEP} {INSIDE}": "kill child"})
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert len(started(handle, Direction.RECONCILE)) == 3
    assert stack.step(handle, ASKED_STEP, Direction.RECONCILE).attempt == 3
    assert_entries_explain(handle)


@pytest.mark.parametrize(
    ("word", "what"),
    [
        ("unknown:the bank is closed", "the bank is closed"),
        ("connection:line is dead", "ConnectionError: line is dead"),
        ("forget", "the output cannot be recorded"),
    ],
    ids=["unknown", "never-answers", "forgets-to-return"],
)
def test_what_nobody_can_tell_goes_to_a_person(postgres_stack: Stack, word: str, what: str) -> None:
    """The run waits with everything that was found out, and nothing runs a second time."""
    stack = postgres_stack
    script = {f"find {ASKED_STEP}": [word]}
    handle = stack.start(pipelines.ASKED, script, faults={f"{ASKED_STEP} {INSIDE}": "kill child"})
    run = stack.settle(handle)
    assert (run.state, run.requires_human_review) == (RunState.IN_REVIEW, True)
    assert run.operator_state == "goods_done_money_asked_in_doubt_in_review"
    (review,) = stack.reviews(handle)
    assert (review.reason, review.step) == (ReviewReason.CONFIRMATION_MISSING, ASKED_STEP)
    assert review.direction is Direction.FORWARD
    assert what in review.evidence["what"]
    assert review.evidence["external_ids"] == {"goods": "goods-1", ASKED_STEP: f"{ASKED_STEP}-1"}
    assert stack.world.calls(handle.id) == ["goods", ASKED_STEP]
    assert stack.states(handle) == {"goods": "succeeded", ASKED_STEP: "in_doubt"}
    assert_entries_explain(handle)


def test_question_whose_worker_is_killed_is_asked_again(postgres_stack: Stack) -> None:
    """It only reads."""
    stack = postgres_stack
    faults = {f"{ASKED_STEP} {INSIDE}": "kill child", f"find {ASKED_STEP} {INSIDE}": "kill child"}
    handle = stack.start(pipelines.ASKED, faults=faults)
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.world.calls(handle.id) == ["goods", ASKED_STEP, "parcel"]
    assert len(started(handle, Direction.RECONCILE)) == 2
    assert_entries_explain(handle)


def test_step_that_kills_its_worker_each_time_goes_to_a_person(postgres_stack: Stack) -> None:
    """The poison cap counts also where reconcile says each time that nothing has happened."""
    stack = postgres_stack
    handle = stack.start(pipelines.DEADLY, {"deadly": ["die_first"]})
    run = stack.settle(handle)
    assert run.state is RunState.IN_REVIEW, stack.story(handle)
    (review,) = stack.reviews(handle)
    assert review.reason is ReviewReason.RETRIES_EXHAUSTED_AFTER_WRITE
    assert [answer["answer"] for answer in answers(handle)] == ["not_done"] * 3
    assert stack.step(handle, "deadly").lost_attempts == 3
    assert_entries_explain(handle)


def test_reconcile_sees_the_ids_and_the_key_of_the_lost_attempt(postgres_stack: Stack) -> None:
    """R14: what was recorded before the kill is what the question is asked with."""
    stack = postgres_stack
    handle = stack.start(pipelines.ASKED, faults={f"{ASKED_STEP} {INSIDE}": "kill child"})
    stack.settle(handle)
    told = stack.world.told(f"{handle.id} find {ASKED_STEP}")
    assert told == {
        "ids": {"goods": "goods-1", ASKED_STEP: f"{ASKED_STEP}-1"},
        "key": f"{handle.id}:{ASKED_STEP}",
    }


class TestBeforeAnUndo:
    def test_failed_step_is_asked_about_and_undone_with_its_output(self, stack: Stack) -> None:
        """The step failed, but its effect exists: the compensation gets what reconcile has found."""
        handle, run = stack.run(pipelines.ASKED, {ASKED_STEP: ["fail"]})
        assert run.state is RunState.ROLLED_BACK, stack.story(handle)
        assert stack.world.effects(handle.id) == ["goods", ASKED_STEP, f"undo {ASKED_STEP}", "undo goods"]
        told = stack.world.told(f"{handle.id} {ASKED_STEP}")
        assert told["output"] == told["undoes_output"] == {"step": ASKED_STEP, "attempt": 1}
        assert [answer["answer"] for answer in answers(handle)] == ["done"]
        assert_entries_explain(handle)

    def test_step_that_has_not_happened_is_not_undone(self, stack: Stack) -> None:
        """Nothing is taken back that was never given, and the rest is undone."""
        script = {ASKED_STEP: ["fail"], f"find {ASKED_STEP}": ["deny"]}
        handle, run = stack.run(pipelines.ASKED, script)
        assert run.state is RunState.ROLLED_BACK, stack.story(handle)
        assert stack.world.effects(handle.id) == ["goods", ASKED_STEP, "undo goods"]
        assert stack.states(handle, COMPENSATION) == {ASKED_STEP: "skipped", "goods": "succeeded"}
        assert_entries_explain(handle)

    def test_what_nobody_can_tell_stops_the_rollback(self, postgres_stack: Stack) -> None:
        """A person decides before anything else is undone (R5)."""
        stack = postgres_stack
        handle, run = stack.run(pipelines.ASKED, {ASKED_STEP: ["fail"], f"find {ASKED_STEP}": ["unknown"]})
        assert run.state is RunState.IN_REVIEW
        (review,) = stack.reviews(handle)
        assert (review.reason, review.step) == (ReviewReason.CONFIRMATION_MISSING, ASKED_STEP)
        assert stack.states(handle, COMPENSATION) == {ASKED_STEP: "pending", "goods": "pending"}
        assert_entries_explain(handle)

    def test_rollback_that_a_question_stops_says_how_far_it_came(self, postgres_stack: Stack) -> None:
        """A person who decides must see that something has been undone already."""
        stack = postgres_stack
        script = {"goods_asked": ["fail"], "parcel_asked": ["fail"], "find goods_asked": ["unknown"]}
        handle, run = stack.run(pipelines.ASKED_TWICE, script)
        assert (run.state, run.rollback_outcome) == (RunState.IN_REVIEW, RollbackOutcome.PARTIAL)
        assert stack.states(handle, COMPENSATION)["parcel_asked"] == "succeeded"
        assert_entries_explain(handle)

    def test_several_questions_are_asked_in_the_order_of_undoing(self, postgres_stack: Stack) -> None:
        """Each question comes right before the undo that it is asked for; recorded successes are not asked about."""
        stack = postgres_stack
        script = {"goods_asked": ["fail"], "parcel_asked": ["fail"], "find parcel_asked": ["connection", "ok"]}
        handle, run = stack.run(pipelines.ASKED_TWICE, script)
        assert run.state is RunState.ROLLED_BACK, stack.story(handle)
        order = [
            (entry.step, entry.direction)
            for entry in handle.entries()
            if entry.event is Event.ATTEMPT_STARTED and entry.direction is not Direction.FORWARD
        ]
        assert order == [
            ("parcel_asked", Direction.RECONCILE),
            ("parcel_asked", Direction.RECONCILE),
            ("parcel_asked", COMPENSATION),
            (ASKED_STEP, COMPENSATION),
            ("goods_asked", Direction.RECONCILE),
            ("goods_asked", COMPENSATION),
        ]
        assert_entries_explain(handle)

    def test_question_in_the_chain_survives_a_kill(self, postgres_stack: Stack) -> None:
        """The chain is carried on by whoever takes the question up again."""
        stack = postgres_stack
        handle = stack.start(
            pipelines.ASKED, {ASKED_STEP: ["fail"]}, faults={f"find {ASKED_STEP} {INSIDE}": "kill child"}
        )
        assert stack.settle(handle).state is RunState.ROLLED_BACK, stack.story(handle)
        assert stack.world.effects(handle.id) == ["goods", ASKED_STEP, f"undo {ASKED_STEP}", "undo goods"]
        assert_entries_explain(handle)

    def test_step_that_was_asked_about_on_the_way_there_is_asked_again(self, postgres_stack: Stack) -> None:
        """What was not done when it was asked first may have been done by the attempt after that."""
        stack = postgres_stack
        script = {ASKED_STEP: ["fail"]}
        faults = {f"{ASKED_STEP} {FaultPoint.AFTER_CLAIM.value}": "kill child"}
        handle = stack.start(pipelines.ASKED, script, faults=faults)
        assert stack.settle(handle).state is RunState.ROLLED_BACK, stack.story(handle)
        assert [answer["answer"] for answer in answers(handle)] == ["not_done", "done"]
        assert stack.world.effects(handle.id) == ["goods", ASKED_STEP, f"undo {ASKED_STEP}", "undo goods"]
        assert_entries_explain(handle)

    def test_undo_that_is_left_out_at_the_end_of_a_chain_does_not_stop_the_walk(self, new_stack: OpenStack) -> None:
        """The next chain is sent at once, and not by the sweeper an hour later."""
        stack = new_stack(settings={"backout_resend_seconds": 3600, "backout_chain_links": 2})
        stack.start_worker()
        script = {ASKED_STEP: ["fail"], f"find {ASKED_STEP}": ["deny"]}
        handle, run = stack.run(pipelines.ASKED, script)
        assert run.state is RunState.ROLLED_BACK, stack.story(handle)
        assert stack.world.effects(handle.id) == ["goods", ASKED_STEP, "undo goods"]
