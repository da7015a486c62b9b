"""A change of state, written once: a guarded UPDATE, and what follows only if it matched.

Pure SQL expressions, the same for every database; `dialects` runs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import cached_property
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    Insert,
    Select,
    Table,
    Update,
    bindparam,
    case,
    cast,
    exists,
    insert,
    literal,
    literal_column,
    null,
    select,
    union_all,
    update,
)
from sqlalchemy.sql import visitors
from sqlalchemy.sql.expression import CTE, Null

from backout.ledger.models import run, step
from backout.states import ACTIVE_RUN_STATES

ACTIVE: Final = tuple(sorted(state.value for state in ACTIVE_RUN_STATES))
"""The states of a run whose rows may be claimed."""


@dataclass(frozen=True, slots=True)
class Matched:
    """In the values of a follow-up: the value that the matched row has in this column."""

    column: Column[Any]


@dataclass(frozen=True, slots=True)
class ByRun:
    """In the values of a follow-up: a value that depends on the run as the change's `run_update` has left it.

    Attributes:
        active: where its rows may be claimed.
        stopped: where a person has stopped it.
    """

    active: Any
    stopped: Any


class When(Enum):
    """When a row is inserted; always only if the guard matched."""

    MATCHED = auto()
    RUN_CHANGED = auto()
    """The change's `run_update` has changed the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRow:
    """A row to insert.

    Attributes:
        values: column name to value: a constant, a bind parameter, `Matched`, or, with `When.RUN_CHANGED`, `ByRun`.
    """

    table: Table
    values: Mapping[str, Any]
    when: When = When.MATCHED

    @property
    def is_by_run(self) -> bool:
        """Whether a value depends on the run."""
        return any(isinstance(value, ByRun) for value in self.values.values())

    def where_run(self, *, is_active: bool) -> NewRow:
        """Return the row as it is where the run may go on, or where it may not."""
        chosen = {name: _chosen(value, is_active=is_active) for name, value in self.values.items()}
        return replace(self, values=chosen)


