"""Compare the bank's books with the ledger, run by run: what was lost, done twice, or has not ended. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from backout import Direction, ReviewReason, RunState
from backout.ledger.records import ReviewRecord, RunRecord, StepRecord
from backout.states import StepState
from tests.proof.bank import Line

UNDONE_BY: Final = {"reserve": "release", "charge": "refund", "publish": "take_down", "ship": "call_back"}
"""Deeds that are taken back when a run is rolled back."""
HONEST_REASONS: Final = {
    ReviewReason.CONFIRMATION_MISSING: {"notify", "call_back", "ship"},
    ReviewReason.IRREVERSIBLE_PASSED: {"notify"},
    ReviewReason.RETRIES_EXHAUSTED_AFTER_WRITE: {"charge", "ship"},
}
"""Why a person may be asked in this pipeline, and about which steps: nothing but their contracts may be the cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """One run, as the ledger tells it."""

    run: RunRecord
    steps: Sequence[StepRecord]
    reviews: Sequence[ReviewRecord]


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What an audit found.

    Attributes:
        states: how many runs are in each state.
        reasons: how many reviews are open for each reason.
        effects: in the books.
        problems: run and what is wrong, in words; empty when books and ledger agree.
    """

    states: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    effects: int = 0
    problems: list[str] = field(default_factory=list)


def audit(runs: Sequence[RunFacts], books: Sequence[Line], enqueued: int) -> Verdict:
    """Return what the books and the ledger say together.

    Args:
        runs: all of the ledger.
        books: all effects.
        enqueued: source events for which a run was asked.
    """
    verdict = Verdict(effects=len(books))
    by_run: dict[str, Counter[str]] = {}
    for line in books:
        by_run.setdefault(line.run_id, Counter())[line.deed] += 1
    for facts in runs:
        verdict.states[facts.run.state.value] += 1
        verdict.reasons.update(review.reason.value for review in facts.reviews)
        found = _problems(facts, by_run.pop(facts.run.id, Counter()))
        verdict.problems += [f"run {facts.run.id} ({facts.run.state.value}): {problem}" for problem in found]
    verdict.problems += [f"run {run_id} has effects and is not in the ledger" for run_id in by_run]
    events = Counter(facts.run.source_event_id for facts in runs)
    verdict.problems += [f"source event {event} has {count} runs" for event, count in events.items() if count > 1]
    if len(events) != enqueued:
        verdict.problems.append(f"{enqueued} runs were asked for, the ledger has {len(events)}")
    return verdict


def _problems(facts: RunFacts, effects: Mapping[str, int]) -> Iterator[str]:
    yield from (f"{deed} was done {count} times" for deed, count in effects.items() if count > 1)
    yield from _unfinished(facts)
    forward = {step.step: step for step in facts.steps if step.direction is Direction.FORWARD}
    backward = {step.step: step for step in facts.steps if step.direction is Direction.COMPENSATION}
    for name, step in forward.items():
        if name == "look":
            continue
        yield from _wrong_deed(step, effects.get(name, 0))
    for name, step in backward.items():
        yield from _wrong_undo(step, effects.get(name, 0), effects.get(f"undo {name}", 0))
    never_started = set(effects) - {*forward, *(f"undo {name}" for name in backward)}
    yield from (f"{deed} is in the books and not in the ledger" for deed in never_started)
    if facts.run.state is RunState.ROLLED_BACK:
        left = [deed for deed in UNDONE_BY if effects.get(deed, 0) != effects.get(f"undo {deed}", 0)]
        yield from (f"{deed} was not taken back" for deed in left)
    if facts.run.state is RunState.SUCCEEDED:
        yield from (f"{deed} of a run that succeeded" for deed in effects if deed.startswith("undo "))


def _unfinished(facts: RunFacts) -> Iterator[str]:
    if not facts.run.state.is_settled:
        yield f"it has not ended: {[(s.step, s.direction.value, s.state.value) for s in facts.steps]}"
    if facts.run.state is RunState.IN_REVIEW and not facts.reviews:
        yield "a person is to decide, and nothing says what"
    for review in facts.reviews:
        function = UNDONE_BY.get(review.step or "") if review.direction is Direction.COMPENSATION else review.step
        if function not in HONEST_REASONS.get(review.reason, set()):
            yield f"a person is asked about {function}: {review.reason.value} ({review.evidence.get('what')})"


def _wrong_deed(step: StepRecord, count: int) -> Iterator[str]:
    if step.state in (StepState.SUCCEEDED, StepState.UNDONE) and count != 1:
        yield f"{step.step} is {step.state.value} in the ledger and {count} times in the books"
    if step.attempt == 0 and count:
        yield f"{step.step} never started and is in the books"


def _wrong_undo(step: StepRecord, done: int, undone: int) -> Iterator[str]:
    if step.state is StepState.SUCCEEDED and undone != done:
        yield f"{step.step} was undone in the ledger; the books have it {done} times, and {undone} times taken back"
    if step.attempt == 0 and undone:
        yield f"{step.step} was taken back and the ledger does not know"
