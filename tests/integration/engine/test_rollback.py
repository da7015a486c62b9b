"""Taking it back: the order of the compensations, what is kept, what a compensation is told (R5, R7)."""

from __future__ import annotations

import pytest

from backout import ReviewReason, RollbackOutcome, RunState
from backout.events import Event
from tests.support.apps import pipelines
from tests.support.history import assert_entries_explain
from tests.support.ledgers import on_each_stack
from tests.support.stack import COMPENSATION, Script, Stack
from tests.support.waiting import wait_until

PARCEL_FAILS = {"parcel": ["fail:no courier in that area"]}


@on_each_stack
def test_compensations_run_in_reverse_start_order(stack: Stack) -> None:
    """What was started last is undone first, and each compensation starts after the one before is recorded (R5)."""
    handle, run = stack.run(pipelines.ORDER, PARCEL_FAILS)
    assert run.state is RunState.ROLLED_BACK
    assert run.rollback_outcome is RollbackOutcome.COMPLETE
    assert run.operator_state == "parcel_failed_rolled_back"
    assert run.error_summary == "parcel: FailStep: no courier in that area"
    assert stack.world.calls(handle.id) == ["goods", "money", "parcel", "undo parcel", "undo money", "undo goods"]
    assert stack.states(handle) == {"goods": "undone", "money": "undone", "parcel": "failed"}
    assert stack.states(handle, COMPENSATION) == {"parcel": "succeeded", "money": "succeeded", "goods": "succeeded"}
    order = [entry.id for entry in handle.entries() if entry.direction is COMPENSATION]
    assert order == sorted(order)
    told = [
        (entry.event, entry.step)
        for entry in handle.entries()
        if entry.direction is COMPENSATION and entry.event in (Event.ATTEMPT_STARTED, Event.STEP_SUCCEEDED)
    ]
    names = ["parcel", "money", "goods"]
    assert told == [(event, name) for name in names for event in (Event.ATTEMPT_STARTED, Event.STEP_SUCCEEDED)]
    assert_entries_explain(handle)


def test_next_compensation_waits_for_the_record_of_the_one_before(stack: Stack) -> None:
    """While one compensation runs, the ones after it are pending, and nothing of them has happened (R5)."""
    handle = stack.start(pipelines.ORDER, {**PARCEL_FAILS, "undo money": ["hold:second"]})
    wait_until(lambda: stack.world.is_reached("second"), 15, "the second compensation runs")
    assert handle.status().state is RunState.ROLLING_BACK
    assert stack.states(handle, COMPENSATION) == {"parcel": "succeeded", "money": "running", "goods": "pending"}
    assert stack.states(handle) == {"goods": "succeeded", "money": "succeeded", "parcel": "failed"}
    stack.world.open("second")
    assert stack.settle(handle).state is RunState.ROLLED_BACK


def test_compensation_is_told_all_about_its_step(stack: Stack) -> None:
    """A compensation's context has name, attempts, settings, output, ids, keys, cause and who asked (semantics 3)."""
    handle, _ = stack.run(pipelines.ORDER, {"money": ["error", "ok"], **PARCEL_FAILS})
    assert stack.world.told(f"{handle.id} money") == {
        "name": "money",
        "attempts": 2,
        "retry_limit": 2,
        "retry_delay_seconds": 0.1,
        "timeout_seconds": 600.0,
        "output": {"step": "money", "attempt": 2},
        "undoes_output": {"step": "money", "attempt": 2},
        "external_ids": {"money": "money-2"},
        "all_external_ids": {
            "goods": "goods-1",
            "money": "money-2",
            "parcel": "parcel-1",
            "undo parcel": "undo parcel-1",
        },
        "idempotency_key": f"{handle.id}:money",
        "own_idempotency_key": f"{handle.id}:money:undo",
        "error": None,
        "cause": "parcel: FailStep: no courier in that area",
        "requested_by": "engine",
        "subject_id": "c-1",
        "pipeline": "order",
    }


