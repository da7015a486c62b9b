"""When each attempt of a step ran and how it ended, and when the step waited: what the bars of a picture show. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from backout.events import Event
from backout.identifiers import TaskId
from backout.ledger.records import EntryRecord, StepRecord
from backout.states import ACTIVE_RUN_STATES, Direction, StepState
from backout.views.clock import Clock
from backout.views.marks import Mark, Tone, mark_step
from backout.views.picture import RunPicture
from backout.views.questions import ASKED
from backout.views.waiting import LONG_SECONDS
from backout.views.words import say_count, say_seconds

MOST_FIRST: Final = 5
MOST_LAST: Final = 15
"""Attempts of a row that are drawn by themselves: its first ones and its last ones."""


class SpanKind(StrEnum):
    """What a row did for a while."""

    ATTEMPT = "attempt"
    WAIT = "wait"
    """It might have run, or was to run again later."""
    CROWD = "crowd"
    """Attempts that are not told one by one, and the time between them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One stretch of the time of a step row.

    Attributes:
        started_at: aware UTC, like `ended_at`.
        mark: how it ended; while it lasts, that it does.
        words: what it is, when and how long: `attempt 2, 05:20:03, 1.2 s: waits to retry`.
        is_open: it has not ended.
        task_id: the Celery task in which the attempt ran; `None` where the ledger does not say.
    """

    kind: SpanKind
    started_at: datetime
    ended_at: datetime
    mark: Mark
    words: str
    is_open: bool = False
    task_id: TaskId | None = None


_RUNNING: Final = Mark("▶", "running", Tone.ACTIVE)
_WAITS: Final = Mark("○", "waits for a worker", Tone.FAINT)
_WAITS_LONG: Final = Mark("○", "waits for a worker", Tone.WARNING)
_RETRIES: Final = Mark("↻", "waits to retry", Tone.BACK)
_HELD_BACK: Final = Mark("◔", "waits", Tone.ACTIVE)
_STOPPED: Final = Mark("‖", "waits: the run is stopped", Tone.PERSON)
_MANY: Final = Mark("…", "see the entries", Tone.FAINT)

_ENDS: Final[Mapping[Event, StepState]] = {
    Event.STEP_SUCCEEDED: StepState.SUCCEEDED,
    Event.STEP_SKIPPED: StepState.SKIPPED,
    Event.RETRY_SCHEDULED: StepState.RETRY_SCHEDULED,
    Event.STEP_FAILED: StepState.FAILED,
    Event.STEP_IN_DOUBT: StepState.IN_DOUBT,
    Event.QUESTION_ANSWERED: StepState.SUCCEEDED,
}
_ANSWERED: Final = Mark("✓", "answered", Tone.KEPT)
_LOST: Final = Mark("?", "lost", Tone.BACK)
_UNTOLD: Final = Mark("·", "ended", Tone.FAINT)
_OPENS_WAIT: Final[Mapping[Event, Mark]] = {
    Event.STEP_READY: _WAITS,
    Event.STEP_REOPENED: _WAITS,
    Event.QUESTION_ASKED: _WAITS,
    Event.WAIT_ENDED: _WAITS,
    Event.DOUBT_CLEARED: _WAITS,
    Event.CLAIM_RELEASED: _WAITS,
    Event.RETRY_SCHEDULED: _RETRIES,
    Event.WAIT_STARTED: _HELD_BACK,
}
_CLOSES_WAIT: Final = frozenset(
    {
        Event.ATTEMPT_STARTED,
        Event.STEP_SUCCEEDED,
        Event.STEP_SKIPPED,
        Event.STEP_KEPT,
        Event.STEP_FAILED,
        Event.STEP_HELD,
        Event.STEP_SETTLED,
        Event.STEP_CLOSED,
        Event.STEP_IN_DOUBT,
        *_OPENS_WAIT,
    }
)
_NEW_TASK: Final = (Event.STEP_REOPENED, Event.MESSAGE_RESENT)
"""After these the row may have the id of another Celery task than its earlier attempts."""
_MAY_WAIT: Final = (StepState.READY, StepState.RETRY_SCHEDULED, StepState.WAITING)


def tell_spans(picture: RunPicture, row: StepRecord, clock: Clock) -> list[Span]:
    """Return what a row did, in order; its attempts after its waits, so that they are drawn over them."""
    entries = picture.entries_of(row)
    attempts = list(_tell_attempts(picture, row, entries, clock))
    first = next((entry.attempt for entry in entries if entry.event is Event.ATTEMPT_STARTED), None)
    # Of a long run only the newest entries are read.
    earlier = [] if first == 1 or row.attempt == 0 else _tell_earlier(picture, row, attempts, clock)
    return [*_tell_waits(picture, row, entries, clock), *earlier, *_thin_out(attempts, picture, clock)]


def _tell_attempts(
    picture: RunPicture, row: StepRecord, entries: Sequence[EntryRecord], clock: Clock
) -> Iterator[Span]:
    renewed_at = max((place for place, entry in enumerate(entries) if entry.event in _NEW_TASK), default=-1)
    for place, entry in enumerate(entries):
        if entry.event is not Event.ATTEMPT_STARTED:
            continue
        ended_at, mark, is_open = _find_end(picture, row, entry, entries[place + 1 :])
        asked = f"asked {ASKED[row.direction]}, " if row.direction.is_question else ""
        number = f"{asked}{_say_round(row, picture)}attempt {entry.attempt}"
        yield Span(
            kind=SpanKind.ATTEMPT,
            started_at=entry.at,
            ended_at=ended_at,
            mark=mark,
            words=_say(number, entry.at, ended_at, mark, picture, clock),
            is_open=is_open,
            task_id=row.task_id if place > renewed_at else None,
        )


def _find_end(
    picture: RunPicture, row: StepRecord, start: EntryRecord, later: Sequence[EntryRecord]
) -> tuple[datetime, Mark, bool]:
    """Return when and how an attempt ended, and whether it still runs."""
    for entry in later:
        if entry.event in _ENDS:
            return entry.at, _mark_end(row, _ENDS[entry.event]), False
        if entry.event is Event.CLAIM_RELEASED:
            return entry.at, _LOST, False
        if entry.event is Event.ATTEMPT_STARTED:
            return entry.at, _UNTOLD, False
    if row.state is StepState.RUNNING:
        return max(picture.now, start.at), _RUNNING, True
    return max(row.finished_at or start.at, start.at), _mark_end(row), False


def _mark_end(row: StepRecord, state: StepState | None = None) -> Mark:
    """Return how an attempt of a row ended; without a state by that of the row."""
    # What was undone had succeeded.
    state = state or (StepState.SUCCEEDED if row.state is StepState.UNDONE else row.state)
    if row.direction.is_question:
        return _ANSWERED if state is StepState.SUCCEEDED else mark_step(state, Direction.FORWARD)
    return mark_step(state, row.direction)


def _tell_earlier(picture: RunPicture, row: StepRecord, attempts: Sequence[Span], clock: Clock) -> list[Span]:
    """Return one span for the attempts whose entries were not read."""
    if row.started_at is None or (attempts and attempts[0].started_at <= row.started_at):
        return []
    is_open = not attempts and row.state is StepState.RUNNING
    last = attempts[0].started_at if attempts else picture.now if is_open else row.finished_at or row.started_at
    mark = _MANY if attempts else _mark_end(row)
    these = "attempt 1" if row.attempt == 1 else f"attempts 1 to {row.attempt:,}"
    told = "earlier attempts" if attempts else f"{_say_round(row, picture)}{these}"
    return [
        Span(
            kind=SpanKind.CROWD if attempts else SpanKind.ATTEMPT,
            started_at=row.started_at,
            ended_at=last,
            mark=mark,
            words=_say(told, row.started_at, last, mark, picture, clock),
            is_open=is_open,
        )
    ]


def _thin_out(attempts: Sequence[Span], picture: RunPicture, clock: Clock) -> list[Span]:
    """Return the first attempts and the last ones, with one span for those between."""
    if len(attempts) <= MOST_FIRST + MOST_LAST + 1:
        return list(attempts)
    between = attempts[MOST_FIRST:-MOST_LAST]
    first, last = between[0].started_at, between[-1].ended_at
    crowd = Span(
        kind=SpanKind.CROWD,
        started_at=first,
        ended_at=last,
        mark=_MANY,
        words=_say(say_count(len(between), "more attempt"), first, last, _MANY, picture, clock),
    )
    return [*attempts[:MOST_FIRST], crowd, *attempts[-MOST_LAST:]]


def _tell_waits(picture: RunPicture, row: StepRecord, entries: Sequence[EntryRecord], clock: Clock) -> list[Span]:
    waits = []
    for place, entry in enumerate(entries):
        if entry.event not in _OPENS_WAIT:
            continue
        end = next((other for other in entries[place + 1 :] if other.event in _CLOSES_WAIT), None)
        if end is None and row.state not in _MAY_WAIT:
            continue
        ended_at = end.at if end is not None else max(picture.now, entry.at)
        if ended_at > entry.at:
            waits.append(_tell_wait(entry, ended_at, picture, clock, is_open=end is None))
    kept = len(waits) - MOST_FIRST - MOST_LAST
    return [*waits[:MOST_FIRST], *waits[MOST_FIRST + kept :]] if kept > 0 else waits


def _tell_wait(entry: EntryRecord, ended_at: datetime, picture: RunPicture, clock: Clock, *, is_open: bool) -> Span:
    mark = _OPENS_WAIT[entry.event]
    if is_open and picture.run.state not in ACTIVE_RUN_STATES:
        mark = _STOPPED
    if mark is _WAITS and (ended_at - entry.at).total_seconds() > LONG_SECONDS:
        mark = _WAITS_LONG
    return Span(
        kind=SpanKind.WAIT,
        started_at=entry.at,
        ended_at=ended_at,
        mark=mark,
        words=_say("", entry.at, ended_at, mark, picture, clock),
        is_open=is_open,
    )


def _say_round(row: StepRecord, picture: RunPicture) -> str:
    return f"round {row.round}, " if picture.run.round > 1 else ""


def _say(what: str, first: datetime, last: datetime, mark: Mark, picture: RunPicture, clock: Clock) -> str:
    at = clock.say_time(first, day_of=picture.run.created_at)
    took = say_seconds((last - first).total_seconds())
    return f"{what}, {at}, {took}: {mark.word}" if what else f"{mark.word}: {at}, {took}"