def _chosen(value: Any, *, is_active: bool) -> Any:
    if not isinstance(value, ByRun):
        return value
    return value.active if is_active else value.stopped


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """A guarded UPDATE and what follows from it, in one commit.

    Attributes:
        guard: matches one row or none; the states it may start from are in its WHERE clause.
        returning: what the caller wants to know of the matched row.
        rows: rows to insert if the guard matched, in this order.
        run_update: an UPDATE of the matched step's run, with a guard of its own.
        run_columns: columns of the matched step's run to return as well, under `run_<name>`.
        changed_columns: the same, but as `run_update`, which then has no guard of its own, has left them: after a wait
            for whoever had locked the run, while `run_columns` are as the statement found them.
        requires: must find a row, or nothing is written; it locks what it finds, before the guard is looked at.
        also: what else changes if the guard matched, in this order: guards of other rows, no two of them of the same,
            with their rows to insert and nothing else. Theirs may match nothing.
        label: of one that stands in `also`: its `returning` is returned as well, under `<label>_<name>`; NULL where
            its guard has matched nothing.
    """

    guard: Update
    returning: tuple[Column[Any], ...]
    rows: tuple[NewRow, ...] = ()
    run_update: Update | None = None
    run_columns: tuple[Column[Any], ...] = ()
    changed_columns: tuple[Column[Any], ...] = ()
    requires: Select[Any] | None = None
    also: tuple[Change, ...] = ()
    label: str = ""

    @cached_property
    def as_one_statement(self) -> Select[Any]:
        """The whole change as one SELECT over data-modifying common table expressions."""
        guard = self.as_guard
        if self.requires is not None:
            guard = guard.where(exists(select(literal(1)).select_from(self.requires.cte("required"))))
        matched = guard.cte("matched")
        found: FromClause = matched
        columns: list[ColumnElement[Any]] = [matched.c[column.name] for column in self.returning]
        if self.run_columns:
            found = found.join(run, run.c.id == matched.c.run_id)
            columns += _run_labels(self.run_columns)
        changed = None
        if self.run_update is not None:
            guarded = self.run_update.where(exists(select(literal(1)).select_from(matched)))
            changed = guarded.returning(run.c.id, run.c.state, *self._changed_besides_state).cte("run_changed")
            if self.changed_columns:
                found = found.join(changed, changed.c.id == matched.c.run_id)
                columns += [changed.c[column.name].label(f"run_{column.name}") for column in self.changed_columns]
        also = [
            change.as_guard.where(exists(select(literal(1)).select_from(matched))).cte(f"also_{number}")
            for number, change in enumerate(self.also)
        ]
        for change, cte in zip(self.also, also, strict=True):
            if change.label:
                found = found.outerjoin(cte, literal_column("true"))
                columns += [cte.c[column.name].label(f"{change.label}_{column.name}") for column in change.returning]
        statement = select(*columns).select_from(found)
        if changed is not None:
            statement = statement.add_cte(changed)
        # Rows are inserted in the order in which the other databases do it: first the change's own.
        sources = [(row, matched) for row in self.rows]
        sources += [(row, cte) for change, cte in zip(self.also, also, strict=True) for row in change.rows]
        for number, inserted in enumerate(_inserts(sources, changed)):
            statement = statement.add_cte(inserted.cte(f"insert_{number}"))
        return statement.add_cte(*also)

    @cached_property
    def as_guard(self) -> Update:
        """The guard alone, returning what the follow-ups and the caller need."""
        return self.guard.returning(*self._needed)

    @cached_property
    def as_lock(self) -> Select[Any]:
        """The row that the guard would match, locked: its key, and what the follow-ups and the caller need of it."""
        wanted = {column.name: column for column in (*self.guard.table.primary_key, *self._needed)}
        statement = select(*wanted.values()).with_for_update()
        return statement if self.guard.whereclause is None else statement.where(self.guard.whereclause)

    @cached_property
    def as_ordered_guard(self) -> Update:
        """The guard alone for databases that assign from left to right; it returns nothing."""
        return in_reading_order(self.guard)

    @cached_property
    def as_ordered_run_update(self) -> Update | None:
        """The update of the run for databases that assign from left to right."""
        return in_reading_order(self.run_update) if self.run_update is not None else None

    @cached_property
    def as_read_again(self) -> Select[Any] | None:
        """The read of the locked row by its key `matched_<column>`; `None` when the guard changes nothing needed."""
        if not {column.name for column in self._needed} & set(assignments(self.guard)):
            return None
        key = self.guard.table.primary_key
        is_matched = (column == bindparam(f"matched_{column.name}", type_=column.type) for column in key)
        return select(*key, *(column for column in self._needed if not column.primary_key)).where(*is_matched)

    @cached_property
    def as_inserts(self) -> tuple[tuple[Insert, NewRow], ...]:
        """The rows as statements of their own; values of the matched row are parameters `matched_<column>`."""
        return self._inserts_where_run(is_active=True)

    @cached_property
    def as_inserts_when_stopped(self) -> tuple[tuple[Insert, NewRow], ...]:
        """The same where a person has stopped the run."""
        return self._inserts_where_run(is_active=False)

    def _inserts_where_run(self, *, is_active: bool) -> tuple[tuple[Insert, NewRow], ...]:
        rows = [row.where_run(is_active=is_active) for row in self.rows]
        return tuple(
            (insert(row.table).values({name: _as_parameter(value) for name, value in row.values.items()}), row)
            for row in rows
        )

    @cached_property
    def as_run_read(self) -> Select[Any]:
        """The read of the matched row's run alone."""
        return select(*_run_labels(self.run_columns)).where(run.c.id == bindparam("matched_run_id"))

    @cached_property
    def as_changed_run_read(self) -> Select[Any] | None:
        """The read of the run as `run_update` has left it; `None` when nothing depends on it."""
        if not self.changed_columns and not any(row.is_by_run for row in self.rows):
            return None
        columns = _run_labels((run.c.state, *self._changed_besides_state))
        return select(*columns).where(run.c.id == bindparam("matched_run_id"))

    @cached_property
    def _changed_besides_state(self) -> tuple[Column[Any], ...]:
        return tuple(column for column in self.changed_columns if column is not run.c.state)

    @cached_property
    def _needed(self) -> tuple[Column[Any], ...]:
        wanted = {column.name: column for column in self.returning}
        if self.run_columns or self.run_update is not None:
            wanted["run_id"] = step.c.run_id
        for row in self.rows:
            sides = (row,) if not row.is_by_run else (row.where_run(is_active=True), row.where_run(is_active=False))
            used = [value for side in sides for value in side.values.values() if isinstance(value, Matched)]
            wanted |= {value.column.name: value.column for value in used}
        return tuple(wanted.values())


