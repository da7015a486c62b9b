"""A statement compiled once and handed straight to the driver, for the two statements that every step pays for.

SQLAlchemy's own execution costs 0.1 to 0.25 ms of processor time for each statement, cached or not: parameters,
events, a result object with all its columns. That was a fifth of a step's processor time (SQLAlchemy 2.1, psycopg 3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Final, Self

from sqlalchemy import JSON, Connection, Select
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from backout.jsontext import dump_json

Processor = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DriverStatement:
    """A statement in the server's own words.

    Attributes:
        text: SQL with numbered placeholders, which the driver passes on as it is: it would otherwise look through the
            text for its own placeholders each time, and remembers the result only of texts under 4 kB (psycopg 3.3).
        values: of the placeholders, in order: the driver's values of constants, `None` for what is given each time.
        given: what is given each time: the index of its placeholder, the name of its parameter, and what turns the
            parameter's value into the driver's, if anything.
        columns: names of the result's columns, in order.
        processed_columns: those of them whose values the driver does not make ours, each with what does.
    """

    text: bytes
    values: tuple[Any, ...]
    given: tuple[tuple[int, str, Processor | None], ...]
    columns: tuple[str, ...]
    processed_columns: tuple[tuple[str, Processor], ...]

    @classmethod
    def compile(cls, statement: Select[Any], dialect: Dialect) -> Self:
        """Return a statement as this database's server takes it.

        Raises:
            ValueError: it has an IN over parameters, whose text depends on their number; write constants instead.
        """
        numbered = copy(dialect)
        numbered.paramstyle, numbered.positional = "numeric_dollar", True
        compiled = statement.compile(dialect=numbered)
        if compiled.post_compile_params:
            names = ", ".join(sorted(parameter.key for parameter in compiled.post_compile_params))
            raise ValueError(f"parameters {names} change the text of the statement")
        known = compiled.construct_params(_check=False)
        process = {name: _processor(bind.type, dialect) for name, bind in compiled.binds.items()}
        required = {name for name, bind in compiled.binds.items() if bind.required}
        places: Sequence[str] = compiled.positiontup or ()
        columns = {str(column.key): result_processor(column.type, dialect) for column in statement.selected_columns}
        return cls(
            text=compiled.string.encode(),
            values=tuple(None if name in required else processed(process[name], known[name]) for name in places),
            given=tuple((index, name, process[name]) for index, name in enumerate(places) if name in required),
            columns=tuple(columns),
            processed_columns=tuple((name, made) for name, made in columns.items() if made is not None),
        )

    def first_row(self, connection: Connection, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
        """Run it and return its only row; `None` when it has none. Arguments and errors as of `all_rows`."""
        row = self._run(connection, parameters, _fetch_one)
        return None if row is None else self._named(row)

    def all_rows(self, connection: Connection, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Run it and return its rows, in their order.

        Events of SQLAlchemy's engine that tell of executions (`before_cursor_execute`, `echo`) do not see it.

        Args:
            connection: in autocommit, or in a transaction that was begun: none is begun here.
            parameters: more than needed is fine.

        Raises:
            sqlalchemy.exc.DBAPIError: as any execution; a dead connection leaves the pool.
        """
        rows = self._run(connection, parameters, _fetch_all)
        if len(rows) > KEPT_ROWS:
            connection.info[_CURSORS].pop(self, None)
        return [self._named(row) for row in rows]

    def _run(self, connection: Connection, parameters: Mapping[str, Any], fetch: Callable[[Any], Any]) -> Any:
        values = list(self.values)
        for index, name, process in self.given:
            value = parameters[name]
            values[index] = value if process is None else process(value)
        try:
            return fetch(self._cursor(connection).execute(self.text, values))
        except BaseException as error:
            # Private, but the one place that knows what an error means for the connection, the pool and the type of
            # exception; SQLAlchemy is pinned to its minor release, and the ledger's tests walk this path.
            connection._handle_dbapi_exception(error, self.text.decode(), tuple(values), None, None)

    def _cursor(self, connection: Connection) -> Any:
        """Return the statement's own cursor on this connection: it remembers how the last values were adapted.

        A new one for each execution would find that out again, in 15 of 50 µs (psycopg 3.3).
        """
        # Lasts as long as the driver's connection.
        cursors: dict[DriverStatement, Any] = connection.info.setdefault(_CURSORS, {})
        cursor = cursors.get(self)
        if cursor is None:
            cursor = cursors[self] = _cursor_class()(connection.connection.driver_connection)
        return cursor

    def _named(self, row: tuple[Any, ...]) -> dict[str, Any]:
        named = dict(zip(self.columns, row, strict=True))
        for name, process in self.processed_columns:
            named[name] = process(named[name])
        return named


_CURSORS: Final = "backout_cursors"
KEPT_ROWS: Final = 100
"""A cursor keeps what it has fetched until it is used again: one with more rows is forgotten."""


def _fetch_one(cursor: Any) -> Any:
    return cursor.fetchone()


def _fetch_all(cursor: Any) -> Any:
    return cursor.fetchall()


def _processor(kind: TypeEngine[Any], dialect: Dialect) -> Processor | None:
    """Return what turns a value into the driver's as `bind_processor`, but JSON into its text and no wrapper first."""
    impl = kind.dialect_impl(dialect)
    if not isinstance(impl, JSON):
        return bind_processor(kind, dialect)
    if impl.none_as_null:
        return lambda value: None if value is None else dump_json(value)
    return dump_json


@cache
def _cursor_class() -> Any:
    # Looked for at the first use: a ledger on SQLite needs no psycopg.
    return import_module("psycopg").RawCursor


def bind_processor(kind: TypeEngine[Any], dialect: Dialect) -> Processor | None:
    """Return what turns a value of this type into the driver's; `None` when nothing has to."""
    return kind.dialect_impl(dialect).bind_processor(dialect)


def result_processor(kind: TypeEngine[Any], dialect: Dialect) -> Processor | None:
    """Return what turns a value of the driver's into one of this type; `None` when nothing has to."""
    return kind.dialect_impl(dialect).result_processor(dialect, None)


def processed(process: Processor | None, value: Any) -> Any:
    """Return what a processor makes of a value."""
    return value if process is None else process(value)
