"""What entries mean in the life of a run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from backout import Direction, EntryRecord
from backout.events import TOLD, UNTOLD, Event, Lifecycle, read_lifecycle
from backout.identifiers import RunId
from backout.states import ReviewReason

RUN = RunId("01900000-0000-7000-8000-000000000001")
AT = datetime(2025, 11, 22, tzinfo=UTC)
UNWRITTEN: set[Lifecycle] = set()
"""No entry means this yet."""


def entry(event: Event, direction: Direction | None = None, **values: Any) -> EntryRecord:
    about_step: dict[str, Any] = {"round": 1, "position": 0, "step": "charge", "attempt": 1}
    fields = {
        "id": 7,
        "at": AT,
        "run_id": RUN,
        "direction": direction,
        "event": event,
        "actor": "engine",
        "reason": None,
        "detail": None,
        **(about_step if direction is not None else dict.fromkeys(about_step)),
        **values,
    }
    return EntryRecord(**fields)


def names(event: Event, direction: Direction | None = None, **values: Any) -> list[str]:
    return [told.name.value for told in read_lifecycle(entry(event, direction, **values))]


@pytest.mark.parametrize("event", Event)
def test_every_entry_event_is_told_or_left_untold_on_purpose(event: Event) -> None:
    """A new kind of entry is looked at before it is released."""
    assert (event in TOLD) is not (event in UNTOLD)


@pytest.mark.parametrize("event", sorted(UNTOLD))
@pytest.mark.parametrize("direction", [None, *Direction])
def test_what_is_untold_means_nothing(event: Event, direction: Direction | None) -> None:
    """Resends, waits and facts are no events of a run's life."""
    assert names(event, direction) == []


FORWARD = {
    Event.ATTEMPT_STARTED: ["step_started", "attempt_started"],
    Event.STEP_SUCCEEDED: ["attempt_succeeded", "step_succeeded"],
    Event.STEP_FAILED: ["attempt_failed", "step_failed"],
    Event.RETRY_SCHEDULED: ["attempt_failed"],
    Event.CLAIM_RELEASED: ["attempt_lost"],
    Event.STEP_IN_DOUBT: ["attempt_lost"],
}


@pytest.mark.parametrize(("event", "told"), FORWARD.items())
def test_entry_of_a_step_means(event: Event, told: list[str]) -> None:
    """An entry tells of the attempt and, where it settles the step, of the step."""
    assert names(event, Direction.FORWARD) == told


@pytest.mark.parametrize(("event", "told"), FORWARD.items())
def test_entry_of_a_compensation_means_the_same_on_the_way_back(event: Event, told: list[str]) -> None:
    """The names of the way back are those of the way there after `rollback_`."""
    assert names(event, Direction.COMPENSATION) == [f"rollback_{name}" for name in told]


@pytest.mark.parametrize("event", FORWARD)
@pytest.mark.parametrize("direction", [Direction.RECONCILE, Direction.VERIFY])
def test_questions_are_no_steps(event: Event, direction: Direction) -> None:
    """A reconcile or verify function only reads: nobody is told of its attempts."""
    assert names(event, direction) == []


@pytest.mark.parametrize("direction", [Direction.FORWARD, Direction.COMPENSATION])
def test_only_the_first_attempt_starts_the_step(direction: Direction) -> None:
    """A retry is an attempt of a step that has started already."""
    (told,) = names(Event.ATTEMPT_STARTED, direction, attempt=2)
    assert told.endswith("attempt_started")


def test_step_that_skips_itself_is_told_apart_from_an_undo_that_is_not_needed() -> None:
    """The first had an attempt; the second never began."""
    assert names(Event.STEP_SKIPPED, Direction.FORWARD) == ["attempt_succeeded", "step_skipped"]
    assert names(Event.STEP_SKIPPED, Direction.COMPENSATION, attempt=0) == []


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        ("complete", ["rollback_succeeded", "run_rolled_back"]),
        ("partial", ["rollback_failed", "run_failed"]),
        ("failed", ["rollback_failed", "run_failed"]),
    ],
)
def test_end_of_a_rollback_ends_the_run(outcome: str, told: list[str]) -> None:
    """Only a run whose effects are all undone is told as rolled back."""
    assert names(Event.ROLLBACK_FINISHED, detail={"outcome": outcome}) == told


@pytest.mark.parametrize("reason", ReviewReason)
def test_review_after_a_failed_compensation_tells_that_the_rollback_failed(reason: ReviewReason) -> None:
    """By default a rollback stops at a compensation that failed: whoever waits for `rollback_failed` must hear it."""
    failed = ["rollback_failed"] if reason is ReviewReason.COMPENSATION_FAILED else []
    assert names(Event.RUN_IN_REVIEW, reason=reason.value) == [*failed, "review_opened"]


def test_event_carries_what_the_entry_says() -> None:
    """Everything but the pipeline comes from the entry."""
    (told,) = read_lifecycle(
        entry(Event.RETRY_SCHEDULED, Direction.FORWARD, attempt=3, reason="OSError: away"), pipeline="order"
    )
    assert (told.entry_id, told.at, told.run_id, told.pipeline) == (7, AT, RUN, "order")
    assert (told.step, told.direction, told.attempt) == ("charge", Direction.FORWARD, 3)
    assert (told.actor, told.reason) == ("engine", "OSError: away")


def test_message_without_a_run_means_nothing() -> None:
    """A message that could not be understood belongs to no run's life."""
    assert names(Event.MESSAGE_REFUSED, run_id=None) == []


def test_every_name_is_meant_by_some_entry() -> None:
    """No name is offered that nothing ever tells."""
    outcomes = [{"outcome": "complete"}, {"outcome": "partial"}]
    told = {
        name
        for event in TOLD
        for direction in (None, *Direction)
        for detail in outcomes
        for name in names(event, direction, detail=detail)
    }
    assert told == {name.value for name in set(Lifecycle) - UNWRITTEN}
