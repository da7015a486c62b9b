"""The only repair path: what a crash swallowed is sent again, what a dead worker held is taken from it.

The ledger is the outbox: a row whose `sweep_at` has passed should have moved on and has not. Any number of sweepers may
run at once. It is a process of its own, never a thread that publishes: such a thread in a prefork parent hung both
children for good.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from celery import Celery
from kombu.exceptions import OperationalError

from backout.faultpoints import FaultPoint, reach
from backout.ledger import due, transitions
from backout.ledger.due import DueStep, StalledRun
from backout.ledger.session import LEDGER_ERRORS, LedgerConnection, is_passing, savepoint
from backout.ledger.transitions.parts import ENGINE
from backout.pipelines.words import state_in_review
from backout.states import ReviewReason, RollbackOutcome
from backout.tasks.repair import Repair, Repaired, announce_repairs, repair, send_repairs, sweeper_name
from backout.tasks.runtime import Runtime

logger = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS: Final = 60.0
STALLED_SECONDS: Final = 60.0
"""How often it looks for runs that nothing moves on, and how long a run must have been still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What one look found.

    Attributes:
        resent: rows whose message was sent again.
        released: attempts without an answer whose step runs again.
        doubted: attempts without an answer about which a reconcile function or a person is asked.
        reviewed: steps that no worker knows, about which a person is asked.
        hastened: retries that were scheduled for after the deadline of their run.
        stalled: runs that nothing would have moved on, about which a person is asked.
        unsent: messages that the broker did not take.
    """

    resent: int = 0
    released: int = 0
    doubted: int = 0
    reviewed: int = 0
    hastened: int = 0
    stalled: int = 0
    unsent: int = 0

    @property
    def found(self) -> int:
        """Rows that something was done about."""
        return self.resent + self.released + self.doubted + self.reviewed + self.hastened + self.stalled


def run_sweeper(runtime: Runtime, *, should_stop: threading.Event, parent_is_alive: Callable[[], bool]) -> None:
    """Sweep until told to stop. Pauses while the broker or the database is away; nothing is lost meanwhile."""
    pause = runtime.settings.sweep_interval_seconds
    stalled_at = time.monotonic()
    while not should_stop.is_set() and parent_is_alive():
        is_time_for_stalled = time.monotonic() >= stalled_at
        try:
            _require_broker(runtime.app)
            sweep = sweep_once(runtime, looks_for_stalled=is_time_for_stalled)
        except (OperationalError, OSError, *LEDGER_ERRORS) as error:
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            logger.warning("backout: the sweeper waits %.0f s: %s", pause, error)
        else:
            if is_time_for_stalled:
                stalled_at = time.monotonic() + STALLED_SECONDS
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


def sweep_once(runtime: Runtime, *, looks_for_stalled: bool = True) -> Sweep:
    """Look once: repair what is due, commit, send, announce.

    Args:
        runtime: of the app whose ledger is swept.
        looks_for_stalled: look also for runs that nothing would ever move on, which means to look at all that are
            under way.
    """
    hastened = _hasten_late_retries(runtime)
    with runtime.ledger.transaction() as connection:
        rows = due.take_due_steps(connection, limit=runtime.settings.sweep_batch)
        stood_at = runtime.announcer.positions(connection, {row.key.run_id for row in rows})
        found = [_repair_apart(connection, runtime, row) for row in rows]
    repairs = [one for one in found if one is not None]
    reach(FaultPoint.SWEEP_COMMITTED)
    unsent = send_repairs(runtime.app, repairs)
    announce_repairs(runtime, stood_at, actor=sweeper_name())
    counts = {kind.value: sum(one.kind is kind for one in repairs) for kind in Repaired}
    stalled = _report_stalled_runs(runtime) if looks_for_stalled else 0
    return Sweep(**counts, hastened=hastened, stalled=stalled, unsent=unsent)


def _repair_apart(connection: LedgerConnection, runtime: Runtime, row: DueStep) -> Repair | None:
    """Repair one row; one that cannot be repaired must not keep the others waiting, now or at the next look."""
    try:
        with savepoint(connection):
            return repair(connection, runtime, row, actor=sweeper_name())
    except Exception as error:
        if isinstance(error, LEDGER_ERRORS) and is_passing(error):
            raise
        logger.exception("backout: %s of run %s cannot be repaired; it is looked at later", row.step, row.key.run_id)
        transitions.postpone_step(connection, row.key, seconds_from_now=runtime.settings.resend_seconds)
        return None


def _hasten_late_retries(runtime: Runtime) -> int:
    """Make retries due whose run has passed its deadline: a worker refuses them, and their contract says the rest."""
    limit = runtime.settings.sweep_batch
    late = runtime.ledger.read(lambda connection: due.list_late_retries(connection, limit=limit))
    hastened = 0
    for key in late:
        with runtime.ledger.change() as connection:
            hastened += transitions.hasten_retry(
                connection,
                key,
                reason="the deadline of the run has passed",
                actor=sweeper_name(),
            )
    return hastened


def _report_stalled_runs(runtime: Runtime) -> int:
    """Hand runs to a person that are under way and have no step that could go on: a defect, told loudly (R4)."""
    limit = runtime.settings.sweep_batch
    stalled = runtime.ledger.read(
        lambda connection: due.list_stalled_runs(connection, quiet_seconds=STALLED_SECONDS, limit=limit),
    )
    return sum(_report_stalled(runtime, run) for run in stalled)


def _report_stalled(runtime: Runtime, run: StalledRun) -> bool:
    what = f"the run is {run.state.value} and has no step that could go on"
    stood_at = runtime.position_of(run.id)
    with runtime.ledger.transaction() as connection:
        review_id = transitions.review_run(
            connection,
            run.id,
            reason=ReviewReason.SYSTEMS_DISAGREE,
            about=None,
            step_name=None,
            evidence={
                "what": f"{what}: this is a defect of backout, or rows were changed by hand",
                "unchanged_since": run.updated_at.isoformat(),
            },
            operator_state=state_in_review(run.operator_state),
            rollback_outcome=RollbackOutcome.NONE,
        )
    if review_id is not None:
        logger.critical("backout: run %s: %s; a person is asked (review %s)", run.id, what, review_id)
        runtime.announce(run.id, after_id=stood_at, actors={ENGINE})
    return review_id is not None
