"""The attempts of a step that did not simply succeed, as notes: when, how they ended, and what followed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from backout.events import Event
from backout.ledger.records import EntryRecord, StepRecord
from backout.views.clock import Clock
from backout.views.marks import Tone
from backout.views.notes import Note
from backout.views.picture import RunPicture
from backout.views.words import clean, clip, say_count, say_seconds

MOST_NOTES: Final = 8
"""A step that was tried a thousand times shows its first attempts and its last ones."""

_TONES: Final[Mapping[Event, Tone]] = {
    Event.RETRY_SCHEDULED: Tone.BACK,
    Event.STEP_FAILED: Tone.ERROR,
    Event.CLAIM_RELEASED: Tone.BACK,
    Event.STEP_IN_DOUBT: Tone.DOUBT,
    Event.LATE_RESULT: Tone.BACK,
    Event.RESULT_REUSED: Tone.PLAIN,
}


def tell_attempts(picture: RunPicture, row: StepRecord, clock: Clock) -> list[Note]:
    """Return a note for each attempt that ended without success, and for each answer that came too late."""
    started: dict[int | None, datetime] = {}
    notes: list[Note] = []
    for entry in picture.entries_of(row):
        if entry.event is Event.ATTEMPT_STARTED:
            started[entry.attempt] = entry.at
        elif entry.event in _TONES:
            notes.append(_tell(entry, started.get(entry.attempt), clock, picture.run.created_at))
    if len(notes) <= MOST_NOTES:
        return notes
    left_out = say_count(len(notes) - MOST_NOTES, "more")[: -len("s")]
    return [*notes[:3], Note.of(f"… {left_out}, see the entries", tone=Tone.FAINT), *notes[3 - MOST_NOTES :]]


def _tell(entry: EntryRecord, started_at: datetime | None, clock: Clock, day_of: datetime) -> Note:
    at = clock.say_time(started_at or entry.at, day_of=day_of)
    head = f"attempt {entry.attempt}  {at}  " if entry.attempt else f"{at}  "
    return Note.of(head, (_say_end(entry, started_at), _TONES[entry.event]))


def _say_end(entry: EntryRecord, started_at: datetime | None) -> str:
    took = f" after {say_seconds((entry.at - started_at).total_seconds())}" if started_at else ""
    reason = clip(entry.reason or "no reason recorded", 300)
    if entry.event is Event.RETRY_SCHEDULED:
        delay = entry.detail.get("delay_seconds") if isinstance(entry.detail, Mapping) else None
        again = f"; again {say_seconds(delay)} later" if delay else "; again at once"
        return f"failed{took}: {reason}{again}"
    if entry.event is Event.STEP_FAILED:
        return f"failed for good{took}: {reason}"
    if entry.event is Event.CLAIM_RELEASED:
        return f"lost{took}: {reason}; it may run again"
    if entry.event is Event.STEP_IN_DOUBT:
        return f"in doubt{took}: {reason}"
    if entry.event is Event.LATE_RESULT:
        return f"answered too late, kept and not applied: {reason}"
    run_id = entry.detail.get("run_id") if isinstance(entry.detail, Mapping) else None
    return f"result taken from run {clean(run_id or 'unknown')}, which has the same idempotency key"