def test_failed_step_is_compensated_without_output_and_with_its_ids(stack: Stack) -> None:
    """The step that failed is undone too: without an output, with the ids that it had recorded and its error."""
    handle, _ = stack.run(pipelines.ORDER, PARCEL_FAILS)
    told = stack.world.told(f"{handle.id} parcel")
    assert told["output"] is None
    assert told["undoes_output"] is None
    assert told["external_ids"] == {"parcel": "parcel-1"}
    assert told["error"]["message"] == "no courier in that area"
    assert told["attempts"] == 1


def test_compensation_has_retries_of_its_own(stack: Stack) -> None:
    """A compensation that fails is tried again by its own settings, and the rollback goes on after it."""
    handle, run = stack.run(pipelines.ORDER, {**PARCEL_FAILS, "undo money": ["error", "connection", "ok"]})
    assert run.state is RunState.ROLLED_BACK
    assert run.rollback_outcome is RollbackOutcome.COMPLETE
    assert stack.step(handle, "money", COMPENSATION).attempt == 3
    assert stack.world.calls(handle.id)[3:] == ["undo parcel", *["undo money"] * 3, "undo goods"]
    assert stack.world.effects(handle.id)[3:] == ["undo parcel", "undo money", "undo goods"]
    assert_entries_explain(handle)


@pytest.mark.parametrize(
    ("failing", "outcome", "undone"),
    [
        pytest.param("money", RollbackOutcome.PARTIAL, ["undo parcel"], id="after-another"),
        pytest.param("parcel", RollbackOutcome.FAILED, [], id="the-first"),
    ],
)
def test_failed_compensation_halts_the_rollback(
    stack: Stack, failing: str, outcome: RollbackOutcome, undone: list[str]
) -> None:
    """When a compensation fails for good the walk stops, a person is asked, and what was not undone stays as it is."""
    handle, run = stack.run(pipelines.ORDER, {**PARCEL_FAILS, f"undo {failing}": ["error:the bank is closed"]})
    assert run.state is RunState.IN_REVIEW
    assert run.requires_human_review
    assert run.rollback_outcome is outcome
    assert run.error_summary == "parcel: FailStep: no courier in that area"
    (review,) = stack.reviews(handle)
    assert review.reason is ReviewReason.COMPENSATION_FAILED
    assert (review.step, review.direction) == (failing, COMPENSATION)
    assert "the bank is closed" in review.evidence["what"]
    assert stack.world.effects(handle.id)[3:] == [*undone, f"undo {failing}"]
    assert stack.states(handle, COMPENSATION)[failing] == "failed"
    assert stack.states(handle, COMPENSATION)["goods"] == "pending"
    assert stack.states(handle)["goods"] == "succeeded"
    assert_entries_explain(handle)


def test_failed_compensation_that_may_be_passed_does_not_stop_the_others(stack: Stack) -> None:
    """With `on_failure="continue"` the rollback goes on, and the run is closed as failed with a partial rollback."""
    handle, run = stack.run(pipelines.LENIENT, {**PARCEL_FAILS, "undo money_lenient": ["error"]})
    assert run.state is RunState.FAILED
    assert run.rollback_outcome is RollbackOutcome.PARTIAL
    assert stack.world.effects(handle.id)[3:] == ["undo parcel", "undo money_lenient", "undo goods"]
    assert stack.states(handle) == {"goods": "undone", "money_lenient": "succeeded", "parcel": "failed"}
    assert stack.reviews(handle) == []
    assert_entries_explain(handle)


def test_kept_and_reading_steps_are_shown_and_not_undone(stack: Stack) -> None:
    """A step that may stay is kept, one that only reads is skipped, each with its reason; the others are undone."""
    handle, run = stack.run(pipelines.KEEPING, PARCEL_FAILS)
    assert run.state is RunState.ROLLED_BACK
    assert run.rollback_outcome is RollbackOutcome.COMPLETE
    rows = {"parcel": "succeeded", "look": "skipped", "note": "kept", "goods": "succeeded"}
    assert stack.states(handle, COMPENSATION) == rows
    reasons = {
        entry.step: entry.reason for entry in handle.entries() if entry.event in (Event.STEP_KEPT, Event.STEP_SKIPPED)
    }
    assert reasons == {"note": "it does no harm", "look": "it only reads"}
    assert stack.world.calls(handle.id)[4:] == ["undo parcel", "undo goods"]
    assert_entries_explain(handle)


