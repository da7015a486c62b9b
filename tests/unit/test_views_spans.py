"""Attempts and waits of a step as stretches of time, also where entries are missing or very many."""

from __future__ import annotations

from backout.events import Event
from backout.identifiers import TaskId
from backout.ledger.records import EntryRecord, StepRecord
from backout.states import RunState, StepState
from backout.views.clock import Clock
from backout.views.marks import Tone
from backout.views.picture import RunPicture
from backout.views.spans import MOST_FIRST, MOST_LAST, Span, SpanKind, tell_spans
from tests.support.pictures import STARTED_AT, at, entry_record, picture, step_record

Told = tuple[str, float, float, str]


def spans_of(row: StepRecord, *events: tuple[Event, float, int | None], seconds: float = 30.0) -> list[Span]:
    """Return the spans of a row of these entries: event, second, attempt."""
    entries: list[EntryRecord] = [
        entry_record(event, row, seconds=second, number=number, attempt=attempt)
        for number, (event, second, attempt) in enumerate(events, start=1)
    ]
    state = RunState.RUNNING
    return spans_in(picture(state, [row], entries=entries, seconds=seconds), row)


def spans_in(of: RunPicture, row: StepRecord) -> list[Span]:
    return tell_spans(of, row, Clock(now=of.now))


def tell(span: Span) -> Told:
    first, last = ((instant - STARTED_AT).total_seconds() for instant in (span.started_at, span.ended_at))
    return span.kind.value, first, last, f"{span.mark}{' …' if span.is_open else ''}"


RETRIED = (
    (Event.STEP_READY, 0, None),
    (Event.ATTEMPT_STARTED, 1, 1),
    (Event.RETRY_SCHEDULED, 3, 1),
    (Event.ATTEMPT_STARTED, 13, 2),
    (Event.CLAIM_RELEASED, 14, 2),
    (Event.MESSAGE_RESENT, 20, None),
    (Event.ATTEMPT_STARTED, 80, 3),
)


def test_attempts_run_from_start_to_end_and_waits_lie_between() -> None:
    """Each with how it ended; the one that runs is open to now, and a long wait for a worker is a warning."""
    row = step_record("charge_card", StepState.RUNNING, attempt=3, started_at=at(1))
    spans = spans_of(row, *RETRIED, seconds=90)
    assert [tell(span) for span in spans] == [
        ("wait", 0, 1, "○ waits for a worker"),
        ("wait", 3, 13, "↻ waits to retry"),
        ("wait", 14, 80, "○ waits for a worker"),
        ("attempt", 1, 3, "↻ waits to retry"),
        ("attempt", 13, 14, "? lost"),
        ("attempt", 80, 90, "▶ running …"),
    ]
    assert spans[2].mark.tone is Tone.WARNING
    assert spans[3].words == "attempt 1, 05:20:01, 2.0 s: waits to retry"
    assert spans[1].words == "waits to retry: 05:20:03, 10 s"
    # A message that was sent again is another Celery task; the ledger keeps the newest.
    assert [span.task_id for span in spans[3:]] == [None, None, TaskId(row.task_id)]


def test_wait_that_has_not_ended_is_open_while_the_row_may_wait() -> None:
    """A row that is held, or over, waits for no worker; in a run that a person has stopped it waits for the person."""
    ready = step_record("charge_card", StepState.READY)
    assert [tell(span) for span in spans_of(ready, (Event.STEP_READY, 2, None))] == [
        ("wait", 2, 30, "○ waits for a worker …")
    ]
    over = step_record("charge_card", StepState.PENDING)
    assert spans_of(over, (Event.STEP_READY, 2, None)) == []
    stopped = picture(RunState.PAUSED, [ready], entries=[entry_record(Event.STEP_READY, ready, seconds=2)])
    [wait] = spans_in(stopped, ready)
    assert wait.mark.tone is Tone.PERSON


def test_attempts_whose_entries_were_not_read_are_one_span() -> None:
    """Of a long run only the newest entries are read: the row says when it began."""
    done = step_record("charge_card", StepState.UNDONE, attempt=4, started_at=at(1), finished_at=at(9))
    [one] = spans_of(done)
    assert tell(one) == ("attempt", 1, 9, "✓ succeeded")
    assert one.words == "attempts 1 to 4, 05:20:01, 8.0 s: succeeded"
    earlier, last = spans_of(done, (Event.ATTEMPT_STARTED, 8, 4), (Event.STEP_SUCCEEDED, 9, 4))
    assert tell(earlier) == ("crowd", 1, 8, "… see the entries")
    assert tell(last) == ("attempt", 8, 9, "✓ succeeded")
    assert spans_of(step_record("charge_card", StepState.SKIPPED, attempt=0, started_at=None)) == []


def test_end_that_is_not_recorded_is_the_next_start_or_the_end_of_the_row() -> None:
    """No bar is open that has ended."""
    row = step_record("charge_card", StepState.FAILED, attempt=2, started_at=at(1), finished_at=at(7))
    spans = spans_of(row, (Event.ATTEMPT_STARTED, 1, 1), (Event.ATTEMPT_STARTED, 5, 2))
    assert [tell(span) for span in spans] == [("attempt", 1, 5, "· ended"), ("attempt", 5, 7, "✗ failed")]


def test_a_thousand_attempts_are_the_first_ones_and_the_last_ones() -> None:
    """And one span for those between, with how many they are."""
    events = [
        event
        for number in range(1, 1_001)
        for event in (
            (Event.ATTEMPT_STARTED, number * 10.0, number),
            (Event.RETRY_SCHEDULED, number * 10.0 + 1, number),
        )
    ]
    row = step_record("charge_card", StepState.RETRY_SCHEDULED, attempt=1_000, started_at=at(10))
    spans = spans_of(row, *events, seconds=10_005)
    attempts = [span for span in spans if span.kind is not SpanKind.WAIT]
    assert len(spans) == 2 * (MOST_FIRST + MOST_LAST) + 1
    crowd = attempts[MOST_FIRST]
    assert tell(crowd) == ("crowd", 60, 9_851, "… see the entries")
    assert crowd.words == "980 more attempts, 05:21:00, 2 h 43 min: see the entries"
    assert [tell(span)[1] for span in (attempts[0], attempts[-1])] == [10, 10_000]


def test_question_and_later_round_are_named() -> None:
    """What ran for a step besides its function stands in the same row."""
    row = step_record("charge_card", StepState.SUCCEEDED, round=2)
    again = picture(RunState.RUNNING, [row], run={"round": 2})
    assert spans_in(again, row)[0].words.startswith("round 2, attempt 1, ")
