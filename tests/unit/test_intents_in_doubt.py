"""What nobody knows stays in the way of what a person asks for, until somebody does (R5, R8)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from backout.compensations.intents import decide
from backout.compensations.moves import Ask, Intent, Reopen, Start
from backout.compensations.requests import Refusal, Request, ReviewDecision, RunView, Verb
from backout.states import ReviewReason, RollbackOutcome, RunState, StepState
from tests.support.records import AN_INSTANT
from tests.support.views import ASKED, BACK, SEEN, SHOP, done, review_of, row, view_of

CONTINUE: Final = Request(verb=Verb.CONTINUE_ROLLBACK)
RESUME: Final = Request(verb=Verb.RESUME)
RERUN_BOOK: Final = Request(verb=Verb.RERUN_COMPENSATION, step="book")
IN_DOUBT: Final = {"type": "in_doubt", "message": "its process was killed"}
CLOSED: Final = {"type": "backout.ClosedByHand", "message": "cancelled"}
LATER: Final = AN_INSTANT + timedelta(minutes=9)


def allowed(view: RunView, request: Request) -> Intent:
    decided = decide(view, request)
    assert isinstance(decided, Intent), decided
    return decided


def refused(view: RunView, request: Request) -> Refusal:
    decided = decide(view, request)
    assert isinstance(decided, Refusal), decided
    return decided


def moves(intent: Intent, kind: type[Any]) -> list[Any]:
    return [move for move in intent.moves if isinstance(move, kind)]


def test_closed_run_that_never_turned_back_has_no_rollback_to_continue() -> None:
    """A question that failed on the way forward is no undo that stopped."""
    charge = row(SHOP, "charge", StepState.IN_DOUBT, error=IN_DOUBT)
    asked = row(SHOP, "charge", StepState.FAILED, direction=ASKED)
    assert "no rollback" in refused(view_of(RunState.FAILED, [charge, asked]), CONTINUE).why


def accepted_doubt() -> RunView:
    """Return a run whose rollback has ended without an undo that was cut off, because a person accepted that."""
    steps = [
        row(SHOP, "reserve", StepState.UNDONE),
        *done(SHOP, "book"),
        row(SHOP, "book", StepState.FAILED, direction=BACK, error=IN_DOUBT, may_run_until=LATER),
        row(SHOP, "reserve", StepState.SUCCEEDED, direction=BACK),
    ]
    return view_of(RunState.FAILED, steps, rollback_outcome=RollbackOutcome.PARTIAL)


def test_undo_that_was_cut_off_is_not_run_again_as_safe() -> None:
    """That a person has accepted it does not tell whether it was done."""
    view = accepted_doubt()
    assert "may have been done" in refused(view, CONTINUE).why
    assert not allowed(view, RERUN_BOOK).is_safe
    assert not allowed(view, Request(verb=Verb.ROLLBACK)).is_safe


def test_undo_that_may_still_be_running_is_waited_for() -> None:
    """A person cannot know yet that it has not happened."""
    early = replace(accepted_doubt(), now=AN_INSTANT)
    assert "may still be running until" in refused(early, RERUN_BOOK).why
    assert moves(allowed(replace(early, now=LATER), RERUN_BOOK), Reopen)
    undo = row(SHOP, "book", StepState.IN_DOUBT, direction=BACK, error=IN_DOUBT, may_run_until=LATER)
    view = view_of(
        RunState.IN_REVIEW,
        [*done(SHOP, "book"), undo],
        reviews=[review_of(undo, ReviewReason.CONFIRMATION_MISSING)],
        is_rollback_open=True,
    )
    not_done = Request(verb=Verb.RESOLVE, decision=ReviewDecision.NOT_DONE)
    assert "may still be running until" in refused(replace(view, now=AN_INSTANT), not_done).why
    assert moves(allowed(replace(view, now=LATER), not_done), Reopen)


def test_nothing_is_undone_beside_an_undo_that_runs() -> None:
    """R5: one after the other, also when the run is paused in between."""
    steps = [
        *done(SHOP, "charge"),
        row(SHOP, "book", StepState.UNDONE),
        row(SHOP, "charge", StepState.RUNNING, direction=BACK),
        row(SHOP, "book", StepState.SUCCEEDED, direction=BACK),
    ]
    refusal = refused(view_of(RunState.PAUSED, steps, is_rollback_open=True), RERUN_BOOK)
    assert refusal.is_busy


def test_step_that_a_person_has_settled_is_not_asked_about_again() -> None:
    """A reconcile function that failed before must not drop the undo of what has certainly happened."""
    book_back = row(SHOP, "book", StepState.FAILED, direction=BACK)
    steps = [
        *done(SHOP, "charge", "book"),
        row(SHOP, "charge", StepState.FAILED, direction=ASKED),
        book_back,
        row(SHOP, "charge", StepState.PENDING, direction=BACK),
    ]
    view = view_of(
        RunState.IN_REVIEW,
        steps,
        reviews=[review_of(book_back, ReviewReason.COMPENSATION_FAILED)],
        is_rollback_open=True,
    )
    assert moves(allowed(view, CONTINUE), Ask) == []


def test_round_that_was_closed_before_it_began_hides_no_earlier_effect() -> None:
    """The provider must recognise the key under which it may have happened."""
    steps = [
        *done(SHOP, "check", "reserve", "charge"),
        row(SHOP, "book", StepState.FAILED, idempotency_key="K"),
        row(SHOP, "book", StepState.SKIPPED, round=2, idempotency_key="K", attempt=0, error=CLOSED),
    ]
    intent = allowed(view_of(RunState.CANCELLED, steps), RESUME)
    assert [start.idempotency_key for start in moves(intent, Start)] == ["K"]
    assert not intent.is_safe


def test_step_that_was_skipped_before_it_was_called_stays_skipped() -> None:
    """A restart takes back no decision."""
    steps = [
        *done(SHOP, "check", "reserve"),
        row(SHOP, "charge", StepState.SKIPPED, attempt=0, error=CLOSED),
        *done(SHOP, "book"),
        row(SHOP, "page", StepState.SKIPPED, attempt=0, error=CLOSED),
    ]
    intent = allowed(view_of(RunState.CANCELLED, steps), RESUME)
    assert [start.step for start in moves(intent, Start)] == ["page"]


def test_rollback_to_a_step_in_doubt_is_refused() -> None:
    """Nobody could go on from there."""
    steps = [*done(SHOP, "charge"), row(SHOP, "book", StepState.IN_DOUBT, error=IN_DOUBT)]
    refusal = refused(view_of(RunState.IN_REVIEW, steps), Request(verb=Verb.ROLLBACK, to_step="book"))
    assert "may have happened" in refusal.why


def test_restart_says_what_was_never_seen_live() -> None:
    """A page that stands and that nobody has seen is no good reason to send a receipt."""
    steps = [
        *done(SHOP, "check", "reserve", "charge", "book", "page"),
        row(SHOP, "page", StepState.FAILED, direction=SEEN),
        row(SHOP, "receipt", StepState.SKIPPED, attempt=0, error=CLOSED),
    ]
    intent = allowed(view_of(RunState.PAUSED, steps, rollback_to=4, rollback_outcome=RollbackOutcome.COMPLETE), RESUME)
    assert any("not seen live" in note for note in intent.notes)
    assert not intent.is_safe
