"""Locks for an action by hand: the run first, then the rows that somebody could be claiming."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import Connection, select

from backout.identifiers import RunId
from backout.ledger.dialects import skip_locked
from backout.ledger.models import run, step
from backout.ledger.records import StepKey
from backout.states import Direction, StepState

_CLAIMABLE: Final = (StepState.READY.value, StepState.RETRY_SCHEDULED.value, StepState.WAITING.value)


def take_run(connection: Connection, run_id: RunId) -> bool:
    """Lock a run until the transaction ends. Needs a transaction.

    Every outcome of an attempt changes its run's row: from now on none can commit, and reads that follow see all that
    have. (READ COMMITTED on PostgreSQL and MariaDB; SQLite has one writer.)

    Returns:
        False when the ledger has no such run, also when the id is none: a person may have typed it.
    """
    try:
        UUID(run_id)
    except ValueError:
        return False
    statement = select(run.c.id).where(run.c.id == run_id).with_for_update()
    return connection.execute(statement).one_or_none() is not None


def take_claimable_steps(connection: Connection, run_id: RunId) -> frozenset[StepKey]:
    """Lock the rows of a run that could be claimed, and return which they are.

    A row that somebody is just claiming, or that a sweeper has taken, is passed over and not waited for: they hold
    their row and wait for the run, which is locked here, and waiting for them would be a deadlock. Whoever misses a row
    in the answer that it has seen before must give up.
    """
    statement = select(step.c.run_id, step.c.round, step.c.position, step.c.direction).where(
        step.c.run_id == run_id,
        step.c.state.in_(_CLAIMABLE),
    )
    return frozenset(
        StepKey(run_id=RunId(row.run_id), round=row.round, position=row.position, direction=Direction(row.direction))
        for row in connection.execute(skip_locked(statement))
    )
