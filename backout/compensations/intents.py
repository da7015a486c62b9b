"""What would follow from a request about a run: an intent, or a refusal with its remedy. Pure.

Source: `semantics` sections 4 to 7. Every verb is decided here for every state; `actions` writes what is decided, and a
preview shows it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from backout.compensations.forward import decide_resume, decide_retry, decide_skip
from backout.compensations.moves import Hold, Intent, Move, MoveRun, Reopen, TurnRunBack, WalkBack
from backout.compensations.parts import (
    UNFINISHED,
    close_unfinished,
    decide_reviews,
    has_turned_back,
    run_is,
    wait_for_attempt,
)
from backout.compensations.plan import RollbackPlan, plan_rollback
from backout.compensations.requests import Refusal, Request, RunView, Verb
from backout.compensations.resolving import decide_resolve
from backout.compensations.returning import decide_continue, end_of_way_back, say_turn, tasks_left, undo_tasks
from backout.compensations.rounds import is_in_doubt, newest_rows
from backout.ledger.records import StepRecord
from backout.pipelines.words import state_by_hand
from backout.states import ACTIVE_RUN_STATES, Direction, RunState, StepState

_DUE = (StepState.READY, StepState.RETRY_SCHEDULED)


def decide(view: RunView, request: Request) -> Intent | Refusal:
    """Return what a request would do to a run as it is seen."""
    match request.verb:
        case Verb.PAUSE:
            return _pause(view)
        case Verb.RESUME:
            return decide_resume(view)
        case Verb.RETRY_STEP:
            return decide_retry(view, request.step)
        case Verb.SKIP_STEP:
            return decide_skip(view, request.step)
        case Verb.ROLLBACK:
            return _rollback(view, request)
        case Verb.CANCEL:
            return _rollback(view, request) if request.with_rollback else _cancel(view)
        case Verb.RERUN_COMPENSATION:
            return _rerun_compensation(view, request.step)
        case Verb.CONTINUE_ROLLBACK:
            return decide_continue(view)
        case Verb.RESOLVE:
            return decide_resolve(view, request)
        case _ as never:
            assert_never(never)


def _pause(view: RunView) -> Intent | Refusal:
    if view.run.state not in ACTIVE_RUN_STATES:
        return Refusal(why=f"{run_is(view)}: nothing is under way that could be paused", remedy="There is no need to.")
    held = tuple(Hold(key=step.key) for step in view.steps if step.state in _DUE)
    notes = tuple(
        f"Attempt {step.attempt} of {step.step} is running; it goes on, and its outcome is recorded."
        for step in view.running
    )
    moves: tuple[Move, ...] = (*held, MoveRun(arrow="pause_run", operator_state=view.run.operator_state))
    return Intent(moves=moves, leads_to=RunState.PAUSED, notes=notes)


def _cancel(view: RunView) -> Intent | Refusal:
    if view.run.state.is_final:
        return Refusal(why=f"{run_is(view)}, which is final", remedy="To undo what it did, ask for `rollback`.")
    if view.is_rollback_open:
        return Refusal(
            why="its rollback has begun, and cancelling would leave it half undone",
            remedy="Pause it, or bring it to its end with `continue_rollback`.",
        )
    if view.running:
        return wait_for_attempt(view)
    done = [s.step for s in view.steps if s.direction is Direction.FORWARD and s.state is StepState.SUCCEEDED]
    last = view.plan.steps[view.plan.position_of(done[-1])] if done else None
    note = f"What was done stays: {', '.join(done)}." if done else "Nothing was done yet."
    moves: tuple[Move, ...] = (
        *close_unfinished(view),
        MoveRun(arrow="cancel_run", operator_state=state_by_hand(last, how="cancelled")),
        *decide_reviews(view, Verb.CANCEL.value),
    )
    return Intent(moves=moves, leads_to=RunState.CANCELLED, notes=(note,))


def _rollback(view: RunView, request: Request) -> Intent | Refusal:
    if view.is_rollback_open:
        return Refusal(why="its rollback has begun already", remedy="Ask for `continue_rollback` if it has stopped.")
    if view.running:
        return wait_for_attempt(view)
    to_position = None
    if request.to_step is not None:
        names = [step.name for step in view.plan.steps]
        if request.to_step not in names:
            return Refusal(why=f"the run has no step {request.to_step!r}", remedy=f"Its steps are: {', '.join(names)}.")
        to_position = view.plan.position_of(request.to_step)
        stuck = _doubt_up_to(view, to_position)
        if stuck is not None:
            return Refusal(
                why=f"{stuck.step} may have happened: attempt {stuck.attempt} was cut off before it answered (R8)",
                remedy="Nobody could go on from there. `resolve` its review first, or roll back to a step before it.",
            )
    plan = plan_rollback(view.plan, view.steps, to_position=to_position)
    started = [s for s in view.steps if s.direction is Direction.FORWARD and s.attempt > 0]
    if view.run.state.is_final and not plan.compensations:
        return Refusal(
            why=f"{run_is(view)} and there is nothing to undo" + ("" if started else ": no step ever started"),
            remedy="`rerun_compensation` runs a single undo again.",
        )
    if plan.blocked_by is not None and not request.across_irreversible:
        contract = view.plan.steps[plan.blocked_by.position]
        return Refusal(
            why=f"{plan.blocked_by.step} happened or may have happened and cannot be undone "
            f"({contract.recovery_reason})",
            remedy="Roll back to it with `to_step`, or say in `across_irreversible` why the others may be undone "
            "although it stays (R7).",
        )
    notes = [f"{line.contract.name} stays: {line.reason}." for line in plan.undos if line not in plan.compensations]
    again = [
        f"The undo of {row.step} may have been done before: it was cut off (R8)." for row in _undos_in_doubt(view, plan)
    ]
    notes += again
    if view.alive_until is not None:
        notes.append(f"The first undo waits until {view.alive_until:%H:%M:%S} UTC: an attempt may run until then (R5).")
    if to_position is not None:
        notes.append("The run is paused when this is done; `resume` starts it again from there, in a new round.")
    moves: tuple[Move, ...] = (
        *close_unfinished(view),
        TurnRunBack(operator_state=say_turn(view), plan=plan, to_position=to_position),
        *decide_reviews(view, Verb.ROLLBACK.value),
    )
    return Intent(
        moves=moves,
        leads_to=RunState.ROLLING_BACK if plan.compensations else _turned(view, plan, to_position),
        tasks=undo_tasks(view, plan),
        notes=tuple(notes),
        is_safe=plan.blocked_by is None and not again,
    )


def _doubt_up_to(view: RunView, position: int) -> StepRecord | None:
    """Return a step in doubt that a rollback to this position would leave in doubt, and that may not run again."""
    rows = (row for row in newest_rows(view.steps).values() if row.position <= position and is_in_doubt(row))
    return next((row for row in rows if not view.plan.steps[row.position].idempotent), None)


def _undos_in_doubt(view: RunView, plan: RollbackPlan) -> list[StepRecord]:
    """Return the undos of an earlier rollback that would run again, and that may have been done."""
    places = {(line.forward.round, line.forward.position): line.contract.compensation for line in plan.compensations}
    return [
        undo
        for undo in view.stopped_undos
        if is_in_doubt(undo)
        and (contract := places.get((undo.round, undo.position))) is not None
        and not contract.idempotent
    ]


def _turned(view: RunView, plan: RollbackPlan, to_position: int | None) -> RunState:
    """Return where a rollback leads that has nothing to run."""
    if plan.blocked_by is not None:
        return RunState.FAILED
    undos = [row for row in view.steps if row.direction is Direction.COMPENSATION]
    # It is the new rollback's end that counts, whatever an earlier one was asked to leave.
    fresh = replace(view, run=replace(view.run, rollback_to=to_position))
    return end_of_way_back(fresh, undos)


_RERUN_FROM = (RunState.ROLLED_BACK, RunState.FAILED, RunState.CANCELLED, RunState.IN_REVIEW, RunState.PAUSED)


def _rerun_compensation(view: RunView, step: str | None) -> Intent | Refusal:
    undos = [s for s in view.steps if s.direction is Direction.COMPENSATION and s.step == step]
    row = max(undos, key=lambda undo: undo.round, default=None)
    if step is None or row is None:
        planned = sorted({s.step for s in view.steps if s.direction is Direction.COMPENSATION})
        listed = f"Those of this run: {', '.join(planned)}." if planned else "It was never rolled back: use `rollback`."
        return Refusal(why=f"the run has no compensation of {step!r}" if step else "no step is named", remedy=listed)
    contract = view.plan.steps[row.position]
    if contract.compensation is None:
        return Refusal(
            why=f"{row.step} has no compensation: {contract.recovery_reason or 'it only reads'}",
            remedy="There is nothing to run.",
        )
    if view.run.state not in _RERUN_FROM or row.state in (*UNFINISHED, StepState.RUNNING):
        return Refusal(
            why=f"{run_is(view)}, and the compensation of {row.step} is {row.state}",
            remedy="It runs by itself when its turn comes; wait, or pause the run.",
        )
    if view.running:
        return wait_for_attempt(view)
    if is_in_doubt(row) and view.may_still_run(row):
        return Refusal(
            why=f"an attempt to undo {row.step} may still be running until {row.may_run_until:%H:%M:%S} UTC (R8)",
            remedy="Ask again after that time.",
        )
    place = (row.round, row.position)
    other = next((review for review in view.reviews if (review.round, review.position) != place), None)
    if view.is_rollback_open and other is not None:
        return Refusal(
            why=f"the rollback has stopped at {other.step or 'a question about the whole run'}",
            remedy="Decide that first: `continue_rollback`, or `resolve` its review.",
        )
    if not view.is_rollback_open and not has_turned_back(view):
        return Refusal(
            why=f"{run_is(view)} and has gone on since its last rollback; what it did then would stay",
            remedy="Ask for `rollback`, which undoes all that stands.",
        )
    return _rerun(view, row)


def _rerun(view: RunView, row: StepRecord) -> Intent:
    notes: tuple[str, ...] = ()
    contract = view.plan.steps[row.position].compensation
    is_idempotent = contract is not None and contract.idempotent
    if row.state is StepState.SUCCEEDED and not is_idempotent:
        notes = (
            f"It succeeded before, at attempt {row.attempt}: make sure that undoing twice does no harm. "
            f"It has the same idempotency key again, {row.idempotency_key}.",
        )
    elif is_in_doubt(row) and not is_idempotent:
        notes = (f"It may have been done: attempt {row.attempt} was cut off before it answered (R8).",)
    again = Reopen(row=row, state=StepState.PENDING)
    moves: tuple[Move, ...] = (
        again,
        MoveRun(arrow="continue_rollback", operator_state=say_turn(view)),
        *decide_reviews(view, Verb.RERUN_COMPENSATION.value),
        WalkBack(),
    )
    return Intent(
        moves=moves,
        leads_to=RunState.ROLLING_BACK,
        tasks=tasks_left(view, (again,)),
        notes=notes,
        is_safe=not notes,
    )
