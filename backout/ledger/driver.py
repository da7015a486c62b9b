"""A statement compiled once and handed straight to the driver, for the two statements that every step pays for.

SQLAlchemy's own execution costs 0.1 to 0.25 ms of processor time for each statement, cached or not: parameters,
events, a result object with all its columns. That was a fifth of a step's processor time (SQLAlchemy 2.1, psycopg 3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import Connection, Select
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

Processor = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverStatement:
    """A statement in the driver's own words.

    Attributes:
        text: SQL with the driver's placeholders.
        constants: values that are the same each time, by placeholder, as the driver takes them.
        parameters: placeholders to be filled in each time; each with what turns a value into the driver's, if anything.
        columns: names of the result's columns, in order; each with what turns the driver's value into ours.
    """

    text: str
    constants: Mapping[str, Any]
    parameters: Mapping[str, Processor | None]
    columns: Mapping[str, Processor | None]

    @classmethod
    def compile(cls, statement: Select[Any], dialect: Dialect) -> Self:
        """Return a statement as this database's driver takes it.

        Raises:
            ValueError: it has an IN over parameters, whose text depends on their number; write constants instead.
        """
        compiled = statement.compile(dialect=dialect)
        if compiled.post_compile_params:
            names = ", ".join(sorted(parameter.key for parameter in compiled.post_compile_params))
            raise ValueError(f"parameters {names} change the text of the statement")
        given = compiled.construct_params(_check=False)
        process = {name: bind_processor(bind.type, dialect) for name, bind in compiled.binds.items()}
        required = {name for name, bind in compiled.binds.items() if bind.required}
        return cls(
            text=compiled.string,
            constants={name: processed(process[name], given[name]) for name in given if name not in required},
            parameters={name: process[name] for name in given if name in required},
            columns={str(column.key): result_processor(column.type, dialect) for column in statement.selected_columns},
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
        values = {name: processed(process, parameters[name]) for name, process in self.parameters.items()}
        values |= self.constants
        driver: Any = connection.connection.driver_connection
        try:
            row = driver.execute(self.text, values).fetchone()
        except BaseException as error:
            # Private, but the one place that knows what an error means for the connection, the pool and the type of
            # exception; SQLAlchemy is pinned to its minor release, and the ledger's tests walk this path.
            connection._handle_dbapi_exception(error, self.text, values, None, None)
        if row is None:
            return None
        return {
            name: processed(process, value) for (name, process), value in zip(self.columns.items(), row, strict=True)
        }


def bind_processor(kind: TypeEngine[Any], dialect: Dialect) -> Processor | None:
    """Return what turns a value of this type into the driver's; `None` when nothing has to."""
    return kind.dialect_impl(dialect).bind_processor(dialect)


def result_processor(kind: TypeEngine[Any], dialect: Dialect) -> Processor | None:
    """Return what turns a value of the driver's into one of this type; `None` when nothing has to."""
    return kind.dialect_impl(dialect).result_processor(dialect, None)


def processed(process: Processor | None, value: Any) -> Any:
    """Return what a processor makes of a value."""
    return value if process is None else process(value)
