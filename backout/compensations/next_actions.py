"""What is safe to do next: every verb for a run as it is recorded, safe or not, and why. Pure.

The answers are the same decisions that the actions take (`intents.decide`), so that what is called safe is also done.
Source: `semantics` sections 1 and 7.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from backout.compensations.intents import decide
from backout.compensations.moves import Intent
from backout.compensations.requests import PlannedTask, Refusal, Request, ReviewDecision, RunView, TaskKind, Verb
from backout.ledger.records import ReviewRecord, StepRecord
from backout.states import Direction, ReviewReason, StepState


@dataclass(frozen=True, slots=True, kw_only=True)
class NextAction:
    """One thing that a person could do about a run.

    Attributes:
        request: what to ask for.
        is_possible: it would be done; otherwise `why` says why not, and what to do instead.
        is_safe: nothing would be done twice or lost, as far as the ledger can tell.
        why: in words for a person who is woken by it.
    """

    request: Request
    is_possible: bool
    is_safe: bool
    why: str


def list_next_actions(view: RunView) -> tuple[NextAction, ...]:
    """Return what can be done about a run: safe actions first, then possible ones, then what is refused, and why."""
    actions = [_judge(view, request) for request in _requests(view)]
    return tuple(sorted(actions, key=lambda action: (not action.is_possible, not action.is_safe)))


def _requests(view: RunView) -> Iterator[Request]:
    for review in view.reviews:
        for decision in ReviewDecision:
            yield Request(verb=Verb.RESOLVE, review_id=review.id, decision=decision)
    for verb in (Verb.RETRY_STEP, Verb.RESUME, Verb.CONTINUE_ROLLBACK, Verb.SKIP_STEP, Verb.ROLLBACK):
        yield Request(verb=verb)
    undos = sorted({s.step for s in view.steps if s.direction is Direction.COMPENSATION and s.attempt > 0})
    for step in undos:
        yield Request(verb=Verb.RERUN_COMPENSATION, step=step)
    yield Request(verb=Verb.PAUSE)
    yield Request(verb=Verb.CANCEL)


def _judge(view: RunView, request: Request) -> NextAction:
    intent = decide(view, request)
    if isinstance(intent, Refusal):
        why = _as_sentence(view, f"{intent.why}. {intent.remedy}")
        return NextAction(request=request, is_possible=False, is_safe=False, why=why)
    is_safe, why = _explain(view, request, intent)
    return NextAction(request=request, is_possible=True, is_safe=is_safe and intent.is_safe, why=why)


def _as_sentence(view: RunView, words: str) -> str:
    """Return words as the beginning of a sentence; the name of a step stays as it is."""
    is_name = any(words.startswith(step.name) for step in view.plan.steps)
    return words if is_name else f"{words[0].upper()}{words[1:]}"


def _explain(view: RunView, request: Request, intent: Intent) -> tuple[bool, str]:
    match request.verb:
        case Verb.RESOLVE:
            return _explain_resolve(view, request)
        case Verb.SKIP_STEP:
            words = f"Goes on without {_name(view.frontier)}."
            return False, _join(words, *intent.notes)
        case Verb.CANCEL:
            return True, _join("Stops the run; nothing is undone.", *intent.notes)
        case Verb.PAUSE:
            return True, _join("Nothing new starts until it is resumed.", *intent.notes)
        case Verb.ROLLBACK:
            what = _say_tasks(intent.tasks) or "There is nothing to undo; the run is closed as rolled back"
            return True, _join(f"{what}.", *intent.notes)
        case Verb.RETRY_STEP | Verb.RESUME:
            return _explain_forward(view, intent)
        case _:
            return True, _join(f"{_say_tasks(intent.tasks) or 'The rollback is closed'}.", *intent.notes)


def _explain_forward(view: RunView, intent: Intent) -> tuple[bool, str]:
    what = f"{_say_tasks(intent.tasks) or 'No step is left: the run is closed as succeeded'}."
    row = view.frontier
    called = {task.step: task.given["idempotency_key"] for task in intent.tasks if task.kind is TaskKind.RUN}
    is_again = row is not None and row.attempt > 0 and called.get(row.step) == row.idempotency_key
    if row is None or not is_again or not intent.is_safe:
        return intent.is_safe, _join(what, *intent.notes)
    said_nothing_happened = bool((row.error or {}).get("no_effect")) and row.lost_attempts == 0
    key = f"under the same idempotency key, {row.idempotency_key}"
    why = "it said that nothing had happened" if said_nothing_happened else f"it may run again {key}"
    return True, _join(what, f"Safe: {why}.", *intent.notes)


def _explain_resolve(view: RunView, request: Request) -> tuple[bool, str]:
    review = view.review(request.review_id)
    if review is None or request.decision is None:
        return False, "The review is not open any more."
    match request.decision:
        case ReviewDecision.DONE:
            return False, f"Only when you know that it has happened. {_how_to_know(view, review)}"
        case ReviewDecision.NOT_DONE:
            return False, f"Only when you know that it has not happened. {_how_to_know(view, review)}"
        case ReviewDecision.ACCEPT:
            if review.direction is Direction.COMPENSATION or view.is_rollback_open:
                return True, "Nothing more is done about this undo; the rollback goes on, and ends partial or failed."
            return True, "Nothing more is done: the run is closed as it is, and what was done stays."


def _how_to_know(view: RunView, review: ReviewRecord) -> str:
    """Return what may have happened, and where to look before anything is sent again."""
    row = next(
        (
            s
            for s in view.steps
            if (s.round, s.position, s.direction) == (review.round, review.position, review.direction)
        ),
        None,
    )
    if row is None:
        return str(review.evidence.get("what", ""))
    is_undo = row.direction is Direction.COMPENSATION
    name = f"the undo of {row.step}" if is_undo else row.step
    where = f"Ask its provider for key {row.idempotency_key}"
    if row.external_ids:
        listed = ", ".join(f"{name} {value}" for name, value in row.external_ids.items())
        where = f"{where} ({listed})"
    if review.reason is ReviewReason.NOT_LIVE_AFTER_PUBLISH:
        return f"{row.step} was done and has not been seen live. Look whether it is."
    name = _as_sentence(view, name)
    if row.state is StepState.IN_DOUBT:
        cut = f"{name} may have happened: attempt {row.attempt} was cut off before it answered."
        return f"{cut} {where} before anything is done again."
    error = (row.error or {}).get("message", "")
    return f"{name} ended with: {error or row.state.value}. {where} before anything is done again."


def _say_tasks(tasks: tuple[PlannedTask, ...]) -> str:
    words = {TaskKind.RUN: "Runs", TaskKind.UNDO: "Undoes", TaskKind.ASK: "Asks about", TaskKind.VERIFY: "Looks at"}
    said = [f"{words[task.kind]} {task.step}" for task in tasks]
    return ", then ".join([said[0], *(one[0].lower() + one[1:] for one in said[1:])]) if said else ""


def _name(row: StepRecord | None) -> str:
    return row.step if row is not None else "the step"


def _join(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)
