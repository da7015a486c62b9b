"""The timeline of a run: the recorded plan forward, also what has not started yet, and the rollback in its order."""

from __future__ import annotations

from rich.text import Text

from backout.cli.picture import RunPicture
from backout.cli.render.attempts import tell_attempts
from backout.cli.render.clock import Clock
from backout.cli.render.lines import Line, Lines
from backout.cli.render.marks import NOT_STARTED, Mark, mark_step
from backout.cli.render.questions import find_questions, tell_question
from backout.cli.render.words import clean, clip, say_count, say_seconds
from backout.events import Event
from backout.ledger.records import StepRecord
from backout.pipelines.contract import RecoveryKind, RetryRule, StepContract
from backout.states import Direction, StepState

HEADINGS = ("attempts", "started", "took")


def draw_steps(picture: RunPicture, clock: Clock) -> Lines:
    """Return the forward steps in the order of the plan, with their attempts, ids and errors."""
    rows = {row.position: row for row in picture.latest(Direction.FORWARD)}
    contracts = picture.plan.steps if picture.plan is not None else ()
    positions = range(max(len(contracts), *(position + 1 for position in rows), 0))
    lines = []
    for position in positions:
        contract = contracts[position] if position < len(contracts) else None
        if position in rows:
            lines.append(_draw_row(picture, rows[position], clock, retry=contract.retry if contract else None))
        elif contract is not None:
            lines.append(_draw_missing(picture, contract))
    return Lines(title="Steps", headings=HEADINGS, lines=lines)


def draw_rollback(picture: RunPicture, clock: Clock) -> Lines | None:
    """Return the compensations in the order of undoing, each with its recovery action; `None` without a rollback."""
    rows = picture.latest(Direction.COMPENSATION)
    if not rows:
        return None
    lines = []
    for row in rows:
        contract = picture.contract_of(row)
        undoing = contract.compensation if contract else None
        lines.append(_draw_row(picture, row, clock, retry=undoing.retry if undoing else None))
    return Lines(title="Rollback", headings=HEADINGS, lines=lines)


def _draw_missing(picture: RunPicture, contract: StepContract) -> Line:
    is_over = picture.run.state.is_final or bool(picture.latest(Direction.COMPENSATION))
    mark = Mark(NOT_STARTED.sign, "never started", NOT_STARTED.style) if is_over else NOT_STARTED
    return Line(mark=mark, name=clean(contract.name))


def _draw_row(picture: RunPicture, row: StepRecord, clock: Clock, *, retry: RetryRule | None) -> Line:
    return Line(
        mark=mark_step(row.state, row.direction),
        name=clean(row.step),
        cells=_say_cells(picture, row, clock, retry),
        notes=_say_notes(picture, row, clock),
    )


def _say_cells(picture: RunPicture, row: StepRecord, clock: Clock, retry: RetryRule | None) -> tuple[str, ...]:
    if row.started_at is None:
        return ()
    ended_at = row.finished_at or (clock.now if row.state is StepState.RUNNING else None)
    took = say_seconds((ended_at - row.started_at).total_seconds()) if ended_at else ""
    if row.state is StepState.RUNNING:
        took += " …"
    # Attempts from before a person asked for more do not count against the retries.
    allowed = f"{row.attempt} of {row.forgiven_attempts + retry.limit + 1}" if retry else str(row.attempt)
    return (allowed, clock.say_time(row.started_at, day_of=picture.run.created_at), took)


def _say_notes(picture: RunPicture, row: StepRecord, clock: Clock) -> tuple[Text, ...]:
    notes = [_say_action(picture, row)] if row.direction is Direction.COMPENSATION else []
    notes += tell_attempts(picture, row, clock)
    notes += [tell_question(picture, question, clock) for question in find_questions(picture, row)]
    notes += [Text.assemble(f"{clean(name)} ", (clean(value), "cyan")) for name, value in row.external_ids.items()]
    notes.append(_say_waiting(row, clock))
    if row.state is StepState.SKIPPED and row.direction is Direction.FORWARD:
        notes.append(Text(_reason_of(picture, row, Event.STEP_SKIPPED)))
    earlier = sum(_is_same_step(row, other) for other in picture.steps)
    if earlier:
        notes.append(Text(f"round {row.round}; {say_count(earlier, 'earlier round')}: see --entries", style="dim"))
    return tuple(note for note in notes if note.plain)


def _is_same_step(row: StepRecord, other: StepRecord) -> bool:
    return (other.position, other.direction) == (row.position, row.direction) and other.round < row.round


def _say_action(picture: RunPicture, row: StepRecord) -> Text:
    """Return the named recovery action, or why nothing is run."""
    contract = picture.contract_of(row)
    if row.state is StepState.KEPT:
        reason = _reason_of(picture, row, Event.STEP_KEPT) or (clean(contract.recovery_reason) if contract else "")
        return Text(f"stays: {reason}" if reason else "stays")
    action = clean(contract.compensation.action) if contract and contract.compensation else ""
    if row.state is StepState.SKIPPED:
        reason = _reason_of(picture, row, Event.STEP_SKIPPED)
        return Text(": ".join(part for part in (action, reason) if part))
    if contract is not None and contract.recovery is RecoveryKind.IRREVERSIBLE:
        return Text(f"cannot be undone: {clean(contract.recovery_reason)}")
    return Text(action, style="italic")


def _say_waiting(row: StepRecord, clock: Clock) -> Text:
    """Return what an unfinished row waits for."""
    if row.state is StepState.RETRY_SCHEDULED and row.next_retry_at is not None:
        return Text(f"next attempt {clock.say_due(row.next_retry_at)}", style="yellow")
    if row.state is StepState.WAITING and row.sweep_at is not None:
        return Text(
            f"an attempt that was given up may still run; this is {clock.say_due(row.sweep_at)}", style="yellow"
        )
    if row.state is StepState.READY and row.dispatched_at is not None:
        again = f", sent {row.sends} times" if row.sends > 1 else ""
        return Text(f"waits for a worker, message sent {clock.say_age(row.dispatched_at)}{again}")
    if row.state is StepState.RUNNING and row.claim_expires_at is not None and clock.now > row.claim_expires_at:
        silent = f"its worker is silent: the claim ended {clock.say_age(row.claim_expires_at)}"
        return Text(f"{silent}; the sweeper takes it up", style="yellow")
    return Text("")


def _reason_of(picture: RunPicture, row: StepRecord, event: Event) -> str:
    reasons = [entry.reason for entry in picture.entries_of(row) if entry.event is event and entry.reason]
    return clip(reasons[-1], 300) if reasons else ""
