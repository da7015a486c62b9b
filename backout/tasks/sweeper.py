"""The only repair path: what a crash swallowed is sent again, what a dead worker held is taken from it.

The ledger is the outbox: a row whose `sweep_at` has passed should have moved on and has not. Any number of sweepers may
run at once. It is a process of its own, never a thread that publishes: such a thread in a prefork parent hung both
children for good.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from celery import Celery
from kombu.exceptions import OperationalError

from backout.faultpoints import FaultPoint, reach
from backout.identifiers import TaskId, new_task_id
from backout.ledger import queries, transitions
from backout.ledger.queries import DueStep
from backout.ledger.session import LEDGER_ERRORS, LedgerConnection
from backout.pipelines.contract import Plan
from backout.pipelines.message import StepMessage, direction_contract
from backout.states import Direction, StepState
from backout.tasks.advance import Doubt, GiveBack, Situation, advance
from backout.tasks.attempt import Attempt
from backout.tasks.dispatch import send_compensations, send_step
from backout.tasks.outcome import Lost
from backout.tasks.record import doubt
from backout.tasks.rollback import remaining_chain
from backout.tasks.runtime import Runtime

logger = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS: Final = 60.0
SPREAD: Final = (0.9, 1.1)
"""Resends of rows that became due together are spread by chance, so that they do not come back together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What one look found.

    Attributes:
        resent: rows whose message was sent again.
        released: claims that had expired and whose step runs again.
        doubted: claims that had expired and about which a person is asked.
        unsent: messages that the broker did not take.
    """

    resent: int = 0
    released: int = 0
    doubted: int = 0
    unsent: int = 0

    @property
    def found(self) -> int:
        """Rows that something was done about."""
        return self.resent + self.released + self.doubted


@dataclass(frozen=True, slots=True, kw_only=True)
class _Repair:
    """What to send for one row after the commit."""

    kind: str
    steps: tuple[StepMessage, ...] = ()
    compensations: tuple[StepMessage, ...] = ()


def run_sweeper(runtime: Runtime, *, should_stop: threading.Event, parent_is_alive: Callable[[], bool]) -> None:
    """Sweep until told to stop. Pauses while the broker or the database is away; nothing is lost meanwhile."""
    pause = runtime.settings.sweep_interval_seconds
    while not should_stop.is_set() and parent_is_alive():
        try:
            _require_broker(runtime.app)
            sweep = sweep_once(runtime)
        except (OperationalError, OSError, *LEDGER_ERRORS) as error:
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            logger.warning("backout: the sweeper waits %.0f s: %s", pause, error)
        else:
            is_full = sweep.found >= runtime.settings.sweep_batch
            pause = runtime.settings.sweep_interval_seconds
            if sweep.found:
                logger.info("backout: swept %s", sweep)
            if is_full:
                logger.warning("backout: more is due than one sweep takes (%s)", runtime.settings.sweep_batch)
        _wait(should_stop, parent_is_alive, pause)


def _wait(should_stop: threading.Event, parent_is_alive: Callable[[], bool], seconds: float) -> None:
    """Pause, but leave within a second when the parent has died."""
    left = seconds
    while left > 0 and parent_is_alive() and not should_stop.wait(min(left, 1.0)):
        left -= 1.0


def _require_broker(app: Celery) -> None:
    # Rows are marked as sent before they are sent: with the broker away they would only be put off.
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0.1)


def sweep_once(runtime: Runtime) -> Sweep:
    """Look once: repair what is due, commit, send."""
    with runtime.ledger.transaction() as connection:
        due = queries.take_due_steps(connection, limit=runtime.settings.sweep_batch)
        repairs = [repair for row in due if (repair := _repair(connection, runtime, row)) is not None]
    reach(FaultPoint.SWEEP_COMMITTED)
    return _send(runtime.app, repairs)


def _repair(connection: LedgerConnection, runtime: Runtime, row: DueStep) -> _Repair | None:
    try:
        plan = runtime.plan_of(row.key.run_id, row.definition_digest)
    except (LookupError, ValueError):
        # A newer release's plan: this process cannot tell what the step may do. A newer sweeper can.
        logger.exception("backout: run %s is left to another sweeper", row.key.run_id)
        return None
    match row.state:
        case StepState.RUNNING:
            return _take_from_dead_worker(connection, runtime, plan, row)
        case StepState.READY | StepState.RETRY_SCHEDULED:
            found = f"{row.state.value} and due" if row.sends == 0 else f"no worker took up message {row.sends}"
            return _send_again(connection, runtime, plan, row, found=found)
        case _:
            logger.error("backout: %s of run %s is %s and marked for the sweeper", row.step, row.key.run_id, row.state)
            return None


def _take_from_dead_worker(
    connection: LedgerConnection,
    runtime: Runtime,
    plan: Plan,
    row: DueStep,
) -> _Repair | None:
    """Decide about a claim without a heartbeat as about any attempt without an answer (R8)."""
    decision = advance(_situation(runtime, plan, row), Lost(reason="the claim expired: its worker no longer answers"))
    claim = queries.find_claim(connection, row.key)
    if claim is None:
        return None
    match decision:
        case GiveBack(reason=reason):
            released = transitions.release_claim(
                connection,
                row.key,
                token=claim.token,
                reason=reason,
                actor=sweeper_name(),
                sweep_seconds=runtime.settings.resend_seconds,
            )
            if not released:
                return None
            return replace(_send_again(connection, runtime, plan, row, found="given back"), kind="released")
        case Doubt():
            doubt(connection, Attempt(claim=claim, plan=plan), decision, actor=sweeper_name())
            return _Repair(kind="doubted")
        case _:
            message = f"an attempt without an answer cannot lead to {decision}"
            raise TypeError(message)


def _situation(runtime: Runtime, plan: Plan, row: DueStep) -> Situation:
    return Situation(
        plan=plan,
        position=row.key.position,
        direction=row.key.direction,
        last_done=None,
        is_idempotent=direction_contract(plan.steps[row.key.position], row.key.direction).idempotent,
        lost_attempts=row.lost_attempts,
        lost_attempts_limit=runtime.settings.lost_attempts_limit,
    )


def _send_again(
    connection: LedgerConnection,
    runtime: Runtime,
    plan: Plan,
    row: DueStep,
    *,
    found: str,
) -> _Repair:
    # The first message of an attempt keeps the id that was promised to Flower's tree.
    task_id = row.task_id if row.sends == 0 else new_task_id()
    transitions.mark_resent(
        connection,
        row.key,
        task_id=task_id,
        resend_seconds=runtime.settings.resend_seconds,
        spread=random.uniform(*SPREAD),
        actor=sweeper_name(),
        reason=found,
    )
    if row.key.direction is Direction.COMPENSATION:
        links = remaining_chain(
            connection,
            plan,
            row.key,
            runtime.settings.chain_links,
            parent_id=TaskId(row.key.run_id),
        )
        return _Repair(kind="resent", compensations=links)
    message = StepMessage.of(
        plan,
        row.key,
        task_id=task_id,
        attempt=row.attempt + 1,
        parent_id=TaskId(row.key.run_id) if str(task_id) != row.key.run_id else None,
    )
    return _Repair(kind="resent", steps=(message,))


def _send(app: Celery, repairs: Sequence[_Repair]) -> Sweep:
    counts = {"resent": 0, "released": 0, "doubted": 0, "unsent": 0}
    for repair in repairs:
        counts[repair.kind] += 1
        is_sent = all(send_step(app, message) for message in repair.steps)
        if not (is_sent and send_compensations(app, repair.compensations)):
            counts["unsent"] += 1
    return Sweep(**counts)


def sweeper_name() -> str:
    """Return which sweeper acts, for the entries."""
    return f"sweeper@{socket.gethostname()}/{os.getpid()}"[:200]
