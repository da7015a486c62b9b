"""What the ledger writes for a claim and for a decision: the counterpart of `tasks.record` and `ledger.transitions`.

Each function stands for the one of the same name there. `test_conformance` compares the rows that both leave.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, assert_never

from backout.states import ACTIVE_RUN_STATES, Answer, Direction, RunState, StepState
from backout.tasks.decisions import (
    Ask,
    AskFirst,
    Confirm,
    Decision,
    Doubt,
    GiveBack,
    GoOn,
    Park,
    RunAgain,
    TryAgain,
    TurnBack,
    Unanswered,
    UndoAnswered,
    UndoNext,
    Verified,
    Way,
)
from backout.tasks.outcome import Failed, Skipped, Succeeded
from tests.model import mirror_back
from tests.model.model import Model
from tests.model.world import Key, Links, Row, Token
from tests.model.writing import Writing


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A claim that is held."""

    key: Key
    token: Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What to send after the commit: messages one by one, and one chain."""

    steps: tuple[Links, ...] = ()
    chain: Links = ()


NOTHING_TO_SEND = Recorded()


def claim_step(writing: Writing, key: Key) -> Token | None:
    """Take the claim of a row that is due; `None` when it is not, or its run waits for a person."""
    row = writing.rows.get(key)
    if writing.run.state not in ACTIVE_RUN_STATES:
        return None
    if row is None or (row.state is StepState.RETRY_SCHEDULED and not row.is_due):
        return None
    token = (row.asks, row.attempt + 1)
    values: dict[str, Any] = {"attempt": row.attempt + 1, "token": token, "is_due": False, "is_swept": True}
    if not writing.walk("claim_step", key, StepState.RUNNING, **values):
        return None
    if key == (0, Direction.FORWARD) and row.attempt == 0:
        writing.walk_run("start_run", RunState.RUNNING)
    return token


def release_claim(writing: Writing, claim: Claimed, *, may_run: bool) -> bool:
    """Give a claim back without an outcome."""
    values: dict[str, Any] = {"is_swept": True, **_lost(writing.rows[claim.key], may_run=may_run)}
    return writing.walk("release_claim", claim.key, StepState.READY, by=claim.token, **values)


def release_uncalled(writing: Writing, claim: Claimed) -> bool:
    """Give a claim back whose function was not called: the attempt did not take place."""
    attempt = writing.rows[claim.key].attempt - 1
    values: dict[str, Any] = {"is_swept": True, "token": None, "attempt": attempt}
    return writing.walk("release_claim", claim.key, StepState.READY, by=claim.token, **values)


def doubt_step(writing: Writing, claim: Claimed, *, may_run: bool) -> bool:
    """Record that an attempt ended without an outcome and that its effect may exist."""
    values: dict[str, Any] = {"is_swept": False, **_lost(writing.rows[claim.key], may_run=may_run)}
    return writing.walk("doubt_step", claim.key, StepState.IN_DOUBT, by=claim.token, **values)


def _lost(row: Row, *, may_run: bool) -> dict[str, Any]:
    # Only of forward steps does anybody ask until when they may run.
    may_run = row.may_run or (may_run and row.direction is Direction.FORWARD)
    return {"token": None, "lost_attempts": row.lost_attempts + 1, "may_run": may_run}


def write(
    writing: Writing, model: Model, claim: Claimed, decision: Decision, *, may_run: bool = False
) -> Recorded | None:
    """Write a decision; `None` when the claim was lost meanwhile and nothing was written."""
    match decision:
        case GoOn():
            return _go_on(writing, claim, decision)
        case TryAgain():
            return _try_again(writing, model, claim)
        case GiveBack():
            return NOTHING_TO_SEND if release_claim(writing, claim, may_run=may_run) else None
        case TurnBack():
            return _turn_back(writing, model, claim, decision)
        case Park() | Ask():
            return _stop(writing, claim, decision)
        case Doubt():
            return _doubt(writing, claim, may_run=may_run)
        case UndoNext():
            return _undo_next(writing, model, claim, decision)
        case AskFirst():
            return _ask_first(writing, claim, may_run=may_run)
        case Confirm() | RunAgain() | UndoAnswered() | Verified() | Unanswered():
            return _write_answer(writing, model, claim, decision)
        case _ as never:
            assert_never(never)


def _go_on(writing: Writing, claim: Claimed, decision: GoOn) -> Recorded | None:
    if not _end_step(writing, claim, decision.outcome):
        return None
    is_success = isinstance(decision.outcome, Succeeded)
    return _go_onward(writing, claim.key, decision.onward, done=claim.key[0] if is_success else None)


def _end_step(writing: Writing, claim: Claimed, outcome: Succeeded | Skipped | Failed) -> bool:
    values: dict[str, Any] = {"by": claim.token, "is_swept": False}
    match outcome:
        case Succeeded():
            return writing.walk("succeed_step", claim.key, StepState.SUCCEEDED, has_output=True, **values)
        case Skipped():
            return writing.walk("skip_step", claim.key, StepState.SKIPPED, **values)
        case Failed():
            return writing.walk("fail_step", claim.key, StepState.FAILED, no_effect=outcome.no_effect, **values)
        case _ as never:
            assert_never(never)


def _go_onward(writing: Writing, key: Key, onward: Way, *, done: int | None) -> Recorded:
    """Make what comes next ready, or close the run; `done` is the step that has succeeded."""
    last_done = writing.run.last_done if done is None else done
    if onward.following is None:
        writing.walk_run("succeed_run", RunState.SUCCEEDED, last_done=last_done)
        return NOTHING_TO_SEND
    writing.run = replace(writing.run, last_done=last_done)
    here = writing.rows[key]
    if onward.verifies:
        row = Row(key=(key[0], Direction.VERIFY), state=StepState.READY, start_order=here.start_order, is_swept=True)
    else:
        following = (key[0] + 1, Direction.FORWARD)
        row = Row(key=following, state=StepState.READY, start_order=here.start_order + 1, is_swept=True)
    writing.create("create_step", row)
    return Recorded(steps=((row.key,),))


def _try_again(writing: Writing, model: Model, claim: Claimed) -> Recorded | None:
    values: dict[str, Any] = {"is_due": False, "is_swept": True}
    if not writing.walk("schedule_retry", claim.key, StepState.RETRY_SCHEDULED, by=claim.token, **values):
        return None
    if mirror_back.is_on_the_way_back(writing.run, claim.key):
        return Recorded(chain=mirror_back.remaining_chain(writing, model))
    return Recorded(steps=((claim.key,),))


def _fail(writing: Writing, claim: Claimed, *, no_effect: bool) -> bool:
    values: dict[str, Any] = {"is_swept": False, "no_effect": no_effect}
    return writing.walk("fail_step", claim.key, StepState.FAILED, by=claim.token, **values)


def _turn_back(writing: Writing, model: Model, claim: Claimed, decision: TurnBack) -> Recorded | None:
    if not _fail(writing, claim, no_effect=decision.outcome.no_effect):
        return None
    return Recorded(chain=mirror_back.plan_way_back(writing, model))


def _stop(writing: Writing, claim: Claimed, decision: Park | Ask) -> Recorded | None:
    if not _fail(writing, claim, no_effect=decision.no_effect):
        return None
    if isinstance(decision, Park):
        writing.walk_run("park_run", RunState.PARKED)
    else:
        mirror_back.open_review(writing)
    return NOTHING_TO_SEND


def _doubt(writing: Writing, claim: Claimed, *, may_run: bool) -> Recorded | None:
    if not doubt_step(writing, claim, may_run=may_run):
        return None
    mirror_back.open_review(writing)
    return NOTHING_TO_SEND


def _ask_first(writing: Writing, claim: Claimed, *, may_run: bool) -> Recorded | None:
    if not doubt_step(writing, claim, may_run=may_run):
        return None
    forward = writing.rows[claim.key]
    key = (claim.key[0], Direction.RECONCILE)
    state = StepState.WAITING if mirror_back.may_still_run(writing, key, of_step_only=True) else StepState.READY
    mirror_back.ask_question(writing, key, state, start_order=forward.start_order)
    return Recorded(steps=((key,),)) if state is StepState.READY else NOTHING_TO_SEND


def _undo_next(writing: Writing, model: Model, claim: Claimed, decision: UndoNext) -> Recorded | None:
    if not _end_step(writing, claim, decision.outcome):
        return None
    if isinstance(decision.outcome, Succeeded):
        writing.walk("undo_step", (claim.key[0], Direction.FORWARD), StepState.UNDONE)
    return Recorded(chain=mirror_back.walk_on(writing, model))


def _write_answer(
    writing: Writing,
    model: Model,
    claim: Claimed,
    decision: Confirm | RunAgain | UndoAnswered | Verified | Unanswered,
) -> Recorded | None:
    forward = (claim.key[0], Direction.FORWARD)
    if not _end_question(writing, claim, decision):
        return None
    match decision:
        case Confirm():
            values: dict[str, Any] = {"is_swept": False, "has_output": True}
            if not writing.walk("confirm_step", forward, StepState.SUCCEEDED, **values):
                return NOTHING_TO_SEND
            return _go_onward(writing, forward, decision.onward, done=forward[0])
        case RunAgain():
            is_cleared = writing.walk("clear_doubt", forward, StepState.READY, is_swept=True)
            return Recorded(steps=((forward,),)) if is_cleared else NOTHING_TO_SEND
        case UndoAnswered():
            if decision.answer.answer is Answer.NOT_DONE:
                undo = (claim.key[0], Direction.COMPENSATION)
                writing.walk("drop_compensation", undo, StepState.SKIPPED, is_swept=False)
            return Recorded(chain=mirror_back.walk_on(writing, model))
        case Verified():
            return _go_onward(writing, claim.key, decision.onward, done=claim.key[0])
        case Unanswered():
            mirror_back.open_review(writing)
            return NOTHING_TO_SEND
        case _ as never:
            assert_never(never)


def _end_question(
    writing: Writing, claim: Claimed, decision: Confirm | RunAgain | UndoAnswered | Verified | Unanswered
) -> bool:
    if isinstance(decision, Unanswered) and decision.answer is None:
        return _fail(writing, claim, no_effect=False)
    answer = Answer.DONE if isinstance(decision, Verified) or decision.answer is None else decision.answer.answer
    values: dict[str, Any] = {"is_swept": False, "has_output": True, "answer": answer}
    return writing.walk("succeed_step", claim.key, StepState.SUCCEEDED, by=claim.token, **values)
