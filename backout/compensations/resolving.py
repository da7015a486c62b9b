"""What follows from a person's decision about a review. Pure.

`done`: it has happened, go on. `not_done`: it has not, it may run again. `accept`: leave it as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from backout.compensations.forward import go_on, start_after
from backout.compensations.moves import (
    Ask,
    Close,
    DecideReview,
    Drop,
    Intent,
    MarkUndone,
    Move,
    MoveRun,
    Reopen,
    ResumeRun,
    Settle,
)
from backout.compensations.parts import close_unfinished, planned_question, run_is, wait_for_attempt
from backout.compensations.requests import Refusal, Request, ReviewDecision, RunView, Verb
from backout.compensations.returning import continue_intent
from backout.jsontext import JsonValue
from backout.ledger.records import ReviewRecord, StepKey, StepRecord
from backout.pipelines.words import state_by_hand
from backout.states import Direction, RunState, StepState


def decide_resolve(view: RunView, request: Request) -> Intent | Refusal:
    """Return what a decision about a review does to its run."""
    review = view.review(request.review_id)
    if review is None:
        listed = ", ".join(str(one.id) for one in view.reviews) or "none"
        return Refusal(
            why="the run has no open review" + (f" {request.review_id}" if request.review_id else ""),
            remedy=f"Open reviews of this run: {listed}. `backout reviews list` shows all.",
        )
    if request.decision is None:
        return Refusal(why="no decision is given", remedy="Give `done`, `not_done` or `accept`.")
    if view.running:
        return wait_for_attempt(view)
    row = _row_of(view, review)
    if row is None or view.run.state is not RunState.IN_REVIEW:
        return _about_run(view, review, request.decision)
    is_back = view.is_rollback_open
    if is_back and row.direction is Direction.COMPENSATION:
        return _about_undo(view, review, row, request.decision)
    if is_back:
        return _about_question(view, review, row, request)
    return _about_step(view, review, row, request)


def _row_of(view: RunView, review: ReviewRecord) -> StepRecord | None:
    if review.position is None or review.direction is None:
        return None
    # A question that nobody can ask is, to a person, about its step.
    direction = Direction.FORWARD if review.direction.is_question else review.direction
    key = StepKey(run_id=review.run_id, round=review.round, position=review.position, direction=direction)
    return view.find(key)


def _decided(view: RunView, review: ReviewRecord, decision: ReviewDecision) -> tuple[DecideReview, ...]:
    """Return the decision of this review; what else was open about the run is moot when it moves on."""
    others = (
        DecideReview(review_id=other.id, decision=Verb.RESOLVE.value) for other in view.reviews if other.id != review.id
    )
    return (DecideReview(review_id=review.id, decision=decision.value), *others)


def _with(intent: Intent | Refusal, decided: tuple[DecideReview, ...], *before: Move) -> Intent | Refusal:
    """Return the intent after other moves, with these decisions instead of the verb's own."""
    if isinstance(intent, Refusal):
        return intent
    kept = tuple(move for move in intent.moves if not isinstance(move, DecideReview))
    return replace(intent, moves=(*before, *kept, *decided))


def _about_run(view: RunView, review: ReviewRecord, decision: ReviewDecision) -> Intent | Refusal:
    decided = _decided(view, review, decision)
    if view.run.state is not RunState.IN_REVIEW:
        # The run has moved on without it: the decision is a note.
        return Intent(moves=decided, leads_to=view.run.state, notes=(f"Nothing else changes: {run_is(view)}.",))
    if view.is_rollback_open:
        return Refusal(
            why="its rollback has begun, and closing the run would leave it half undone",
            remedy="Bring it to its end with `continue_rollback`.",
        )
    if decision is ReviewDecision.ACCEPT:
        return _closed(view, decided)
    return Refusal(
        why="the review is about the whole run, not about a step that could be done or not",
        remedy="Ask for `resume`, `rollback`, or `resolve` it with `accept`, which closes the run as it is.",
    )


def _closed(view: RunView, decided: tuple[DecideReview, ...]) -> Intent:
    done = [s.step for s in view.steps if s.direction is Direction.FORWARD and s.state is StepState.SUCCEEDED]
    last = view.plan.steps[view.plan.position_of(done[-1])] if done else None
    closing = MoveRun(arrow="close_run", operator_state=state_by_hand(last, how="closed"))
    note = f"The run is closed. What was done stays: {', '.join(done) or 'nothing'}."
    return Intent(moves=(*close_unfinished(view), closing, *decided), leads_to=RunState.FAILED, notes=(note,))


def _about_step(view: RunView, review: ReviewRecord, row: StepRecord, request: Request) -> Intent | Refusal:
    decided = _decided(view, review, request.decision or ReviewDecision.ACCEPT)
    stands_at = view.frontier
    if request.decision is not ReviewDecision.ACCEPT and stands_at is not None and row.key != stands_at.key:
        return Refusal(
            why=f"the run stands at {stands_at.step} by now, not at {row.step}",
            remedy="Ask for `resume`, `rollback`, or `resolve` it with `accept`, which closes the run as it is.",
        )
    match request.decision:
        case ReviewDecision.ACCEPT | None:
            return _closed(view, decided)
        case ReviewDecision.DONE:
            return _done(view, row, request, decided)
        case ReviewDecision.NOT_DONE:
            return _not_done(view, row, decided)
        case _ as never:
            assert_never(never)


