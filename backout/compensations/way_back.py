"""The way back of a run in the ledger: planned all at once, walked row by row, closed at its end.

The engine walks it when a step has failed, and `actions` when a person asks. What is ready is sent after the commit, as
one Celery chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Final

from backout.compensations.plan import PlannedUndo, RollbackPlan, Undo
from backout.compensations.reviews import rollback_so_far
from backout.identifiers import RunId, TaskId, new_task_id
from backout.ledger import queries, transitions, undoing
from backout.ledger.records import Link, StepKey, StepRecord
from backout.ledger.session import LedgerConnection
from backout.pipelines.contract import Plan, RecoveryKind
from backout.pipelines.message import StepMessage
from backout.pipelines.words import state_by_hand, state_of_rollback
from backout.states import Direction, RollbackOutcome, StepState

ENGINE: Final = "engine"


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkedOn:
    """What came next on a way back.

    Attributes:
        following: the step whose compensation, or question before it, is ready now; `None` at the end.
        outcome: of the whole rollback, at its end.
        messages: to send as one chain, in the order of undoing.
    """

    following: str | None = None
    outcome: RollbackOutcome | None = None
    messages: tuple[StepMessage, ...] = ()


_NewRow = transitions.NewCompensation | transitions.NewQuestion


def rows_of_way_back(
    plan: RollbackPlan, steps: Sequence[StepRecord], run_id: RunId, wait_until: datetime | None
) -> list[_NewRow]:
    """Return the rows of a rollback in the order in which they run. Pure but for new task ids.

    Args:
        plan: what is undone.
        steps: all rows of the run: an earlier rollback may have left compensations.
        run_id: the run.
        wait_until: nothing may be undone before this (R5); `None`: the first one at once.
    """
    known = {step.key: step for step in steps}
    finished = {Undo.KEEP: StepState.KEPT, Undo.SKIP: StepState.SKIPPED}
    due_state = StepState.READY if wait_until is None else StepState.WAITING
    rows: list[_NewRow] = []
    for order, line in enumerate(plan.undos, start=1):
        state = finished.get(line.undo, due_state)
        earlier = known.get(_key_of(line, run_id, Direction.COMPENSATION))
        if line.undo in finished and earlier is not None:
            # Said already, by an earlier rollback.
            continue
        if line.asks_first:
            rows.append(_question_row(line, run_id, due_state, order))
            state = due_state = StepState.PENDING
        rows.append(_compensation_row(line, run_id, state, order, is_again=earlier is not None))
        due_state = due_state if line.undo in finished else StepState.PENDING
    return [replace(row, wait_until=wait_until) if row.state is StepState.WAITING else row for row in rows]


def record_way_back(
    connection: LedgerConnection, rows: Sequence[_NewRow], *, resend_seconds: float, actor: str = ENGINE
) -> None:
    """Record the rows of a rollback; needs the transaction that turns the run round."""
    # Neighbours of one kind together, for the entries keep the order of the rows.
    for _, group in groupby(rows, key=type):
        neighbours = list(group)
        for row in neighbours:
            if isinstance(row, transitions.NewQuestion):
                transitions.ask_question(connection, row, resend_seconds=resend_seconds, actor=actor)
        planned = [row for row in neighbours if isinstance(row, transitions.NewCompensation)]
        transitions.plan_compensation(connection, planned, actor=actor, resend_seconds=resend_seconds)


def _question_row(line: PlannedUndo, run_id: RunId, state: StepState, order: int) -> transitions.NewQuestion:
    return transitions.NewQuestion(
        key=_key_of(line, run_id, Direction.RECONCILE),
        step=line.contract.name,
        state=state,
        start_order=order,
        idempotency_key=line.forward.idempotency_key,
        task_id=new_task_id(),
        reason="nobody knows whether there is something to undo",
    )


def _key_of(line: PlannedUndo, run_id: RunId, direction: Direction) -> StepKey:
    return StepKey(run_id=run_id, round=line.forward.round, position=line.forward.position, direction=direction)


def _compensation_row(
    line: PlannedUndo, run_id: RunId, state: StepState, order: int, *, is_again: bool
) -> transitions.NewCompensation:
    return transitions.NewCompensation(
        key=_key_of(line, run_id, Direction.COMPENSATION),
        step=line.contract.name,
        state=state,
        start_order=order,
        # Not the forward key: a provider that knows one key only once would answer the undo with the old charge.
        idempotency_key=f"{line.forward.idempotency_key}:undo",
        task_id=new_task_id(),
        reason="" if line.undo is Undo.COMPENSATE else line.reason,
        is_planned_again=is_again,
    )


def walk_back(
    connection: LedgerConnection,
    plan: Plan,
    run_id: RunId,
    *,
    left: int | None,
    resend_seconds: float,
    links: int,
    parent_id: TaskId | None = None,
    actor: str = ENGINE,
    reason: str | None = None,
) -> WalkedOn:
    """Make the next of the way back ready, or close the rollback; needs the transaction of what came before it.

    Args:
        connection: the transaction.
        plan: of the run.
        run_id: the run.
        left: as of `finish_way_back`.
        resend_seconds: when the sweeper sends the message again if nobody takes it up.
        links: the most for one chain.
        parent_id: the task that causes it.
        actor: who causes it.
        reason: why, where a person does.
    """
    waiting = undoing.next_undos(connection, run_id, limit=links)
    if not waiting:
        return WalkedOn(outcome=finish_way_back(connection, plan, run_id, left=left, actor=actor, reason=reason))
    if waiting[0].state is StepState.PENDING:
        transitions.ready_step(connection, waiting[0].key, resend_seconds=resend_seconds, actor=actor, reason=reason)
    # What waits for an attempt that may still run (R5) is sent by the sweeper.
    due = [] if waiting[0].state is StepState.WAITING else [step.link for step in waiting]
    messages = chain_messages(plan, due, links, parent_id=parent_id)
    return WalkedOn(following=waiting[0].step, messages=messages)


def finish_way_back(
    connection: LedgerConnection,
    plan: Plan,
    run_id: RunId,
    *,
    left: int | None,
    actor: str = ENGINE,
    reason: str | None = None,
) -> RollbackOutcome:
    """Close a rollback that has nothing left to run; needs the transaction of what came before it.

    Args:
        connection: the transaction.
        plan: of the run.
        run_id: the run.
        left: the last position that the rollback leaves as it is; `None`: it undoes all.
        actor: who causes it.
        reason: why, where a person does.
    """
    steps = queries.list_steps(connection, run_id)
    outcome = rollback_so_far(steps) if is_something_left(plan, steps) else RollbackOutcome.COMPLETE
    is_whole = outcome is RollbackOutcome.COMPLETE
    state = say_rollback(plan, steps, how="rolled_back" if is_whole else f"rollback_{outcome.value}")
    if left is not None and is_whole:
        state = state_by_hand(plan.steps[left], how="restart_pending")
    transitions.finish_rollback(
        connection,
        run_id,
        operator_state=state,
        outcome=outcome,
        is_to_step=left is not None,
        actor=actor,
        reason=reason,
    )
    return outcome


def is_something_left(plan: Plan, steps: Sequence[StepRecord]) -> bool:
    """Return whether an undo has failed, or a person has let the rollback pass what cannot be undone."""
    undos = [step for step in steps if step.direction is Direction.COMPENSATION]
    return any(
        step.state in (StepState.FAILED, StepState.IN_DOUBT)
        or (step.state is StepState.KEPT and plan.steps[step.position].recovery is RecoveryKind.IRREVERSIBLE)
        or (step.state is StepState.SKIPPED and (step.error or {}).get("type") == transitions.CLOSED)
        for step in undos
    )


def say_rollback(plan: Plan, steps: Sequence[StepRecord], *, how: str) -> str:
    """Return the operator's state of a rollback: by the step whose failure turned the run round, or its last one."""
    started = [step for step in steps if step.direction is Direction.FORWARD and step.attempt > 0]
    newest = [step for step in started if step.round == started[-1].round]
    failed = [step for step in newest if step.state is StepState.FAILED]
    cause = (failed or newest)[-1:]
    contract = plan.steps[cause[0].position] if cause else None
    return state_of_rollback(contract, how=how, is_failed=bool(failed))


def chain_messages(
    plan: Plan,
    links: Sequence[Link],
    most: int,
    *,
    parent_id: TaskId | None,
) -> tuple[StepMessage, ...]:
    """Return the messages of one chain; the last one to run sends the next chain.

    Args:
        plan: of the run.
        links: what is left, in the order of undoing.
        most: links for one chain.
        parent_id: the task that causes the first one.
    """
    return tuple(
        StepMessage.of(
            plan,
            link.key,
            task_id=link.task_id,
            attempt=link.attempts + 1,
            parent_id=parent_id if number == 0 else None,
        )
        for number, link in enumerate(links[:most])
    )


def remaining_chain(
    connection: LedgerConnection,
    plan: Plan,
    run_id: RunId,
    links: int,
    *,
    parent_id: TaskId | None,
) -> tuple[StepMessage, ...]:
    """Return the chain of all compensations of a run that are still to run; the first one is due."""
    waiting = undoing.next_undos(connection, run_id, limit=links)
    return chain_messages(plan, [step.link for step in waiting], links, parent_id=parent_id)
