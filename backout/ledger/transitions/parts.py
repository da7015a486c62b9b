"""The pieces that the arrows are built from: guards, entries and bind parameters.

Each arrow is a `Change` built once, with bind parameters for what differs from call to call, so that SQLAlchemy and
PostgreSQL compile and plan it once. Names of bind parameters start with `b_`: SQLAlchemy keeps the bare column names.
Lock order everywhere: step rows by position, then the run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import BindParameter, Column, ColumnElement, Float, Update, and_, bindparam, case, null, update

from backout.events import Event
from backout.ledger.change import ByRun, Matched, NewRow, When, constant
from backout.ledger.dialects import now
from backout.ledger.models import entry, run, step
from backout.ledger.records import StepKey
from backout.states import Direction, StepState, sources

ENGINE: Final = "engine"
"""The actor of what nobody asked for."""


def bind(column: Column[Any], name: str | None = None) -> BindParameter[Any]:
    """Return the bind parameter of a column's value: `b_<column>`, or `b_<name>`."""
    return bindparam(f"b_{name or column.name}", type_=column.type)


def seconds(name: str) -> BindParameter[Any]:
    """Return a bind parameter for a length of time in seconds."""
    return bindparam(f"b_{name}", type_=Float())


def key_is() -> ColumnElement[bool]:
    """Match one step row by its whole key."""
    return and_(
        step.c.run_id == bind(step.c.run_id),
        step.c.round == bind(step.c.round),
        step.c.position == bind(step.c.position),
        step.c.direction == bind(step.c.direction),
    )


def key_parameters(key: StepKey) -> dict[str, Any]:
    """Return the parameters of `key_is`."""
    return {
        "b_run_id": key.run_id,
        "b_round": key.round,
        "b_position": key.position,
        "b_direction": key.direction.value,
    }


def one_of(column: ColumnElement[Any], states: Iterable[str]) -> ColumnElement[bool]:
    """Match a column with any of some states; as constants, so that the statement's text is always the same."""
    return column.in_([constant(state) for state in sorted(states)])


def claimed_step(arrow: str) -> Update:
    """Return the start of an arrow that only the holder of the claim may walk: by token, not by time (R3)."""
    return update(step).where(
        key_is(),
        one_of(step.c.state, sources(arrow)),
        step.c.claim_token == bind(step.c.claim_token),
    )


def ended(state: StepState) -> dict[str, Any]:
    """Return the values of a step row whose attempt has ended, in any state but running.

    The token stays, so that whoever wrote the outcome can recognise it after a lost connection.
    """
    return {
        "state": state.value,
        "claim_expires_at": null(),
        "next_retry_at": null(),
        "sweep_at": null(),
        "finished_at": now() if state.is_finished else null(),
    }


def this_run(arrow: str | None = None) -> Update:
    """Return an UPDATE of the run; with an arrow, only from a state that the arrow may start from."""
    statement = update(run).where(run.c.id == bind(step.c.run_id))
    if arrow is not None:
        statement = statement.where(one_of(run.c.state, sources(arrow)))
    return statement.values(updated_at=now())


def forward_error() -> ColumnElement[Any]:
    """Return the run's error from now on: the attempt's if it ran forward; a rollback keeps what caused it."""
    is_forward = bind(step.c.direction) == Direction.FORWARD.value
    return case((is_forward, bind(entry.c.reason)), else_=run.c.error_summary)


def step_entry(event: Event | ByRun | BindParameter[Any], *, when: When = When.MATCHED, **values: Any) -> NewRow:
    """Return the entry of something that happened to the matched step. Arguments as of `run_entry`."""
    about = (step.c.run_id, step.c.round, step.c.position, step.c.step, step.c.direction, step.c.attempt)
    matched = {column.name: Matched(column) for column in about}
    return NewRow(table=entry, values={**_entry(event), **matched, **values}, when=when)


def run_entry(event: Event, *, when: When = When.MATCHED, **values: Any) -> NewRow:
    """Return the entry of something that happened to the run of the matched row (a step or the run itself).

    Args:
        event: what happened.
        when: it is told, if not always.
        values: columns that are not the usual ones.
    """
    return NewRow(
        table=entry,
        values={**_entry(event), "run_id": bind(step.c.run_id), **values},
        when=when,
    )


def _entry(event: Event | ByRun | BindParameter[Any]) -> dict[str, Any]:
    return {
        "at": now(),
        "event": event.value if isinstance(event, Event) else event,
        "actor": bind(entry.c.actor),
        "reason": null(),
        "detail": null(),
    }


MATCHED: Final = (step.c.round,)
"""What most arrows want to know of the matched row: that there was one. A number is the cheapest to send and read."""
