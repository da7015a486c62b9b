"""A run in every situation in which a person may find it, and every request that they may make."""

from __future__ import annotations

from typing import Any, Final

from backout.compensations.requests import Request, ReviewDecision, RunView, Verb
from backout.ledger.records import StepRecord
from backout.ledger.transitions import CLOSED
from backout.states import ReviewReason, RollbackOutcome, RunState, StepState
from tests.support.views import ASKED, BACK, SEEN, SHOP, done, review_of, row, view_of

S = StepState
DOUBT: Final = {"type": "in_doubt", "message": "its worker was killed"}
UNKNOWN: Final = {"answer": "unknown", "why": "the bank does not answer"}


def here(name: str, state: StepState, **values: Any) -> StepRecord:
    return row(SHOP, name, state, **values)


def about(steps: list[StepRecord], *, reason: ReviewReason = ReviewReason.CONFIRMATION_MISSING, **run: Any) -> RunView:
    """Return a run that waits for a person, about the last of these rows."""
    return view_of(RunState.IN_REVIEW, steps, reviews=[review_of(steps[-1], reason)], **run)


TWO: Final = done(SHOP, "check", "reserve")
THREE: Final = done(SHOP, "check", "reserve", "charge")
ALL: Final = done(SHOP, "check", "reserve", "charge", "book", "page", "receipt")
LIVE: Final = here("page", S.SUCCEEDED, direction=SEEN)
BOOK_FAILED: Final = [*THREE, here("book", S.FAILED)]
BACK_STARTED: Final = [
    *BOOK_FAILED,
    here("check", S.SKIPPED, direction=BACK, start_order=4, attempt=0),
    here("reserve", S.PENDING, direction=BACK, start_order=3),
    here("charge", S.PENDING, direction=BACK, start_order=2),
]
BACK_ENDED: Final = [
    *done(SHOP, "check"),
    *(here(name, S.UNDONE, output={"step": name}) for name in ("reserve", "charge")),
    here("book", S.FAILED),
    *(here(name, S.SUCCEEDED, direction=BACK) for name in ("reserve", "charge", "book")),
    here("check", S.SKIPPED, direction=BACK, attempt=0),
]


def on_the_way_back(state: RunState, *last: StepRecord, **values: Any) -> RunView:
    """Return a run whose rollback has begun and has come to these rows."""
    is_asked = state is RunState.IN_REVIEW
    reviews = [review_of(last[-1], ReviewReason.COMPENSATION_FAILED)] if is_asked else []
    return view_of(state, [*BACK_STARTED, *last], is_rollback_open=True, reviews=reviews, **values)


