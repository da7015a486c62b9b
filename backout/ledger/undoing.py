"""Reads of the way back: what is still to be undone, and what an undo must know of its step; changes no row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Integer, Select, and_, bindparam, func, select

from backout.events import Event
from backout.identifiers import RunId
from backout.ledger.change import constant
from backout.ledger.dialects import all_rows
from backout.ledger.models import entry, run, step
from backout.ledger.queries import columns_of, place_of_direction, step_record
from backout.ledger.records import StepKey, StepRecord
from backout.states import Direction, StepState

_TO_RUN: Final = (StepState.PENDING, StepState.READY, StepState.RETRY_SCHEDULED, StepState.WAITING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What is recorded about the step that a compensation or a question belongs to.

    Attributes:
        forward: its row.
        question: the row of its reconcile function; `None` when that was never asked.
        cause: why the run is rolled back, in one line; empty when it is not.
        requested_by: who asked for the rollback; empty when nobody did.
    """

    forward: StepRecord
    question: StepRecord | None
    cause: str
    requested_by: str


def _one_of(column: Any, *values: Direction | StepState) -> Any:
    return column.in_([constant(value.value) for value in values])


def _bind(column: Any) -> Any:
    return bindparam(f"b_{column.name}", type_=column.type)


def is_to_run() -> ColumnElement[bool]:
    """Match the rows of a way back that are still to run."""
    return and_(
        _one_of(step.c.direction, Direction.COMPENSATION, Direction.RECONCILE),
        _one_of(step.c.state, *_TO_RUN),
    )


def order_of_undoing() -> tuple[ColumnElement[int], ...]:
    """Return what rows of a way back are ordered by: a question stands before the undo that it is asked for."""
    return step.c.start_order, place_of_direction()


def _first_undos() -> Select[Any]:
    return (
        select(*columns_of(StepRecord, step))
        .where(
            step.c.run_id == _bind(step.c.run_id),
            is_to_run(),
        )
        .order_by(*order_of_undoing())
        .limit(bindparam("b_limit", type_=Integer()))
    )


def _background() -> Select[Any]:
    events = entry.alias("events")
    newest = select(func.max(events.c.id)).where(
        events.c.run_id == _bind(step.c.run_id), events.c.event == constant(Event.ROLLBACK_STARTED.value)
    )
    is_the_step = and_(
        step.c.run_id == _bind(step.c.run_id),
        step.c.round == _bind(step.c.round),
        step.c.position == _bind(step.c.position),
        _one_of(step.c.direction, Direction.FORWARD, Direction.RECONCILE),
    )
    return (
        select(
            *columns_of(StepRecord, step),
            run.c.error_summary.label("run_error"),
            entry.c.reason.label("asked_because"),
            entry.c.actor.label("asked_by"),
        )
        .join_from(step, run, run.c.id == step.c.run_id)
        .join(entry, and_(entry.c.run_id == step.c.run_id, entry.c.id == newest.scalar_subquery()), isouter=True)
        .where(is_the_step)
    )


_FIRST_UNDOS: Final = _first_undos()
_BACKGROUND: Final = _background()


def next_undos(connection: Connection, run_id: RunId, *, limit: int = 100) -> list[StepRecord]:
    """Return what is still to run on a run's way back, in order: compensations, and questions asked before them.

    Args:
        connection: any.
        run_id: the run.
        limit: the most to return; each compensation asks, and a long rollback must not read all of it each time.
    """
    return [step_record(row) for row in all_rows(connection, _FIRST_UNDOS, {"b_run_id": run_id, "b_limit": limit})]


def find_background(connection: Connection, key: StepKey) -> Background | None:
    """Return what is recorded about the step of a row, whatever the row's direction; `None` when there is no step.

    One statement: every compensation asks before it is called.
    """
    parameters = {"b_run_id": key.run_id, "b_round": key.round, "b_position": key.position}
    rows = {row["direction"]: dict(row) for row in all_rows(connection, _BACKGROUND, parameters)}
    if Direction.FORWARD.value not in rows:
        return None
    about = [(row.pop("run_error"), row.pop("asked_because"), row.pop("asked_by")) for row in rows.values()]
    error, reason, actor = about[0]
    question = rows.get(Direction.RECONCILE.value)
    return Background(
        forward=step_record(rows[Direction.FORWARD.value]),
        question=step_record(question) if question is not None else None,
        # A run that had succeeded has no error: there the cause is why a person asked.
        cause=reason or error or "",
        requested_by=actor or "",
    )
