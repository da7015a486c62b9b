"""Runs in a real ledger in every scene in which a person may find them, and every request that they may make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from backout.compensations.actions import act
from backout.compensations.requests import Request, ReviewDecision, Verb
from backout.compensations.reviews import open_review
from backout.compensations.way_back import walk_back
from backout.ledger import queries, transitions
from backout.ledger.records import StepRecord
from backout.ledger.session import Ledger
from backout.states import Direction, ReviewReason, RunState, StepState
from tests.support.ledgers import read_run, try_claim
from tests.support.recorder import make_engine
from tests.support.runs import RecordedRun

BY: Final = {"actor": "anna", "reason": "the bank says so"}
BACK: Final = Direction.COMPENSATION


def enqueued(ledger: Ledger) -> RecordedRun:
    return RecordedRun(ledger=ledger)


def reserved(ledger: Ledger) -> RecordedRun:
    """Record a run that has come to its charge."""
    run = RecordedRun(ledger=ledger)
    run.succeed("check_address", "reserve_stock")
    return run


def retrying(ledger: Ledger) -> RecordedRun:
    run = reserved(ledger)
    run.retry("charge_card", "timed out", delay_seconds=3600)
    return run


def parked(ledger: Ledger) -> RecordedRun:
    """Record a run that failed at its courier and kept what was done."""
    run = reserved(ledger)
    run.succeed("charge_card")
    claim = run.claim("book_courier")
    with ledger.transaction() as connection:
        error = {"type": "builtins.OSError", "message": "no courier"}
        assert transitions.fail_step(connection, claim, error=error, reason="no courier")
        assert transitions.park_run(connection, run.id, operator_state="parked", reason="no courier")
    return run


def doubted(ledger: Ledger) -> RecordedRun:
    """Record a run of which nobody knows whether its courier is booked."""
    run = reserved(ledger)
    run.succeed("charge_card")
    run.ask_person("book_courier", ReviewReason.CONFIRMATION_MISSING)
    return run


def succeeded(ledger: Ledger) -> RecordedRun:
    run = reserved(ledger)
    run.succeed("charge_card", "book_courier", "send_receipt")
    return run


def rolling_back(ledger: Ledger) -> RecordedRun:
    run = reserved(ledger)
    run.succeed("charge_card")
    run.fail("book_courier", "no courier")
    return run


def undo_failed(ledger: Ledger) -> RecordedRun:
    """Record a run whose first undo has failed for good."""
    run = rolling_back(ledger)
    claim = run.claim("book_courier", direction=BACK)
    with ledger.transaction() as connection:
        error = {"type": "builtins.OSError", "message": "no answer"}
        assert transitions.fail_step(connection, claim, error=error, reason="no answer")
        reason = ReviewReason.COMPENSATION_FAILED
        assert open_review(connection, run.plan, claim.key, reason, reason="no answer", how="failed")
    return run


def rolled_back(ledger: Ledger) -> RecordedRun:
    run = RecordedRun(ledger=ledger)
    run.roll_back_order()
    return run


def cancelled(ledger: Ledger) -> RecordedRun:
    run = reserved(ledger)
    act(run.id, Request(verb=Verb.CANCEL), engine=make_engine(ledger), **BY)
    return run


def paused(ledger: Ledger) -> RecordedRun:
    run = reserved(ledger)
    act(run.id, Request(verb=Verb.PAUSE), engine=make_engine(ledger), **BY)
    return run


def paused_on_the_way_back(ledger: Ledger) -> RecordedRun:
    run = rolling_back(ledger)
    act(run.id, Request(verb=Verb.PAUSE), engine=make_engine(ledger), **BY)
    return run


def back_to_the_start(ledger: Ledger) -> RecordedRun:
    """Record a run that a person has rolled back to its first step."""
    run = reserved(ledger)
    act(run.id, Request(verb=Verb.ROLLBACK, to_step="check_address"), engine=make_engine(ledger), **BY)
    finish(run)
    return run


def finish(run: RecordedRun) -> None:
    """Run what is left of a way back, as workers would."""
    engine = make_engine(run.ledger)
    while read_run(run.ledger, run.id).state is RunState.ROLLING_BACK:
        due = next(one for one in rows_of(run) if one.state is StepState.READY and one.direction is BACK)
        claim = try_claim(run.ledger, due.key, attempt=due.attempt + 1)
        assert claim is not None
        with run.ledger.transaction() as connection:
            assert transitions.succeed_compensation(connection, claim, output=None, operator_state="undone")
            walk_back(
                connection,
                run.plan,
                run.id,
                left=claim.run.rollback_to,
                resend_seconds=engine.settings.resend_seconds,
                links=50,
            )


def rows_of(run: RecordedRun) -> list[StepRecord]:
    return run.ledger.read(lambda connection: queries.list_steps(connection, run.id))


def entries_of(run: RecordedRun, after: int = 0) -> list[Any]:
    return run.ledger.read(lambda connection: queries.list_entries(connection, run.id, after_id=after))


def resolved(decision: ReviewDecision, output: Any = None) -> Request:
    return Request(verb=Verb.RESOLVE, decision=decision, output=output)


SCENES: Final[dict[str, Callable[[Ledger], RecordedRun]]] = {
    scene.__name__: scene
    for scene in (
        enqueued,
        reserved,
        retrying,
        parked,
        doubted,
        succeeded,
        rolling_back,
        undo_failed,
        rolled_back,
        cancelled,
        paused,
        paused_on_the_way_back,
        back_to_the_start,
    )
}
REQUESTS: Final[dict[str, Request]] = {
    "pause": Request(verb=Verb.PAUSE),
    "resume": Request(verb=Verb.RESUME),
    "retry": Request(verb=Verb.RETRY_STEP),
    "skip": Request(verb=Verb.SKIP_STEP),
    "rollback": Request(verb=Verb.ROLLBACK),
    "rollback to a step": Request(verb=Verb.ROLLBACK, to_step="check_address"),
    "cancel": Request(verb=Verb.CANCEL),
    "rerun": Request(verb=Verb.RERUN_COMPENSATION, step="charge_card"),
    "continue": Request(verb=Verb.CONTINUE_ROLLBACK),
    "done": resolved(ReviewDecision.DONE, {"by": "hand"}),
    "not done": resolved(ReviewDecision.NOT_DONE),
    "accept": resolved(ReviewDecision.ACCEPT),
}
