"""The parts of a `Change` as statements of their own, for databases that cannot run it as one.

They need a transaction. Parameters are given once for all parts; each part takes those that it uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, CursorResult, Insert, Select, Update
from sqlalchemy.dialects import sqlite

from backout.ledger.change import ACTIVE, Change, When

Parameters = Mapping[str, Any]
RowValues = Mapping[str, Any]
Apply = Callable[[Connection, Change, Parameters], RowValues | None]


def is_met(connection: Connection, change: Change, parameters: Parameters) -> bool:
    """Return whether what a change requires is there, and lock it."""
    return change.requires is None or bool(select_known(connection, change.requires, parameters))


def follow_up(
    connection: Connection,
    change: Change,
    row: RowValues,
    parameters: Parameters,
    *,
    run_update: Update | None,
    apply: Apply,
) -> RowValues:
    """Run what follows from a guard that has matched this row; return the row, with the columns of its run.

    Args:
        connection: a transaction.
        change: whose guard has matched.
        row: what it matched.
        parameters: of the change.
        run_update: of the change, as this database takes it.
        apply: runs a change, for those that follow from this one.
    """
    known = {**parameters, **matched(row)}
    is_run_changed = run_update is not None and run_known(connection, run_update, known).rowcount == 1
    changed_run = _read(connection, change.as_changed_run_read, known)
    is_stopped = bool(changed_run) and changed_run["run_state"] not in ACTIVE
    for statement, inserted in change.as_inserts_when_stopped if is_stopped else change.as_inserts:
        if inserted.when is When.MATCHED or is_run_changed:
            run_known(connection, statement, known)
    labelled: dict[str, Any] = {}
    for one in change.also:
        changed = apply(connection, one, parameters)
        if one.label:
            values = changed or {}
            labelled |= {f"{one.label}_{column.name}": values.get(column.name) for column in one.returning}
    found = _read(connection, change.as_run_read if change.run_columns else None, known)
    return {**row, **found, **changed_run, **labelled}


def _read(connection: Connection, statement: Select[Any] | None, known: Parameters) -> RowValues:
    return {} if statement is None else run_known(connection, statement, known).one()._asdict()


def matched(row: RowValues) -> Parameters:
    """Return the parameters by which statements refer to the matched row: `matched_<column>`."""
    return {f"matched_{name}": value for name, value in row.items()}


def run_known(connection: Connection, statement: Select[Any] | Update | Insert, known: Parameters) -> CursorResult[Any]:
    """Run a statement with those of the known parameters that it uses."""
    return connection.execute(statement, {name: known[name] for name in _bind_names(statement)})


def select_known(connection: Connection, statement: Select[Any], known: Parameters) -> Sequence[RowValues]:
    """Run a SELECT with those of the known parameters that it uses; return its rows."""
    return [dict(row) for row in run_known(connection, statement, known).mappings()]


@cache
def _bind_names(statement: Select[Any] | Update | Insert) -> tuple[str, ...]:
    # SQLAlchemy refuses parameters that an INSERT or UPDATE does not use. They have the same names on every database.
    compiled = statement.compile(dialect=sqlite.dialect())
    return tuple(name for name, parameter in compiled.binds.items() if parameter.required)
