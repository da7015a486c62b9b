"""Mend one row that should have moved on and has not: send its message again, or end its dead worker's attempt.

What is to be done is decided by the same pure functions as in the path of an attempt; the messages go out after the
commit.
"""

from __future__ import annotations

import logging
import os
import random
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from celery import Celery

from backout.compensations.reviews import open_review
from backout.compensations.way_back import remaining_chain
from backout.identifiers import RunId, TaskId, new_task_id
from backout.ledger import due, queries, transitions
from backout.ledger.due import DueStep
from backout.ledger.records import StepKey
from backout.ledger.session import LedgerConnection
from backout.ledger.transitions.parts import ENGINE
from backout.pipelines.contract import Plan
from backout.pipelines.functions import find_function
from backout.pipelines.message import KILL_GRACE_SECONDS, StepMessage, direction_contract
from backout.states import ACTIVE_RUN_STATES, Direction, ReviewReason, RunState, StepState
from backout.tasks.advance import advance
from backout.tasks.attempt import Attempt, Ended
from backout.tasks.claiming import DEADLINE_GRACE_SECONDS
from backout.tasks.decisions import GiveBack
from backout.tasks.dispatch import send_compensations, send_step
from backout.tasks.outcome import Lost
from backout.tasks.process import is_gone
from backout.tasks.record import write
from backout.tasks.runtime import Runtime
from backout.tasks.situation import situation_of

logger = logging.getLogger(__name__)

SPREAD: Final = (0.9, 1.1)
"""Resends of rows that became due together are spread by chance, so that they do not come back together."""
UNKNOWN_SENDS: Final = 6
"""After this many messages for a step that nobody here defines a person is asked: with the doubling, after an hour."""


class Repaired(StrEnum):
    """What was done about a row."""

    RESENT = "resent"
    """Its message was sent again."""
    RELEASED = "released"
    """Its attempt had no answer; it runs again."""
    DOUBTED = "doubted"
    """Its attempt had no answer; its reconcile function or a person is asked."""
    REVIEWED = "reviewed"
    """No worker knows the step; a person is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What was done about one row, and what to send after the commit."""

    kind: Repaired
    steps: tuple[StepMessage, ...] = ()
    compensations: tuple[StepMessage, ...] = ()


def repair(connection: LedgerConnection, runtime: Runtime, row: DueStep, *, actor: str) -> Repair | None:
    """Mend a row that is due. Needs a transaction that holds the row's lock; sends nothing.

    Returns:
        `None` when this process can do nothing about it, or it has moved on.
    """
    plan = _plan_of(connection, runtime, row)
    if plan is None:
        return None
    match row.state:
        case StepState.RUNNING:
            why = "the claim expired: its worker no longer answers"
            return end_attempt(connection, runtime, plan, row, why=why, actor=actor)
        case _ if row.run_state not in ACTIVE_RUN_STATES:
            _keep_still(connection, runtime, row, actor=actor)
            return None
        case StepState.WAITING:
            waited = transitions.end_wait(
                connection,
                row.key,
                resend_seconds=runtime.settings.resend_seconds,
                actor=actor,
            )
            if not waited:
                return None
            return _send_again(connection, runtime, plan, row, found="the wait is over", actor=actor)
        case StepState.READY | StepState.RETRY_SCHEDULED:
            return _send_due(connection, runtime, plan, row, actor=actor)
        case _:
            logger.error("backout: %s of run %s is %s and marked for the sweeper", row.step, row.key.run_id, row.state)
            return None


def _keep_still(connection: LedgerConnection, runtime: Runtime, row: DueStep, *, actor: str) -> None:
    """Let a row rest whose run a person has stopped, or that waits for one; whoever resumes the run lets it go."""
    reason = f"the run is {row.run_state.value}"
    if row.state is StepState.WAITING or not transitions.hold_step(connection, row.key, reason=reason, actor=actor):
        transitions.postpone_step(connection, row.key, seconds_from_now=runtime.settings.resend_seconds)


