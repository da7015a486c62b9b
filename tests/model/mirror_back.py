"""What the ledger writes on the way back: the counterpart of `tasks.rollback` and of the questions asked there."""

from __future__ import annotations

from dataclasses import replace

from backout.compensations.plan import PlannedUndo, Undo
from backout.ledger.records import StepRecord
from backout.states import Direction, RollbackOutcome, RunState, StepState
from tests.model.model import Model
from tests.model.world import Key, Links, Row, Run
from tests.model.writing import Writing

_LEFT = (StepState.PENDING, StepState.READY, StepState.RETRY_SCHEDULED, StepState.WAITING)
_FINISHED = {Undo.KEEP: StepState.KEPT, Undo.SKIP: StepState.SKIPPED}


def plan_way_back(writing: Writing, model: Model) -> Links:
    """Turn the run round after a final failure, as the second half of `turn_back`; return the chain to send."""
    plan = model.plan_back(tuple(writing.rows.values()))
    if plan.blocked_by is not None:
        writing.walk_run("review_run", RunState.IN_REVIEW, outcome=RollbackOutcome.NONE)
        return ()
    is_waiting = may_still_run(writing)
    if not writing.walk_run("begin_rollback", RunState.ROLLING_BACK):
        raise RuntimeError("the run has a running step but is not running")
    to_run = _record_plan(writing, plan.undos, StepState.WAITING if is_waiting else StepState.READY)
    if not to_run:
        finish_rollback(writing, RollbackOutcome.COMPLETE)
        return ()
    return () if is_waiting else to_run[: model.chain_links]


def may_still_run(writing: Writing, key: Key | None = None, *, of_step_only: bool = False) -> bool:
    """Return whether a forward attempt that was given up may still run, as `alive_until`."""
    return any(
        row.may_run and row.direction is Direction.FORWARD and (not of_step_only or key is None or row.key[0] == key[0])
        for row in writing.rows.values()
    )


def _record_plan(writing: Writing, undos: tuple[PlannedUndo, ...], due_state: StepState) -> Links:
    to_run: list[Key] = []
    for order, line in enumerate(undos, start=1):
        if line.asks_first:
            question = (line.forward.position, Direction.RECONCILE)
            ask_question(writing, question, due_state, start_order=order)
            to_run.append(question)
            due_state = StepState.PENDING
        state = _FINISHED.get(line.undo, due_state)
        writing.create("plan_compensation", _compensation_row(line.forward, state, order))
        if line.undo not in _FINISHED:
            to_run.append((line.forward.position, Direction.COMPENSATION))
            due_state = StepState.PENDING
    return tuple(to_run)


def _compensation_row(forward: StepRecord, state: StepState, order: int) -> Row:
    is_swept = state in (StepState.READY, StepState.WAITING)
    return Row(key=(forward.position, Direction.COMPENSATION), state=state, start_order=order, is_swept=is_swept)


def ask_question(writing: Writing, key: Key, state: StepState, *, start_order: int) -> None:
    """Ask a question for the first time, or again."""
    is_swept = state in (StepState.READY, StepState.WAITING)
    fresh = Row(key=key, state=state, start_order=start_order, is_swept=is_swept)
    asked = writing.rows.get(key)
    if asked is None:
        writing.create("ask_question", fresh)
    elif writing.walk("ask_question", key, state):
        writing.rows[key] = replace(fresh, asks=asked.asks + 1)


def walk_on(writing: Writing, model: Model) -> Links:
    """Make the next of the way back ready, or close the rollback; return the chain to send."""
    waiting = _next_undos(writing)
    if not waiting:
        undos = [row for row in writing.rows.values() if row.direction is Direction.COMPENSATION]
        has_failed = any(row.state is StepState.FAILED for row in undos)
        finish_rollback(writing, rollback_so_far(writing) if has_failed else RollbackOutcome.COMPLETE)
        return ()
    writing.walk("ready_step", waiting[0], StepState.READY, is_swept=True)
    return waiting[: model.chain_links]


def remaining_chain(writing: Writing, model: Model) -> Links:
    """Return the chain of all that is still to run on the way back."""
    return _next_undos(writing)[: model.chain_links]


def _next_undos(writing: Writing) -> Links:
    directions = (Direction.RECONCILE, Direction.COMPENSATION)
    left = [row for row in writing.rows.values() if row.state in _LEFT and row.direction in directions]
    return tuple(row.key for row in sorted(left, key=lambda row: (row.start_order, directions.index(row.direction))))


def is_on_the_way_back(run: Run, key: Key) -> bool:
    """Return whether a chain carries this row."""
    is_question = key[1] is Direction.RECONCILE and run.state is RunState.ROLLING_BACK
    return is_question or key[1] is Direction.COMPENSATION


def finish_rollback(writing: Writing, outcome: RollbackOutcome) -> None:
    """Close the run after its last compensation."""
    state = RunState.ROLLED_BACK if outcome is RollbackOutcome.COMPLETE else RunState.FAILED
    writing.walk_run("finish_rollback", state, outcome=outcome)


def rollback_so_far(writing: Writing) -> RollbackOutcome:
    """Return how far a rollback that did not succeed has come."""
    undos = [row for row in writing.rows.values() if row.direction is Direction.COMPENSATION]
    is_any_undone = any(row.state is StepState.SUCCEEDED for row in undos)
    return RollbackOutcome.PARTIAL if is_any_undone else RollbackOutcome.FAILED


def open_review(writing: Writing) -> bool:
    """Hand the run to a person; False when it is neither running nor rolling back."""
    is_rolling_back = writing.run.state is RunState.ROLLING_BACK
    outcome = rollback_so_far(writing) if is_rolling_back else RollbackOutcome.NONE
    return writing.walk_run("review_run", RunState.IN_REVIEW, outcome=outcome)
