"""What is published has two acceptances: done, and seen live."""

from __future__ import annotations

import pytest

from backout import Direction, ReviewReason, RunState
from backout.events import Event
from tests.support.apps import pipelines
from tests.support.apps.pipelines import INSIDE
from tests.support.history import assert_entries_explain
from tests.support.stack import COMPENSATION, Stack


def test_next_step_starts_when_it_is_seen(stack: Stack) -> None:
    """The verify function is asked again until it says True."""
    handle, run = stack.run(pipelines.PUBLISHED, {"see page": ["no", "connection", "ok"]})
    assert run.state is RunState.SUCCEEDED, stack.story(handle)
    entries = handle.entries()
    seen = next(n for n, e in enumerate(entries) if e.event is Event.QUESTION_ANSWERED)
    parcel = next(n for n, e in enumerate(entries) if e.event is Event.ATTEMPT_STARTED and e.step == "parcel")
    assert seen < parcel
    assert stack.step(handle, "page", Direction.VERIFY).attempt == 3
    assert stack.world.calls(handle.id) == ["goods", "page", "parcel"]
    told = stack.world.told(f"{handle.id} see page")
    assert told == {"output": {"step": "page", "attempt": 1}, "key": f"{handle.id}:page"}
    assert_entries_explain(handle)


def test_run_ends_when_the_last_step_is_seen(postgres_stack: Stack) -> None:
    """The run's output is what was published, not the answer about it."""
    stack = postgres_stack
    handle, run = stack.run(pipelines.PUBLISHED_LAST, {"see page": ["no", "ok"]})
    assert run.state is RunState.SUCCEEDED, stack.story(handle)
    assert run.output == {"step": "page", "attempt": 1}
    assert (run.operator_state, run.last_successful_step) == ("page_done", "page")
    assert_entries_explain(handle)


@pytest.mark.parametrize(
    ("word", "what"),
    [
        ("no", "it is not live yet"),
        ("connection:line is dead", "line is dead"),
        ("maybe", "must return True or False"),
    ],
)
def test_what_is_never_seen_goes_to_a_person(postgres_stack: Stack, word: str, what: str) -> None:
    """Published and not live is neither a success nor a failure of the step."""
    stack = postgres_stack
    handle, run = stack.run(pipelines.PUBLISHED, {"see page": [word]})
    assert run.state is RunState.IN_REVIEW, stack.story(handle)
    assert run.operator_state == "page_done_page_live_unknown_in_review"
    (review,) = stack.reviews(handle)
    assert (review.reason, review.step) == (ReviewReason.NOT_LIVE_AFTER_PUBLISH, "page")
    assert what in review.evidence["what"]
    assert stack.states(handle) == {"goods": "succeeded", "page": "succeeded"}
    assert_entries_explain(handle)


def test_not_seen_yet_is_no_exception(postgres_stack: Stack) -> None:
    """A retry rule that names exceptions says how often to look all the same."""
    stack = postgres_stack
    handle, run = stack.run(pipelines.PUBLISHED_CHOOSY, {"see page_choosy": ["no", "no", "ok"]})
    assert run.state is RunState.SUCCEEDED, stack.story(handle)


def test_verify_whose_worker_is_killed_is_asked_again(postgres_stack: Stack) -> None:
    """It only looks."""
    stack = postgres_stack
    handle = stack.start(pipelines.PUBLISHED, faults={f"see page {INSIDE}": "kill child"})
    assert stack.settle(handle).state is RunState.SUCCEEDED, stack.story(handle)
    assert stack.world.calls(handle.id) == ["goods", "page", "parcel"]
    assert_entries_explain(handle)


def test_what_reconcile_found_is_verified_too(postgres_stack: Stack) -> None:
    """A publication that was cut off and has happened must still be seen."""
    stack = postgres_stack
    handle = stack.start(
        pipelines.PUBLISHED_ASKED, {"see page_asked": ["no", "ok"]}, faults={f"page_asked {INSIDE}": "kill child"}
    )
    assert stack.settle(handle).state is RunState.SUCCEEDED, stack.story(handle)
    assert stack.world.calls(handle.id) == ["goods", "page_asked"]
    assert [entry.direction for entry in handle.entries() if entry.event is Event.QUESTION_ANSWERED] == [
        Direction.RECONCILE,
        Direction.VERIFY,
    ]
    assert_entries_explain(handle)


def test_what_was_published_is_undone_when_a_later_step_fails(postgres_stack: Stack) -> None:
    """The rollback knows the step, not the question about it."""
    stack = postgres_stack
    handle, run = stack.run(pipelines.PUBLISHED, {"parcel": ["fail"]})
    assert run.state is RunState.ROLLED_BACK, stack.story(handle)
    assert stack.world.effects(handle.id)[-3:] == ["undo parcel", "undo page", "undo goods"]
    assert stack.states(handle, COMPENSATION) == dict.fromkeys(("parcel", "page", "goods"), "succeeded")
    assert_entries_explain(handle)
