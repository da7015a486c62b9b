"""The timeline of a run: the recorded plan forward, also what has not started yet, and the rollback in its order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from backout.events import Event
from backout.ledger.records import StepRecord
from backout.pipelines.contract import RecoveryKind, RetryRule, StepContract
from backout.states import Direction, StepState
from backout.views.attempts import tell_attempts
from backout.views.clock import Clock
from backout.views.marks import NEVER_STARTED, NOT_STARTED, Mark, Tone, mark_step
from backout.views.notes import Note
from backout.views.picture import RunPicture
from backout.views.questions import find_questions, tell_question
from backout.views.waiting import find_wait
from backout.views.words import clean, clip, say_count, say_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineLine:
    """One step in one direction.

    Attributes:
        row: `None` when it has not come to this step.
        attempts: `2 of 6`; empty, like `took`, before the first.
        started_at: the first attempt, aware UTC; `None` before it.
        notes: what else there is to know, most important first.
    """

    mark: Mark
    name: str
    row: StepRecord | None = None
    attempts: str = ""
    started_at: datetime | None = None
    took: str = ""
    notes: tuple[Note, ...] = ()

    @property
    def has_begun(self) -> bool:
        """True when an attempt has been made."""
        return self.row is not None and self.row.attempt > 0


def tell_steps(picture: RunPicture, clock: Clock) -> list[TimelineLine]:
    """Return the forward steps in the order of the plan, with their attempts, ids and errors."""
    rows = {row.position: row for row in picture.latest(Direction.FORWARD)}
    contracts = picture.plan.steps if picture.plan is not None else ()
    positions = range(max(len(contracts), *(position + 1 for position in rows), 0))
    lines = []
    for position in positions:
        contract = contracts[position] if position < len(contracts) else None
        if position in rows:
            lines.append(_tell_row(picture, rows[position], clock, retry=contract.retry if contract else None))
        elif contract is not None:
            lines.append(_tell_missing(picture, contract))
    return lines


def tell_rollback(picture: RunPicture, clock: Clock) -> list[TimelineLine]:
    """Return the compensations in the order of undoing, each with its recovery action; none without a rollback."""
    lines = []
    for row in picture.latest(Direction.COMPENSATION):
        contract = picture.contract_of(row)
        undoing = contract.compensation if contract else None
        lines.append(_tell_row(picture, row, clock, retry=undoing.retry if undoing else None))
    return lines


def find_window(begun: Sequence[bool], most: int) -> tuple[int, int]:
    """Return which of very many are shown, those around where the run stands: the first, and the one behind the last.

    Args:
        begun: of each whether the run has come to it.
        most: how many are shown.
    """
    if len(begun) <= most:
        return 0, len(begun)
    stands_at = max((place for place, has_begun in enumerate(begun) if has_begun), default=0)
    first = min(max(0, stands_at - most * 4 // 5), len(begun) - most)
    return first, first + most


def mark_missing(picture: RunPicture) -> Mark:
    """Return the mark of a step to which the run has not come."""
    is_over = picture.run.state.is_final or bool(picture.latest(Direction.COMPENSATION))
    return NEVER_STARTED if is_over else NOT_STARTED


def _tell_missing(picture: RunPicture, contract: StepContract) -> TimelineLine:
    return TimelineLine(mark=mark_missing(picture), name=clean(contract.name))


def _tell_row(picture: RunPicture, row: StepRecord, clock: Clock, *, retry: RetryRule | None) -> TimelineLine:
    mark, name = mark_step(row.state, row.direction), clean(row.step)
    notes = tuple(note for note in _tell_notes(picture, row, clock) if note.plain)
    if row.started_at is None:
        return TimelineLine(mark=mark, name=name, row=row, notes=notes)
    ended_at = row.finished_at or (clock.now if row.state is StepState.RUNNING else None)
    took = say_seconds((ended_at - row.started_at).total_seconds()) if ended_at else ""
    return TimelineLine(
        mark=mark,
        name=name,
        row=row,
        # Attempts from before a person asked for more do not count against the retries.
        attempts=f"{row.attempt} of {row.forgiven_attempts + retry.limit + 1}" if retry else str(row.attempt),
        started_at=row.started_at,
        took=f"{took} …" if row.state is StepState.RUNNING else took,
        notes=notes,
    )


def _tell_notes(picture: RunPicture, row: StepRecord, clock: Clock) -> Iterator[Note]:
    if row.direction is Direction.COMPENSATION:
        yield _say_action(picture, row)
    yield from tell_attempts(picture, row, clock)
    yield from (tell_question(picture, question, clock) for question in find_questions(picture, row))
    yield from (Note.of(f"{clean(name)} ", (clean(value), Tone.ID)) for name, value in row.external_ids.items())
    yield _say_waiting(picture, row, clock)
    if row.state is StepState.SKIPPED and row.direction is Direction.FORWARD:
        yield Note.of(_reason_of(picture, row, Event.STEP_SKIPPED))
    earlier = sum(_is_same_step(row, other) for other in picture.steps)
    if earlier:
        yield Note.of(f"round {row.round}; {say_count(earlier, 'earlier round')}: see the entries", tone=Tone.FAINT)


def _is_same_step(row: StepRecord, other: StepRecord) -> bool:
    return (other.position, other.direction) == (row.position, row.direction) and other.round < row.round


def _say_action(picture: RunPicture, row: StepRecord) -> Note:
    """Return the named recovery action, or why nothing is run."""
    contract = picture.contract_of(row)
    if row.state is StepState.KEPT:
        reason = _reason_of(picture, row, Event.STEP_KEPT) or (clean(contract.recovery_reason) if contract else "")
        return Note.of(f"stays: {reason}" if reason else "stays")
    action = clean(contract.compensation.action) if contract and contract.compensation else ""
    if row.state is StepState.SKIPPED:
        reason = _reason_of(picture, row, Event.STEP_SKIPPED)
        return Note.of(": ".join(part for part in (action, reason) if part))
    if contract is not None and contract.recovery is RecoveryKind.IRREVERSIBLE:
        return Note.of(f"cannot be undone: {clean(contract.recovery_reason)}")
    return Note.of(action, tone=Tone.ACTION)


def _say_waiting(picture: RunPicture, row: StepRecord, clock: Clock) -> Note:
    """Return what an unfinished row waits for; an empty note when it waits for nothing."""
    if row.state is StepState.RETRY_SCHEDULED and row.next_retry_at is not None:
        return Note.of(f"next attempt {clock.say_due(row.next_retry_at)}", tone=Tone.BACK)
    if row.state is StepState.WAITING and row.sweep_at is not None:
        told = f"an attempt that was given up may still run; this is {clock.say_due(row.sweep_at)}"
        return Note.of(told, tone=Tone.BACK)
    wait = find_wait(picture, row) if row.state is StepState.READY else None
    if wait is not None:
        again = f"; its message was sent {row.sends} times" if row.sends > 1 else ""
        at = clock.say_time(wait.since, day_of=picture.run.created_at)
        return Note.of(f"requested, waits for a worker since {at}, {clock.say_age(wait.since)}{again}", tone=wait.tone)
    if row.state is StepState.RUNNING and row.claim_expires_at is not None and clock.now > row.claim_expires_at:
        silent = f"its worker is silent: the claim ended {clock.say_age(row.claim_expires_at)}"
        return Note.of(f"{silent}; the sweeper takes it up", tone=Tone.BACK)
    return Note.of("")


def _reason_of(picture: RunPicture, row: StepRecord, event: Event) -> str:
    reasons = [entry.reason for entry in picture.entries_of(row) if entry.event is event and entry.reason]
    return clip(reasons[-1], 300) if reasons else ""