def send_repairs(app: Celery, repairs: Sequence[Repair]) -> int:
    """Send what repairs have made ready; return how many of them were not sent.

    The first one that the broker does not take ends it: each further one could take its whole timeout, and a batch of
    them a quarter of an hour. What is left is sent again when its time comes.
    """
    for number, one in enumerate(repairs):
        is_sent = all(send_step(app, message) for message in one.steps)
        if not (is_sent and send_compensations(app, one.compensations)):
            return len(repairs) - number
    return 0


def announce_repairs(runtime: Runtime, stood_at: Mapping[RunId, int], *, actor: str) -> None:
    """Tell what repairs have recorded in runs that stood at these entries before."""
    for run_id, after_id in stood_at.items():
        runtime.announce(run_id, after_id=after_id, actors={ENGINE, actor})


def end_attempt_of_dead_process(runtime: Runtime, key: StepKey, *, actor: str) -> None:
    """End the attempt of a process that is known to be gone, now, and send what follows."""
    with runtime.ledger.transaction() as connection:
        row = due.take_running_step(connection, key)
        if row is None or not is_gone(row.claimed_by):
            return
        plan = _plan_of(connection, runtime, row)
        if plan is None:
            return
        stood_at = runtime.announcer.positions(connection, [key.run_id])
        done = end_attempt(connection, runtime, plan, row, why="its process was killed", actor=actor)
    if done is not None:
        send_repairs(runtime.app, [done])
        announce_repairs(runtime, stood_at, actor=actor)


def mend_after_dead_process(runtime: Runtime, run_id: RunId, *, actor: str) -> None:
    """Do what a process has left undone that recorded an outcome of a run and is gone.

    It was killed before it had sent what is next, or had gone on with a later step of its burst, whose attempt ends
    here.
    """
    send_for_dead_process(runtime, run_id, actor=actor)
    for key, claimed_by in runtime.ledger.read(lambda connection: due.list_running_steps(connection, run_id)):
        if is_gone(claimed_by):
            end_attempt_of_dead_process(runtime, key, actor=actor)


def send_for_dead_process(runtime: Runtime, run_id: RunId, *, actor: str) -> None:
    """Send what is ready in a run whose last outcome was recorded by a process that is gone, perhaps before it sent.

    A message that it has sent after all comes twice, which does no harm.
    """
    with runtime.ledger.transaction() as connection:
        rows = due.take_unclaimed_steps(connection, run_id)
        plans = [(row, _plan_of(connection, runtime, row)) for row in rows]
        found = "whoever recorded the step before it was killed"
        repairs = [
            _send_again(connection, runtime, plan, row, found=found, actor=actor)
            for row, plan in plans
            if plan is not None
        ]
    send_repairs(runtime.app, repairs)


def _plan_of(connection: LedgerConnection, runtime: Runtime, row: DueStep) -> Plan | None:
    try:
        return runtime.plan_of(row.key.run_id, row.definition_digest)
    except (LookupError, ValueError):
        # A newer release's plan: this process cannot tell what the step may do. A newer sweeper can.
        logger.exception("backout: run %s is left to another sweeper", row.key.run_id)
        transitions.postpone_step(connection, row.key, seconds_from_now=runtime.settings.resend_seconds)
        return None


def end_attempt(
    connection: LedgerConnection, runtime: Runtime, plan: Plan, row: DueStep, *, why: str, actor: str
) -> Repair | None:
    """End an attempt that has no answer, as its contract says (R8). Needs a transaction that holds the row's lock."""
    claim = queries.find_claim(connection, row.key)
    if claim is None:
        return None
    attempt = Attempt(claim=claim, plan=plan)
    decision = advance(situation_of(runtime, attempt), Lost(reason=why))
    ended = Ended(actor=actor, may_run_until=_may_run_until(connection, plan, row))
    recorded = write(connection, runtime, attempt, decision, ended)
    if recorded is None:
        return None
    if isinstance(decision, GiveBack):
        if row.run_state not in ACTIVE_RUN_STATES:
            return Repair(kind=Repaired.RELEASED)
        sent = _send_again(connection, runtime, plan, row, found="given back", actor=actor)
        return replace(sent, kind=Repaired.RELEASED)
    return Repair(kind=Repaired.DOUBTED, steps=recorded.steps, compensations=recorded.compensations)


