"""What entries add to the counters of the metrics."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backout.events import Event
from backout.identifiers import RunId
from backout.ledger.records import EntryRecord
from backout.states import Direction, ReviewReason
from backout.views import counting
from backout.views.counting import Counts
from backout.views.metrics import BUCKETS_SECONDS

RUN = RunId("01900000-0000-7000-8000-000000000001")
AT = datetime(2025, 11, 22, tzinfo=UTC)
SUCCEEDED = ("backout_steps_total", "fulfil_order", "charge", "forward", "succeeded")


def entry(event: Event, *, seconds: float = 0.0, **values: Any) -> EntryRecord:
    fields = {
        "id": 7,
        "at": AT + timedelta(seconds=seconds),
        "run_id": RUN,
        "round": 1,
        "position": 0,
        "step": "charge",
        "direction": Direction.FORWARD,
        "attempt": 1,
        "event": event,
        "actor": "engine",
        "reason": None,
        "detail": None,
        **values,
    }
    return EntryRecord(**fields)


def of_run(event: Event, **values: Any) -> EntryRecord:
    return entry(event, step=None, direction=None, attempt=None, round=None, position=None, **values)


def count(entries: Iterable[EntryRecord], *, pipeline: str | None = "fulfil_order") -> Counts:
    counts = Counts()
    for one in entries:
        counts.count(one, pipeline=pipeline)
    return counts


def totals(counts: Counts) -> dict[tuple[str, ...], float]:
    """Return what is more than 0: name and labels to value."""
    return {(one.metric.name, *one.labels): one.value for one in counts.samples() if one.value}


def test_counters_begin_at_zero_before_they_can_count() -> None:
    """An alert sees an increase only where there was a value before."""
    begun = count([of_run(Event.RUN_CREATED), entry(Event.ATTEMPT_STARTED)])
    zeros = {(one.metric.name, *one.labels) for one in begun.samples() if not one.value}
    assert {
        ("backout_runs_finished_total", "fulfil_order", "failed"),
        ("backout_rollbacks_total", "fulfil_order"),
        ("backout_compensation_failures_total", "fulfil_order", "charge"),
        SUCCEEDED,
    } <= zeros
    assert totals(begun) == {("backout_runs_created_total", "fulfil_order"): 1}


def test_a_duration_is_that_of_the_attempt_that_succeeded() -> None:
    """Not of those before it, nor the pauses between them; what it records on its way does not end it."""
    counts = count(
        [
            entry(Event.ATTEMPT_STARTED),
            entry(Event.RETRY_SCHEDULED, seconds=60),
            entry(Event.ATTEMPT_STARTED, attempt=2, seconds=100),
            entry(Event.EXTERNAL_ID_RECORDED, attempt=2, seconds=101, detail={"name": "charge", "value": "ch_1"}),
            entry(Event.STEP_SUCCEEDED, attempt=2, seconds=102.5),
        ]
    )
    (found,) = counts.durations()
    assert found.sum_seconds == 2.5
    assert [limit for limit, number in zip((*BUCKETS_SECONDS, None), found.counts, strict=True) if number] == [2.5]
    assert totals(counts) == {("backout_retries_total", "fulfil_order", "charge", "forward"): 1, SUCCEEDED: 1}


def test_a_success_whose_start_was_not_seen_has_no_duration() -> None:
    """It began before anybody counted, or a question has found out about it long after."""
    in_doubt = [entry(Event.ATTEMPT_STARTED), entry(Event.STEP_IN_DOUBT), entry(Event.STEP_SUCCEEDED, seconds=9)]
    for entries in (in_doubt, in_doubt[2:]):
        counts = count(entries)
        assert totals(counts)[SUCCEEDED] == 1
        assert list(counts.durations()) == []


def test_starts_without_an_end_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten."""
    monkeypatch.setattr(counting, "MOST_OPEN_ATTEMPTS", 2)
    starts = [entry(Event.ATTEMPT_STARTED, position=position) for position in range(3)]
    ends = [entry(Event.STEP_SUCCEEDED, position=position, seconds=1) for position in range(3)]
    (found,) = count([*starts, *ends]).durations()
    assert sum(found.counts) == 2


def test_questions_are_no_steps() -> None:
    """They only read."""
    asked = (entry(event, direction=Direction.RECONCILE) for event in (Event.ATTEMPT_STARTED, Event.RETRY_SCHEDULED))
    assert list(count(asked).samples()) == []


def test_a_reason_is_a_code_or_nothing_that_could_be_read() -> None:
    """Metrics are told to everybody: a text never becomes a label. Without its pipeline nothing is counted."""
    opened = [
        of_run(Event.RUN_IN_REVIEW, reason=ReviewReason.SYSTEMS_DISAGREE.value),
        of_run(Event.RUN_IN_REVIEW, reason="customer 17 has called"),
    ]
    assert totals(count(opened)) == {
        ("backout_reviews_opened_total", "fulfil_order", "systems_disagree"): 1,
        ("backout_reviews_opened_total", "fulfil_order", "other"): 1,
    }
    assert list(count(opened, pipeline=None).samples()) == []
