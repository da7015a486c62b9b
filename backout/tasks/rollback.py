"""Record the turn of a run and each step of its way back, with the chain that carries what is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from backout.compensations.plan import PlannedUndo, RollbackPlan, Undo, plan_rollback
from backout.compensations.reviews import open_review, rollback_so_far
from backout.identifiers import TaskId, new_task_id
from backout.ledger import due, queries, transitions
from backout.ledger.records import Claim, StepKey, StepRecord
from backout.ledger.session import LedgerConnection
from backout.pipelines.contract import Plan, StepContract
from backout.pipelines.message import StepMessage
from backout.pipelines.words import state_of_rollback
from backout.states import Direction, ReviewReason, RollbackOutcome, StepState
from backout.tasks.attempt import Attempt, Recorded
from backout.tasks.decisions import TurnBack, UndoNext
from backout.tasks.outcome import ErrorFacts, Failed, Skipped, Succeeded
from backout.tasks.runtime import Runtime


def turn_back(connection: LedgerConnection, runtime: Runtime, attempt: Attempt, decision: TurnBack) -> Recorded | None:
    """Record the final failure of a forward step and plan the rollback; needs a transaction."""
    claim, error = attempt.claim, decision.outcome.error
    if not transitions.fail_step(
        connection,
        claim,
        error=error.as_json(),
        reason=error.in_one_line,
        no_effect=decision.outcome.no_effect,
    ):
        return None
    steps = queries.list_steps(connection, claim.key.run_id)
    plan = plan_rollback(attempt.plan, steps)
    if plan.blocked_by is not None:
        return _stop_at_irreversible(connection, attempt, plan, error)
    wait_until = due.alive_until(connection, claim.key.run_id)
    rows = _rows_of_way_back(plan, claim.key, wait_until)
    begun = transitions.begin_rollback(
        connection,
        claim.key.run_id,
        operator_state=state_of_rollback(attempt.contract, how="rolling_back"),
        error_summary=f"{claim.step}: {error.in_one_line}",
        requested_by="engine",
        compensations=tuple(line.contract.name for line in plan.compensations),
    )
    if not begun:
        message = f"run {claim.key.run_id} has a running step but is not running"
        raise RuntimeError(message)
    _record_plan(connection, runtime, rows)
    to_run = [row for row in rows if not row.state.is_finished]
    if not to_run:
        _finish_rollback(connection, attempt.contract, claim, RollbackOutcome.COMPLETE)
        return Recorded(consequence="there was nothing to undo")
    consequence = f"{len(plan.compensations)} steps are being undone"
    if wait_until is not None:
        return Recorded(consequence=f"{consequence}; the first one {say_wait(wait_until)}")
    keyed = [(row.key, row.task_id, 0) for row in to_run]
    return Recorded(
        consequence=consequence,
        compensations=chain_messages(attempt.plan, keyed, runtime.settings.chain_links, parent_id=claim.task_id),
    )


def say_wait(until: datetime) -> str:
    """Return why something waits for an attempt that may still run."""
    return f"waits until {until:%H:%M:%S} UTC, because an attempt that was given up may run until then"


_NewRow = transitions.NewCompensation | transitions.NewQuestion


def _rows_of_way_back(plan: RollbackPlan, key: StepKey, wait_until: datetime | None) -> list[_NewRow]:
    """Return the rows of a rollback in the order in which they run.

    Args:
        plan: what is undone.
        key: of a row of the run.
        wait_until: nothing may be undone before this (R5); `None`: the first one at once.
    """
    finished = {Undo.KEEP: StepState.KEPT, Undo.SKIP: StepState.SKIPPED}
    due_state = StepState.READY if wait_until is None else StepState.WAITING
    rows: list[_NewRow] = []
    for order, line in enumerate(plan.undos, start=1):
        if line.asks_first:
            rows.append(_question_row(line, key, due_state, order))
            due_state = StepState.PENDING
        rows.append(_compensation_row(line, key, finished.get(line.undo, due_state), order))
        due_state = due_state if line.undo in finished else StepState.PENDING
    return [replace(row, wait_until=wait_until) if row.state is StepState.WAITING else row for row in rows]


def _record_plan(connection: LedgerConnection, runtime: Runtime, rows: Sequence[_NewRow]) -> None:
    resend_seconds = runtime.settings.resend_seconds
    for row in rows:
        match row:
            case transitions.NewCompensation():
                transitions.plan_compensation(connection, [row], actor="engine", resend_seconds=resend_seconds)
            case transitions.NewQuestion():
                transitions.ask_question(connection, row, resend_seconds=resend_seconds)
            case _ as never:
                assert_never(never)


def _question_row(line: PlannedUndo, key: StepKey, state: StepState, order: int) -> transitions.NewQuestion:
    return transitions.NewQuestion(
        key=_key_of(line, key, Direction.RECONCILE),
        step=line.contract.name,
        state=state,
        start_order=order,
        idempotency_key=line.forward.idempotency_key,
        task_id=new_task_id(),
        reason="nobody knows whether there is something to undo",
    )


def _key_of(line: PlannedUndo, key: StepKey, direction: Direction) -> StepKey:
    return StepKey(
        run_id=key.run_id,
        round=line.forward.round,
        position=line.forward.position,
        direction=direction,
    )


def _compensation_row(line: PlannedUndo, key: StepKey, state: StepState, order: int) -> transitions.NewCompensation:
    return transitions.NewCompensation(
        key=_key_of(line, key, Direction.COMPENSATION),
        step=line.contract.name,
        state=state,
        start_order=order,
        # Not the forward key: a provider that knows one key only once would answer the undo with the old charge.
        idempotency_key=f"{line.forward.idempotency_key}:undo",
        task_id=new_task_id(),
        reason="" if line.undo is Undo.COMPENSATE else line.reason,
    )


def _stop_at_irreversible(
    connection: LedgerConnection,
    attempt: Attempt,
    plan: RollbackPlan,
    error: ErrorFacts,
) -> Recorded:
    blocking = plan.blocked_by
    name = blocking.step if blocking else ""
    open_review(
        connection,
        attempt.plan,
        attempt.claim.key,
        ReviewReason.IRREVERSIBLE_PASSED,
        reason=error.in_one_line,
        how="failed",
        more={
            "irreversible_step": name,
            "would_be_undone": [line.contract.name for line in plan.compensations],
        },
    )
    return Recorded(consequence=f"a person is asked, because {name} cannot be undone (R7)")


def undo_next(connection: LedgerConnection, runtime: Runtime, attempt: Attempt, decision: UndoNext) -> Recorded | None:
    """Record the end of a compensation and make the next one ready, or close the rollback; needs a transaction."""
    return walk_on(connection, runtime, attempt) if _end_compensation(connection, attempt, decision.outcome) else None


def walk_on(connection: LedgerConnection, runtime: Runtime, attempt: Attempt) -> Recorded:
    """Make the next of the way back ready, or close the rollback; needs the transaction of what came before it."""
    claim, links = attempt.claim, runtime.settings.chain_links
    waiting = queries.next_undos(connection, claim.key, limit=links)
    if not waiting:
        steps = queries.list_steps(connection, claim.key.run_id)
        has_failed = any(s.direction is Direction.COMPENSATION and s.state is StepState.FAILED for s in steps)
        outcome = rollback_so_far(steps) if has_failed else RollbackOutcome.COMPLETE
        _finish_rollback(connection, _cause(attempt.plan, steps), claim, outcome)
        return Recorded(consequence=f"the rollback is finished ({outcome.value})")
    transitions.ready_step(connection, waiting[0].key, resend_seconds=runtime.settings.resend_seconds)
    rows = [(step.key, step.task_id, step.attempt) for step in waiting]
    return Recorded(
        consequence=f"{waiting[0].step} is next to be undone",
        compensations=chain_messages(attempt.plan, rows, links, parent_id=claim.task_id),
    )


def _end_compensation(connection: LedgerConnection, attempt: Attempt, outcome: Succeeded | Skipped | Failed) -> bool:
    claim = attempt.claim
    state = f"{attempt.contract.name}_undone_rolling_back"
    match outcome:
        case Succeeded(output=output):
            if not transitions.succeed_compensation(connection, claim, output=output, operator_state=state):
                return False
            transitions.undo_step(connection, claim.key)
            return True
        case Skipped(reason=reason):
            return transitions.skip_compensation(connection, claim, reason=reason, operator_state=state)
        case Failed(error=error):
            return transitions.fail_step(connection, claim, error=error.as_json(), reason=error.in_one_line)
        case _ as never:
            assert_never(never)


def _cause(plan: Plan, steps: Sequence[StepRecord]) -> StepContract:
    """Return the forward step whose failure turned the run round: the last one that failed, or the last started."""
    forward = [step for step in steps if step.direction is Direction.FORWARD]
    failed = [step for step in forward if step.state is StepState.FAILED]
    return plan.steps[(failed or forward)[-1].position]


def _finish_rollback(connection: LedgerConnection, cause: StepContract, claim: Claim, outcome: RollbackOutcome) -> None:
    how = "rolled_back" if outcome is RollbackOutcome.COMPLETE else f"rollback_{outcome.value}"
    transitions.finish_rollback(
        connection,
        claim.key.run_id,
        operator_state=state_of_rollback(cause, how=how),
        outcome=outcome,
    )


def chain_messages(
    plan: Plan,
    rows: Sequence[tuple[StepKey, TaskId, int]],
    links: int,
    *,
    parent_id: TaskId | None,
) -> tuple[StepMessage, ...]:
    """Return the messages of one chain: at most `links` of what is left; the last one to run sends the next chain.

    Args:
        plan: of the run.
        rows: key, task id and attempts so far of the compensations that are left, in the order of undoing.
        links: the most for one chain.
        parent_id: the task that causes the first one.
    """
    return tuple(
        StepMessage.of(
            plan,
            key,
            task_id=task_id,
            attempt=attempts + 1,
            parent_id=parent_id if number == 0 else None,
        )
        for number, (key, task_id, attempts) in enumerate(rows[:links])
    )


def remaining_chain(
    connection: LedgerConnection,
    plan: Plan,
    key: StepKey,
    links: int,
    *,
    parent_id: TaskId | None,
) -> tuple[StepMessage, ...]:
    """Return the chain of all compensations of a run that are still to run; the first one is due."""
    waiting = queries.next_undos(connection, key, limit=links)
    rows = [(step.key, step.task_id, step.attempt) for step in waiting]
    return chain_messages(plan, rows, links, parent_id=parent_id)
