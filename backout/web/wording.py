"""What verbs, fields and decisions are called on a page, and texts of the core with these names in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, assert_never

from backout.compensations.requests import Request, ReviewDecision, Verb
from backout.views.words import clean

VERBS: Final[Mapping[Verb, str]] = {
    Verb.RETRY_STEP: "Retry the step",
    Verb.RESUME: "Let the run go on",
    Verb.SKIP_STEP: "Go on without the step",
    Verb.ROLLBACK: "Undo what the run did",
    Verb.RERUN_COMPENSATION: "Run an undo again",
    Verb.CONTINUE_ROLLBACK: "Let the rollback go on",
    Verb.RESOLVE: "Decide the review",
    Verb.CANCEL: "Stop the run",
    Verb.PAUSE: "Pause the run",
}
DECISIONS: Final[Mapping[ReviewDecision, str]] = {
    ReviewDecision.DONE: "It has happened",
    ReviewDecision.NOT_DONE: "It has not happened",
    ReviewDecision.ACCEPT: "Leave it as it is",
}
TO_STEP: Final = "Undo: back to a step"
ACROSS: Final = "Across a step that cannot be undone: why"
_FIELDS: Final[Mapping[str, str]] = {
    "to_step": TO_STEP,
    "across_irreversible": ACROSS,
    "assign_review": "Take the review",
    "backout reviews list": "The list of reviews",
    "backout runs list": "The list of runs",
}
_WORDS: Final[Mapping[str, str]] = {
    **{verb.value: words for verb, words in VERBS.items()},
    **{decision.value: words for decision, words in DECISIONS.items()},
    **_FIELDS,
}


def name_request(request: Request) -> str:
    """Return what is asked for, as a heading: `Retry the step charge_card`."""
    match request.verb:
        case Verb.RETRY_STEP | Verb.SKIP_STEP:
            return f"{VERBS[request.verb]} {clean(request.step)}" if request.step else VERBS[request.verb]
        case Verb.RERUN_COMPENSATION:
            return f"Run the undo of {clean(request.step)} again" if request.step else VERBS[request.verb]
        case Verb.ROLLBACK:
            return f"Undo back to {clean(request.to_step)}" if request.to_step else VERBS[request.verb]
        case Verb.RESOLVE:
            return f"Decide: {lower_first(DECISIONS[request.decision])}" if request.decision else VERBS[request.verb]
        case Verb.CANCEL:
            return "Stop the run and undo what it did" if request.with_rollback else VERBS[request.verb]
        case Verb.RESUME | Verb.CONTINUE_ROLLBACK | Verb.PAUSE:
            return VERBS[request.verb]
        case _ as never:
            assert_never(never)


def in_words(text: object) -> str:
    """Return a text of the core with the verbs that it names between backticks as they are called on a page."""
    return re.sub("`([^`]+)`", lambda found: f"“{_WORDS.get(found[1], found[1])}”", clean(text))


def as_sentence(text: str) -> str:
    """Return a text with a full stop at its end."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def lower_first(text: str) -> str:
    """Return a text that goes into the middle of another."""
    return text[:1].lower() + text[1:]