def _inserts(sources: list[tuple[NewRow, CTE]], changed: CTE | None) -> list[Insert]:
    """Return one INSERT … SELECT for each table: rows of one statement keep their order, statements do not.

    Args:
        sources: the rows, each with what has returned the row that it is about.
        changed: what has returned the run; `None`: nothing changes it.
    """
    grouped: dict[str, list[tuple[NewRow, CTE]]] = {}
    for row, matched in sources:
        grouped.setdefault(row.table.name, []).append((row, matched))
    inserts = []
    for rows in grouped.values():
        table = rows[0][0].table
        columns = list(dict.fromkeys(name for row, _ in rows for name in row.values))
        selects = [_select_row(row, columns, matched, changed) for row, matched in rows]
        source = selects[0] if len(selects) == 1 else union_all(*selects)
        inserts.append(insert(table).from_select(columns, source))
    return inserts


def assignments(statement: Update) -> dict[str, Any]:
    """Return what an UPDATE assigns, by name of the column."""
    # Private, but SQLAlchemy has no other way to ask, and is pinned to its minor release.
    values: Mapping[Any, Any] = statement._values or {}
    return {getattr(column, "key", column): value for column, value in values.items()}


def in_reading_order(statement: Update) -> Update:
    """Return the same UPDATE, in which no assignment reads a column that was assigned before it.

    MySQL assigns from left to right, and an expression sees what stands to its left (its manual on UPDATE); the SQL
    standard and all other databases let every expression see the row as it was.

    Raises:
        ValueError: two assignments read each other's column; no order is right.
    """
    left = assignments(statement)
    ordered = []
    while left:
        free = [
            name
            for name in left
            if not any(name in columns_read(value) for other, value in left.items() if other != name)
        ]
        if not free:
            raise ValueError(f"the assignments of {', '.join(left)} read each other")
        ordered += [(name, left.pop(name)) for name in free]
    new = update(statement.table).ordered_values(*ordered)
    return new if statement.whereclause is None else new.where(statement.whereclause)


def columns_read(value: Any) -> set[str]:
    """Return the names of the columns that an assigned value is computed from."""
    parts = visitors.iterate(value) if isinstance(value, ColumnElement) else ()
    return {part.name for part in parts if isinstance(part, Column)}


def _run_labels(columns: tuple[Column[Any], ...]) -> list[ColumnElement[Any]]:
    return [column.label(f"run_{column.name}") for column in columns]


def _select_row(row: NewRow, columns: list[str], matched: CTE, changed: CTE | None) -> Select[Any]:
    values = [(row.table.c[name], row.values.get(name)) for name in columns]
    statement = select(*(_in_select(column, value, matched, changed) for column, value in values))
    if row.when is When.MATCHED or changed is None:
        return statement.select_from(matched)
    if not any(isinstance(value, Matched) for _, value in values):
        # It has a row only if the guard has matched.
        return statement.select_from(changed)
    return statement.select_from(matched.join(changed, changed.c.id == matched.c.run_id))


def _as_parameter(value: Any) -> Any:
    return bindparam(f"matched_{value.column.name}", type_=value.column.type) if isinstance(value, Matched) else value


def _in_select(column: Column[Any], value: Any, matched: CTE, changed: CTE | None) -> ColumnElement[Any]:
    if isinstance(value, Matched):
        return matched.c[value.column.name]
    if isinstance(value, ByRun) and changed is not None:
        # One row whose values differ: two rows, of which one is not there, cost PostgreSQL a tenth of the statement.
        is_active = changed.c.state.in_([constant(state) for state in ACTIVE])
        active, stopped = (_in_select(column, side, matched, changed) for side in (value.active, value.stopped))
        return case((is_active, active), else_=stopped)
    if value is None or isinstance(value, Null):
        # The rows of a UNION need types, and PostgreSQL takes a bare NULL for text.
        return cast(null(), column.type)
    if isinstance(value, ColumnElement):
        return value
    return constant(value) if isinstance(value, int | str) else literal(value, type_=column.type)


def constant(value: int | str) -> ColumnElement[Any]:
    """Return a constant that stands in the statement itself: one parameter less to send each time.

    For numbers and words of our own, such as states and events.

    Raises:
        ValueError: it is other text, which would have to be quoted.
    """
    if isinstance(value, int):
        return literal_column(str(value))
    if not value.isidentifier():
        raise ValueError(f"{value!r} is no constant of ours")
    return literal_column(f"'{value}'")
