"""The questions that are asked about a step, in notes and in the sentence: whether it happened, whether it is live."""

from __future__ import annotations

from collections.abc import Mapping

from backout.events import Event
from backout.ledger.records import StepRecord
from backout.states import Answer, Direction, StepState
from backout.views.clock import Clock
from backout.views.marks import Tone
from backout.views.notes import Note
from backout.views.picture import RunPicture
from backout.views.words import clip

ASKED = {Direction.RECONCILE: "whether it happened", Direction.VERIFY: "whether it is live"}
_ANSWERS = {
    (Direction.RECONCILE, Answer.DONE): "it had happened",
    (Direction.RECONCILE, Answer.NOT_DONE): "it had not happened",
    (Direction.VERIFY, Answer.DONE): "it is live",
}


def find_questions(picture: RunPicture, row: StepRecord) -> list[StepRecord]:
    """Return the questions that were asked about a forward step."""
    if row.direction is not Direction.FORWARD:
        return []
    place = (row.round, row.position)
    return [other for other in picture.steps if other.direction.is_question and (other.round, other.position) == place]


def find_open_question(picture: RunPicture) -> StepRecord | None:
    """Return the question that the run waits for; `None` when it waits for none."""
    waiting = (StepState.READY, StepState.RUNNING, StepState.RETRY_SCHEDULED, StepState.WAITING)
    return next((row for row in picture.steps if row.direction.is_question and row.state in waiting), None)


def tell_question(picture: RunPicture, question: StepRecord, clock: Clock) -> Note:
    """Return a note about one question: `asked whether it happened, attempt 2: it had not happened`."""
    attempt = f", attempt {question.attempt}" if question.attempt > 1 else ""
    asked = f"asked {ASKED[question.direction]}{attempt}: "
    match question.state:
        case StepState.SUCCEEDED:
            return Note.of(asked, (_say_answer(question), Tone.STRONG))
        case StepState.FAILED:
            return Note.of(asked, (f"no answer ({clip((question.error or {}).get('message') or '')})", Tone.ERROR))
        case StepState.RETRY_SCHEDULED if question.next_retry_at is not None:
            why = clip((question.error or {}).get("message") or "")
            return Note.of(asked, (f"{why}; the next is {clock.say_due(question.next_retry_at)}", Tone.BACK))
        case StepState.WAITING:
            return Note.of(asked, (f"it {_why_it_waits(picture, question)}", Tone.BACK))
        case StepState.PENDING:
            return Note.of(f"to be asked {ASKED[question.direction]} before it is undone")
    return Note.of(f"{asked}waits for the answer")


def _say_answer(question: StepRecord) -> str:
    stored = question.output if isinstance(question.output, Mapping) else {}
    answer = Answer(str(stored.get("answer", Answer.UNKNOWN)))
    if answer is Answer.UNKNOWN:
        return f"nobody can tell ({clip(stored.get('why') or '')})"
    return _ANSWERS[question.direction, answer]


def _why_it_waits(picture: RunPicture, question: StepRecord) -> str:
    reasons = [entry.reason for entry in picture.entries_of(question) if entry.event is Event.WAIT_STARTED]
    return clip((reasons[-1] if reasons else None) or "waits").rpartition("; ")[2]
