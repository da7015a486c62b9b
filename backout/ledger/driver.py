"""A statement compiled once and handed straight to the driver, for the two statements that every step pays for.

SQLAlchemy's own execution costs 0.1 to 0.25 ms of processor time for each statement, cached or not: parameters,
events, a result object with all its columns. That was a fifth of a step's processor time (SQLAlchemy 2.1, psycopg 3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Self

from sqlalchemy import Connection, Select
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

Processor = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverStatement:
    """A statement in the server's own words.

    Attributes:
        text: SQL with numbered placeholders, which the driver passes on as it is: it would otherwise look through the
            text for its own placeholders each time, and remembers the result only of texts under 4 kB (psycopg 3.3).
        arguments: of each placeholder, in order, the name of its parameter and what turns the parameter's value into
            the driver's, if anything; for a constant no name, and what returns its value.
        columns: names of the result's columns, in order; each with what turns the driver's value into ours.
    """

    text: bytes
    arguments: tuple[tuple[str | None, Processor | None], ...]
    columns: tuple[tuple[str, Processor | None], ...]

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
        given = compiled.construct_params(_check=False)
        process = {name: bind_processor(bind.type, dialect) for name, bind in compiled.binds.items()}
        required = {name for name, bind in compiled.binds.items() if bind.required}
        return cls(
            text=compiled.string.encode(),
            arguments=tuple(
                (name, process[name])
                if name in required
                else (None, _constantly(processed(process[name], given[name])))
                for name in compiled.positiontup or ()
            ),
            columns=tuple(
                (str(column.key), result_processor(column.type, dialect)) for column in statement.selected_columns
            ),
        )

    def first_row(self, connection: Connection, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
        """Run it and return its only row; `None` when it has none.

        Events of SQLAlchemy's engine that tell of executions (`before_cursor_execute`, `echo`) do not see it.

        Args:
            connection: in autocommit, or in a transaction that was begun: none is begun here.
            parameters: more than needed is fine.

        Raises:
            sqlalchemy.exc.DBAPIError: as any execution; a dead connection leaves the pool.
        """
        values = [
            processed(process, parameters[name] if name is not None else None) for name, process in self.arguments
        ]
        driver: Any = connection.connection.driver_connection
        try:
            row = _cursor_class()(driver).execute(self.text, values).fetchone()
        except BaseException as error:
            # Private, but the one place that knows what an error means for the connection, the pool and the type of
            # exception; SQLAlchemy is pinned to its minor release, and the ledger's tests walk this path.
            connection._handle_dbapi_exception(error, self.text.decode(), tuple(values), None, None)
        if row is None:
            return None
        return {name: processed(process, value) for (name, process), value in zip(self.columns, row, strict=True)}

    def all_rows(self, connection: Connection, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Run it and return its rows, in their order. Arguments and errors as of `first_row`."""
        values = [
            processed(process, parameters[name] if name is not None else None) for name, process in self.arguments
        ]
        driver: Any = connection.connection.driver_connection
        try:
            rows = _cursor_class()(driver).execute(self.text, values).fetchall()
        except BaseException as error:
            # As in `first_row`.
            connection._handle_dbapi_exception(error, self.text.decode(), tuple(values), None, None)
        return [
            {
                name: value if process is None else process(value)
                for (name, process), value in zip(self.columns, row, strict=True)
            }
            for row in rows
        ]


@cache
def _cursor_class() -> Any:
    # Looked for at the first use: a ledger on SQLite needs no psycopg.
    return import_module("psycopg").RawCursor


def _constantly(value: Any) -> Processor:
    return lambda _: value


def bind_processor(kind: TypeEngine[Any], dialect: Dialect) -> Processor | None:
    """Return what turns a value of this type into the driver's; `None` when nothing has to."""
    return kind.dialect_impl(dialect).bind_processor(dialect)


def result_processor(kind: TypeEngine[Any], dialect: Dialect) -> Processor | None:
    """Return what turns a value of the driver's into one of this type; `None` when nothing has to."""
    return kind.dialect_impl(dialect).result_processor(dialect, None)


def processed(process: Processor | None, value: Any) -> Any:
    """Return what a processor makes of a value."""
    return value if process is None else process(value)