def _done(view: RunView, row: StepRecord, request: Request, decided: tuple[DecideReview, ...]) -> Intent | Refusal:
    contract = view.plan.steps[row.position]
    if row.state is StepState.SUCCEEDED:
        # It is the sight of it that was missing.
        verify = view.companion(row, Direction.VERIFY)
        before = (Settle(row=verify, output={"answer": "done"}),) if verify is not None else ()
        return _with(start_after(view, row, verb=Verb.RESOLVE.value), decided, *before)
    questions = _open_questions(view)
    if contract.verify is not None:
        settled = Settle(row=row, output=request.output)
        asked = Ask(key=replace(row.key, direction=Direction.VERIFY), row=row)
        following = start_after(view, row, verb=Verb.RESOLVE.value, is_settled=True, output=request.output)
        resumed = tuple(move for move in following.moves if isinstance(move, ResumeRun))
        return Intent(
            moves=(*questions, settled, asked, *resumed, *decided),
            leads_to=RunState.RUNNING,
            tasks=(planned_question(view, row, Direction.VERIFY),),
        )
    following = start_after(view, row, verb=Verb.RESOLVE.value, is_settled=True, output=request.output)
    return _with(following, decided, *questions, Settle(row=row, output=request.output))


def _not_done(view: RunView, row: StepRecord, decided: tuple[DecideReview, ...]) -> Intent | Refusal:
    if view.alive_until is not None:
        return Refusal(
            why=f"an attempt may still be running until {view.alive_until:%H:%M:%S} UTC, and could do it yet (R8)",
            remedy="Ask again after that time.",
        )
    # A person knows: neither the reconcile function nor the contract is asked.
    plain = replace(
        view,
        plan=replace(
            view.plan,
            steps=tuple(
                replace(step, reconcile=None, idempotent=True) if position == row.position else step
                for position, step in enumerate(view.plan.steps)
            ),
        ),
    )
    questions = _open_questions(view)
    rest = replace(plain, steps=tuple(s for s in view.steps if s.direction is not Direction.RECONCILE))
    return _with(go_on(rest, Verb.RESOLVE.value), decided, *questions)


def _open_questions(view: RunView) -> tuple[Close, ...]:
    """Return the moves that end questions which a person has answered."""
    return tuple(move for move in close_unfinished(view) if move.row.direction is Direction.RECONCILE)


def _about_undo(view: RunView, review: ReviewRecord, row: StepRecord, decision: ReviewDecision) -> Intent | Refusal:
    moves: tuple[Move, ...] = ()
    notes: tuple[str, ...] = ()
    match decision:
        case ReviewDecision.DONE:
            forward = view.companion(row, Direction.FORWARD)
            moves = (Settle(row=row), *((MarkUndone(row=forward),) if forward is not None else ()))
            notes = (f"{row.step} is recorded as undone, because you say so.",)
        case ReviewDecision.NOT_DONE if view.may_still_run(row):
            return Refusal(
                why=f"an attempt to undo {row.step} may still be running until {row.may_run_until:%H:%M:%S} UTC (R8)",
                remedy="Ask again after that time.",
            )
        case ReviewDecision.NOT_DONE:
            # One that was held is made ready when the way back is walked on.
            moves = () if row.state is StepState.PENDING else (Reopen(row=row, state=StepState.PENDING),)
        case ReviewDecision.ACCEPT:
            moves = () if row.state is StepState.FAILED else (Close(row=row),)
            notes = (f"{row.step} stays as it is; the rollback goes on without it and ends as partial or failed.",)
        case _ as never:
            assert_never(never)
    return _back(view, review, decision, moves, notes)


def _about_question(view: RunView, review: ReviewRecord, row: StepRecord, request: Request) -> Intent | Refusal:
    """Decide about a step of which, on the way back, nobody knows whether it happened."""
    undo = view.companion(row, Direction.COMPENSATION)
    question = view.companion(row, Direction.RECONCILE)
    if undo is None:
        return Refusal(why=f"no undo of {row.step} is planned", remedy="Ask for `continue_rollback`.")
    moves: tuple[Move, ...] = ()
    notes: tuple[str, ...] = ()
    decision = request.decision or ReviewDecision.ACCEPT
    match decision:
        case ReviewDecision.DONE:
            answer: JsonValue = {"answer": "done", "output": request.output}
            moves = _answered(question, answer)
            notes = (f"{row.step} is undone with what you say that it returned.",)
        case ReviewDecision.NOT_DONE:
            moves = (*_answered(question, {"answer": "not_done"}), Drop(row=undo))
            notes = (f"Nothing is undone for {row.step}, because you say that it has not happened.",)
        case ReviewDecision.ACCEPT:
            moves = (*_answered(question, {"answer": "unknown", "why": "a person has accepted that"}), Close(row=undo))
            notes = (f"{row.step} stays as it is, whatever it is.",)
        case _ as never:
            assert_never(never)
    return _back(view, review, decision, moves, notes)


def _answered(question: StepRecord | None, answer: JsonValue) -> tuple[Move, ...]:
    return () if question is None else (Settle(row=question, output=answer),)


def _back(
    view: RunView,
    review: ReviewRecord,
    decision: ReviewDecision,
    moves: tuple[Move, ...],
    notes: tuple[str, ...],
) -> Intent:
    decided = _decided(view, review, decision)
    return replace(continue_intent(view, moves, verb=Verb.RESOLVE, decided=decided), notes=notes)