def _may_run_until(connection: LedgerConnection, plan: Plan, row: DueStep) -> datetime | None:
    """Return until when an attempt without a heartbeat may still run; `None` when its process is certainly gone.

    Not the timeout: a function may swallow the exception that says so. Celery kills its process some time later, and
    what no exception ends on the other pools is interrupted several times until then.
    """
    if row.key.direction.is_question or is_gone(row.claimed_by):
        return None
    started_at = due.find_attempt_start(connection, row.key, row.attempt) or queries.read_clock(connection)
    contract = direction_contract(plan.steps[row.key.position], row.key.direction)
    return started_at + timedelta(seconds=contract.timeout_seconds + KILL_GRACE_SECONDS + DEADLINE_GRACE_SECONDS)


def _send_due(connection: LedgerConnection, runtime: Runtime, plan: Plan, row: DueStep, *, actor: str) -> Repair:
    task = direction_contract(plan.steps[row.key.position], row.key.direction).task
    found = f"{row.state.value} and due" if row.sends == 0 else f"no worker took up message {row.sends}"
    if find_function(task) is None:
        logger.error("backout: %s of run %s needs task %s, which is unknown here", row.step, row.key.run_id, task)
        found = f"{found}; task {task} is unknown to this sweeper"
        if row.sends >= UNKNOWN_SENDS and _ask_about_definition(connection, plan, row, task):
            return Repair(kind=Repaired.REVIEWED)
    return _send_again(connection, runtime, plan, row, found=found, actor=actor)


def _ask_about_definition(connection: LedgerConnection, plan: Plan, row: DueStep, task: str) -> bool:
    """Ask a person about a step that no worker has taken up and that nobody here defines.

    Its row is held: a message that is still on its way would otherwise run it in a run that waits for a person.
    """
    reason = f"no worker has taken up {row.sends} messages of {row.step}, and its task {task} is defined nowhere here"
    is_open = open_review(
        connection,
        plan,
        row.key,
        ReviewReason.DEFINITION_MISSING,
        reason=reason,
        how="pending",
        more={"task": task},
    )
    if is_open:
        transitions.hold_step(connection, row.key, reason=reason)
    return is_open


def _send_again(
    connection: LedgerConnection,
    runtime: Runtime,
    plan: Plan,
    row: DueStep,
    *,
    found: str,
    actor: str,
) -> Repair:
    # The first message of an attempt keeps the id that was promised to Flower's tree.
    task_id = row.task_id if row.sends == 0 else new_task_id()
    transitions.mark_resent(
        connection,
        row.key,
        task_id=task_id,
        resend_seconds=runtime.settings.resend_seconds,
        spread=random.uniform(*SPREAD),
        actor=actor,
        reason=found,
    )
    parent_id = TaskId(row.key.run_id) if str(task_id) != row.key.run_id else None
    if _is_on_the_way_back(row):
        # The chain is made anew with all links that are left: the one that was lost carried them.
        links = runtime.settings.chain_links
        chain = remaining_chain(connection, plan, row.key.run_id, links, parent_id=parent_id)
        return Repair(kind=Repaired.RESENT, compensations=chain)
    message = StepMessage.of(plan, row.key, task_id=task_id, attempt=row.attempt + 1, parent_id=parent_id)
    return Repair(kind=Repaired.RESENT, steps=(message,))


def _is_on_the_way_back(row: DueStep) -> bool:
    is_question = row.key.direction is Direction.RECONCILE and row.run_state is RunState.ROLLING_BACK
    return is_question or row.key.direction is Direction.COMPENSATION


def sweeper_name() -> str:
    """Return which sweeper acts, for the entries."""
    return f"sweeper@{socket.gethostname()}/{os.getpid()}"[:200]
