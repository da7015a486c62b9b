"""The way back as a person asks for it: what would be undone, and how a rollback that has stopped goes on. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from backout.compensations.moves import Ask, Close, DecideReview, Drop, Intent, Move, MoveRun, Reopen, Settle, WalkBack
from backout.compensations.parts import UNFINISHED, has_turned_back, planned_question, planned_undo, run_is
from backout.compensations.plan import RollbackPlan
from backout.compensations.requests import PlannedTask, Refusal, RunView, Verb
from backout.compensations.rounds import is_in_doubt
from backout.compensations.way_back import is_something_left, say_rollback
from backout.ledger.records import StepRecord
from backout.states import Direction, RunState, StepState

_PLACES = (Direction.RECONCILE, Direction.COMPENSATION)


def say_turn(view: RunView) -> str:
    """Return the operator's state of a run that is turned back by hand."""
    forward = [step for step in view.steps if step.direction is Direction.FORWARD and step.attempt > 0]
    return say_rollback(view.plan, forward, how="rolling_back")


def undo_tasks(view: RunView, plan: RollbackPlan) -> tuple[PlannedTask, ...]:
    """Return the tasks of a rollback, in the order in which they run."""
    tasks: list[PlannedTask] = []
    for line in plan.compensations:
        if line.asks_first:
            tasks.append(planned_question(view, line.forward, Direction.RECONCILE))
        tasks.append(planned_undo(view, line.forward.position, line.forward.round))
    return tuple(tasks)


def decide_continue(view: RunView) -> Intent | Refusal:
    """Return how a rollback goes on that was paused, that has stopped, or that ended without undoing everything."""
    if view.run.state is RunState.ROLLING_BACK:
        return Refusal(why="its rollback is under way", remedy="Wait; `backout runs watch` shows it.")
    is_unfinished = view.is_rollback_open and view.run.state in (RunState.PAUSED, RunState.IN_REVIEW)
    is_partial = view.run.state is RunState.FAILED and has_turned_back(view) and bool(view.stopped_undos)
    if not is_unfinished and not is_partial:
        return Refusal(
            why=f"{run_is(view)} and has no rollback that could go on",
            remedy="`rollback` starts one; `rerun_compensation` runs a single undo again.",
        )
    again = [_again(view, row) for row in _stopped(view)]
    refusal = next((one for one in again if isinstance(one, Refusal)), None)
    if refusal is not None:
        return refusal
    moves = tuple(one for one in again if not isinstance(one, Refusal))
    return continue_intent(view, moves, verb=Verb.CONTINUE_ROLLBACK)


def continue_intent(
    view: RunView, moves: tuple[Move, ...], *, verb: Verb, decided: tuple[DecideReview, ...] | None = None
) -> Intent:
    """Return the intent of a rollback that goes on after these moves."""
    reviews = tuple(DecideReview(review_id=review.id, decision=verb.value) for review in view.reviews)
    # While one of its rows is running, that row's outcome takes the rollback on.
    walk = () if view.running else (WalkBack(),)
    tasks = tasks_left(view, moves)
    return Intent(
        moves=(
            *moves,
            MoveRun(arrow="continue_rollback", operator_state=say_turn(view)),
            *(reviews if decided is None else decided),
            *walk,
        ),
        leads_to=RunState.ROLLING_BACK if tasks or view.running else end_of_way_back(view, _undos_after(view, moves)),
        tasks=tasks,
    )


def end_of_way_back(view: RunView, undos: Sequence[StepRecord]) -> RunState:
    """Return where a rollback leads that has nothing left to run, with its compensations as they will be."""
    if is_something_left(view.plan, undos):
        return RunState.FAILED
    return RunState.ROLLED_BACK if view.run.rollback_to is None else RunState.PAUSED


def _undos_after(view: RunView, moves: tuple[Move, ...]) -> list[StepRecord]:
    """Return the compensations of a run as these moves leave them."""
    rows = {row.key: row for row in view.steps if row.direction is Direction.COMPENSATION}
    for move in moves:
        match move:
            case Settle(row=row) if row.key in rows:
                rows[row.key] = replace(row, state=StepState.SUCCEEDED)
            case Drop(row=row):
                rows[row.key] = replace(row, state=StepState.SKIPPED, error=None)
            case Close(row=row) if row.key in rows:
                rows[row.key] = replace(row, state=StepState.FAILED)
            case _:
                continue
    return list(rows.values())


def _stopped(view: RunView) -> list[StepRecord]:
    """Return the rows at which the rollback stopped: undos, and questions whose undo is still to come."""
    rows = list(view.stopped_undos)
    for undo in view.steps:
        if undo.direction is not Direction.COMPENSATION or undo.state is not StepState.PENDING:
            continue
        question, forward = view.companion(undo, Direction.RECONCILE), view.companion(undo, Direction.FORWARD)
        if forward is not None and forward.state in (StepState.SUCCEEDED, StepState.UNDONE):
            # Whatever it was asked before: it has happened, a person may have said so, and is undone.
            continue
        is_asked_again = question is not None and (question.state is StepState.FAILED or _is_unknown(question))
        if question is not None and is_asked_again:
            rows.append(question)
    return rows


def _is_unknown(question: StepRecord) -> bool:
    answer = question.output
    return question.state is StepState.SUCCEEDED and isinstance(answer, dict) and answer.get("answer") == "unknown"


def _again(view: RunView, row: StepRecord) -> Move | Refusal:
    if row.direction is Direction.RECONCILE:
        forward = view.companion(row, Direction.FORWARD)
        return Ask(key=row.key, row=forward if forward is not None else row)
    contract = view.plan.steps[row.position].compensation
    then = "`resolve` its review with `done` or `not_done`" if view.reviews else "`rerun_compensation` if it was not"
    if is_in_doubt(row) and not (contract is not None and contract.idempotent):
        return Refusal(
            why=f"the undo of {row.step} may have been done: attempt {row.attempt} was cut off before it answered (R8)",
            remedy=f"Find out whether it was (idempotency key {row.idempotency_key}), then {then}.",
        )
    return Reopen(row=row, state=StepState.PENDING)


def tasks_left(view: RunView, moves: tuple[Move, ...]) -> tuple[PlannedTask, ...]:
    """Return the tasks that are left on the way back, in order."""
    again = {move.row.key for move in moves if isinstance(move, Reopen)} | {
        move.key for move in moves if isinstance(move, Ask)
    }
    ended = {move.row.key for move in moves if not isinstance(move, Reopen | Ask) and hasattr(move, "row")}
    rows = [
        row
        for row in view.steps
        if row.direction in _PLACES and (row.key in again or (row.state in UNFINISHED and row.key not in ended))
    ]
    rows.sort(key=lambda row: (row.start_order, _PLACES.index(row.direction)))
    return tuple(
        planned_undo(view, row.position, row.round)
        if row.direction is Direction.COMPENSATION
        else planned_question(view, row, Direction.RECONCILE)
        for row in rows
    )
