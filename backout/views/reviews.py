"""What a person is asked, what is known about it, and what they can decide, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from backout.compensations.requests import ReviewDecision
from backout.ledger.records import ReviewRecord, StepRecord
from backout.pipelines.contract import StepContract
from backout.states import Direction, StepState
from backout.views.facts import say_value
from backout.views.picture import RunPicture
from backout.views.story import REVIEW_WORDS, tell_story
from backout.views.words import clean, clip

LONGEST_TEXT: Final = 600
MEANINGS: Final[Mapping[ReviewDecision, str]] = {
    ReviewDecision.DONE: "It has happened, or you did it by hand.",
    ReviewDecision.NOT_DONE: "It has not happened.",
    ReviewDecision.ACCEPT: "Leave it as it is.",
}
_TOLD: Final = frozenset(
    {
        "what",
        "direction",
        "idempotency_key",
        "external_ids",
        "last_successful_step",
        "done",
        "undone",
        "attempt",
        "not_to_be_repeated",
    }
)
"""Evidence that is shown in words of its own."""
_MAY_HAVE_HAPPENED: Final = (StepState.SUCCEEDED, StepState.IN_DOUBT, StepState.FAILED, StepState.RUNNING)


def say_asked(review: ReviewRecord) -> str:
    """Return what is asked: `undoing charge_card: it could not be undone`."""
    about = f"{'undoing ' if review.direction is Direction.COMPENSATION else ''}{clean(review.step)}: "
    return f"{about if review.step else ''}{REVIEW_WORDS[review.reason]}"


def is_overdue(review: ReviewRecord, now: datetime) -> bool:
    """Return whether a review is open although its deadline has passed."""
    return review.decision is None and review.deadline_at is not None and review.deadline_at < now


def tell_evidence(picture: RunPicture, review: ReviewRecord) -> Iterator[str]:
    """Yield what happened, as it is known, sentence by sentence."""
    evidence = review.evidence
    if review.decision is None:
        yield tell_story(picture)
    if evidence.get("what"):
        attempt = f"Attempt {evidence['attempt']}: " if evidence.get("attempt") else ""
        yield f"{attempt}{clip(evidence['what'], LONGEST_TEXT)}."
    for name, words in (("done", "Done so far"), ("undone", "Undone already")):
        steps = evidence.get(name)
        if isinstance(steps, list) and steps:
            yield f"{words}: {', '.join(map(clean, steps))}."
    for name, value in evidence.items():
        if name not in _TOLD and value not in (None, "", [], {}):
            said = clip(say_value(value), LONGEST_TEXT)
            yield f"{clean(name).replace('_', ' ').capitalize()}: {said}."


def find_ids(picture: RunPicture, review: ReviewRecord) -> Iterator[tuple[str, str]]:
    """Return the names under which other systems may know what happened."""
    if review.evidence.get("idempotency_key"):
        yield "idempotency key", str(review.evidence["idempotency_key"])
    ids = review.evidence.get("external_ids")
    known: Mapping[str, Any] = ids if isinstance(ids, Mapping) else {}
    for name, value in {**known, **picture.run.external_ids}.items():
        yield name, str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dangers:
    """What may be done again without harm, and what must not, by contract.

    Attributes:
        never: not by hand without looking first; each with what is known of it.
        freely: under the same idempotency key.
    """

    never: Sequence[str]
    freely: Sequence[str]


def find_dangers(picture: RunPicture) -> Dangers:
    """Return what has happened or may have, and what doing it again would mean."""
    never: list[str] = []
    freely: list[str] = []
    for row in picture.latest(Direction.FORWARD):
        contract = picture.contract_of(row)
        if contract is not None and row.attempt and row.state in _MAY_HAVE_HAPPENED:
            (freely if contract.idempotent else never).append(_say_step(row, contract))
    return Dangers(never=never, freely=freely)


def _say_step(row: StepRecord, contract: StepContract) -> str:
    states = {
        StepState.SUCCEEDED: "it has happened",
        StepState.IN_DOUBT: "nobody knows whether it happened",
        StepState.FAILED: "it failed, and may have happened all the same",
        StepState.RUNNING: "it is running",
    }
    if contract.effect.value == "read":
        return f"{clean(row.step)}: it only reads"
    return f"{clean(row.step)}: {states[row.state]}"