SITUATIONS: Final[dict[str, RunView]] = {
    "enqueued": view_of(RunState.PENDING, [here("check", S.READY)]),
    "step due": view_of(RunState.RUNNING, [*TWO, here("charge", S.READY)]),
    "step running": view_of(RunState.RUNNING, [*TWO, here("charge", S.RUNNING)]),
    "retry due": view_of(RunState.RUNNING, [*TWO, here("charge", S.RETRY_SCHEDULED)]),
    "paused before a step": view_of(RunState.PAUSED, [*TWO, here("charge", S.PENDING)]),
    "paused beside an attempt": view_of(RunState.PAUSED, [*TWO, here("charge", S.RUNNING)]),
    "paused, then failed": view_of(RunState.PAUSED, BOOK_FAILED),
    "paused after its last step": view_of(RunState.PAUSED, [*ALL, LIVE]),
    "rolled back to a step": view_of(
        RunState.PAUSED,
        [*TWO, here("charge", S.UNDONE), here("charge", S.SUCCEEDED, direction=BACK)],
        rollback_to=1,
        rollback_outcome=RollbackOutcome.COMPLETE,
    ),
    "parked": view_of(RunState.PARKED, BOOK_FAILED),
    "step failed": about(BOOK_FAILED, reason=ReviewReason.RETRIES_EXHAUSTED_AFTER_WRITE),
    "step in doubt": about([*THREE, here("book", S.IN_DOUBT, error=DOUBT, lost_attempts=1)]),
    "question unanswered": about(
        [*TWO, here("charge", S.IN_DOUBT, error=DOUBT), here("charge", S.SUCCEEDED, direction=ASKED, output=UNKNOWN)]
    ),
    "idempotent step in doubt": about([*done(SHOP, "check"), here("reserve", S.IN_DOUBT, error=DOUBT)]),
    "step held": about([*TWO, here("charge", S.PENDING)], reason=ReviewReason.DEFINITION_MISSING),
    "not seen live": about(
        [*ALL[:5], here("page", S.FAILED, direction=SEEN)], reason=ReviewReason.NOT_LIVE_AFTER_PUBLISH
    ),
    "review of the run": view_of(
        RunState.IN_REVIEW, BOOK_FAILED, reviews=[review_of(None, ReviewReason.SYSTEMS_DISAGREE)]
    ),
    "rolling back": on_the_way_back(RunState.ROLLING_BACK, here("book", S.READY, direction=BACK, start_order=1)),
    "undo running": on_the_way_back(RunState.ROLLING_BACK, here("book", S.RUNNING, direction=BACK, start_order=1)),
    "way back paused": on_the_way_back(RunState.PAUSED, here("book", S.PENDING, direction=BACK, start_order=1)),
    "undo failed": on_the_way_back(RunState.IN_REVIEW, here("book", S.FAILED, direction=BACK, start_order=1)),
    "undo in doubt": on_the_way_back(RunState.IN_REVIEW, here("book", S.IN_DOUBT, direction=BACK, start_order=1)),
    "undo held": on_the_way_back(RunState.IN_REVIEW, here("book", S.PENDING, direction=BACK, start_order=1)),
    "question on the way back unanswered": on_the_way_back(
        RunState.IN_REVIEW,
        here("book", S.PENDING, direction=BACK, start_order=1),
        here("book", S.SUCCEEDED, direction=ASKED, start_order=1, output=UNKNOWN),
    ),
    "question on the way back failed": on_the_way_back(
        RunState.IN_REVIEW,
        here("book", S.PENDING, direction=BACK, start_order=1),
        here("book", S.FAILED, direction=ASKED, start_order=1),
    ),
    "succeeded": view_of(RunState.SUCCEEDED, [*ALL, LIVE]),
    "rolled back": view_of(RunState.ROLLED_BACK, BACK_ENDED, rollback_outcome=RollbackOutcome.COMPLETE),
    "rolled back in part": view_of(
        RunState.FAILED,
        [*BACK_ENDED[:-2], here("book", S.FAILED, direction=BACK), BACK_ENDED[-1]],
        rollback_outcome=RollbackOutcome.PARTIAL,
    ),
    "closed as it was": view_of(RunState.FAILED, BOOK_FAILED),
    "cancelled before a step": view_of(
        RunState.CANCELLED, [*TWO, here("charge", S.SKIPPED, attempt=0, error={"type": CLOSED, "message": "stop"})]
    ),
    "cancelled in doubt": view_of(RunState.CANCELLED, [*THREE, here("book", S.IN_DOUBT, error=DOUBT)]),
}
REQUESTS: Final[dict[str, Request]] = {
    "pause": Request(verb=Verb.PAUSE),
    "resume": Request(verb=Verb.RESUME),
    "retry": Request(verb=Verb.RETRY_STEP),
    "skip": Request(verb=Verb.SKIP_STEP),
    "rollback": Request(verb=Verb.ROLLBACK),
    "cancel": Request(verb=Verb.CANCEL),
    "rerun": Request(verb=Verb.RERUN_COMPENSATION, step="book"),
    "continue": Request(verb=Verb.CONTINUE_ROLLBACK),
    "done": Request(verb=Verb.RESOLVE, decision=ReviewDecision.DONE, output={"by": "hand"}),
    "not_done": Request(verb=Verb.RESOLVE, decision=ReviewDecision.NOT_DONE),
    "accept": Request(verb=Verb.RESOLVE, decision=ReviewDecision.ACCEPT),
}