@pytest.mark.parametrize(
    ("script", "undone"),
    [
        pytest.param({"parcel": ["no_effect"]}, ["undo money", "undo goods"], id="failed-without-effect"),
        pytest.param({"money": ["skip"], **PARCEL_FAILS}, ["undo parcel", "undo goods"], id="skipped"),
        pytest.param({"goods": ["no_effect"]}, [], id="nothing-at-all"),
    ],
)
def test_step_without_effect_is_not_undone(stack: Stack, script: Script, undone: list[str]) -> None:
    """A step that said that nothing happened is not undone."""
    handle, run = stack.run(pipelines.ORDER, script)
    assert run.state is RunState.ROLLED_BACK
    assert run.rollback_outcome is RollbackOutcome.COMPLETE
    assert [call for call in stack.world.calls(handle.id) if call.startswith("undo")] == undone
    assert_entries_explain(handle)


def test_step_without_effect_that_the_run_went_on_after_is_not_undone_either(stack: Stack) -> None:
    """What it said about its effect is kept for the rollback that a later step causes."""
    handle, run = stack.run(pipelines.CONTINUING, {"money_continue": ["no_effect"], **PARCEL_FAILS})
    assert run.state is RunState.ROLLED_BACK
    assert stack.world.calls(handle.id)[-2:] == ["undo parcel", "undo goods"]
    assert stack.states(handle, COMPENSATION)["money_continue"] == "skipped"
    assert_entries_explain(handle)


@pytest.mark.parametrize("script", [PARCEL_FAILS, {"letter": ["error"]}], ids=["it-happened", "it-may-have-happened"])
def test_rollback_does_not_cross_an_irreversible_step(stack: Stack, script: Script) -> None:
    """Behind a step that cannot be undone and that happened, or may have, nothing is undone: a person is asked (R7)."""
    handle, run = stack.run(pipelines.IRREVERSIBLE, script)
    assert run.state is RunState.IN_REVIEW
    assert run.rollback_outcome is RollbackOutcome.NONE
    (review,) = stack.reviews(handle)
    assert review.reason is ReviewReason.IRREVERSIBLE_PASSED
    assert review.evidence["irreversible_step"] == "letter"
    assert "goods" in review.evidence["would_be_undone"]
    assert not [call for call in stack.world.calls(handle.id) if call.startswith("undo")]
    assert stack.states(handle, COMPENSATION) == {}
    assert stack.states(handle)["goods"] == "succeeded"
    assert_entries_explain(handle)


def test_irreversible_step_that_did_not_happen_stops_no_rollback(stack: Stack) -> None:
    """An irreversible step that said that nothing happened is no obstacle (R7)."""
    handle, run = stack.run(pipelines.IRREVERSIBLE, {"letter": ["no_effect"]})
    assert run.state is RunState.ROLLED_BACK
    assert stack.world.calls(handle.id) == ["goods", "undo goods"]


def test_rollback_longer_than_a_chain_is_continued(stack: Stack) -> None:
    """Compensations beyond the length of one chain follow in the next chain, in order; each message is sent once."""
    handle, run = stack.run(pipelines.LONG, {"room8": ["fail"]})
    rooms = list(pipelines.LONG_NAMES)
    assert run.state is RunState.ROLLED_BACK
    assert stack.world.calls(handle.id) == [*rooms, *(f"undo {room}" for room in reversed(rooms))]
    assert not [entry for entry in handle.entries() if entry.event is Event.MESSAGE_RESENT]
    assert [stack.count_deliveries(row.task_id) for row in handle.steps()] == [1] * 2 * len(rooms)
    assert_entries_explain(handle)
