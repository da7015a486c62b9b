"""Statements of the ledger on a cursor of somebody else's: a transaction of an ORM that is not SQLAlchemy.

The statements are the same Core expressions; they are compiled for the database and handed to the cursor with
positional parameters (`%s`), so that the ORM logs, counts and guards them like its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

from sqlalchemy import Connection, Executable
from sqlalchemy.dialects.mysql.base import MySQLDialect
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.selectable import ReturnsRows

from backout.jsontext import dump_json
from backout.ledger.driver import Processor, bind_processor, processed, result_processor

_DIALECTS: Final[Mapping[str, type[Dialect]]] = {
    "postgresql": PGDialect,
    "sqlite": SQLiteDialect,
    "mysql": MySQLDialect,
}


class CursorRows:
    """What a statement has returned: the few questions that the ledger asks of it."""

    def __init__(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._rows: Final = rows

    def all(self) -> list[tuple[Any, ...]]:
        """Return all rows."""
        return list(self._rows)

    def one_or_none(self) -> tuple[Any, ...] | None:
        """Return the only row; `None` when there is none."""
        if len(self._rows) > 1:
            raise ValueError(f"{len(self._rows)} rows where one was expected")
        return self._rows[0] if self._rows else None

    def scalar_one_or_none(self) -> Any:
        """Return the first value of the only row; `None` when there is none."""
        row = self.one_or_none()
        return row[0] if row is not None else None


class CursorConnection:
    """A connection as far as the recording of a run needs one. It never begins, commits or rolls back.

    Args:
        database: `postgresql`, `mysql` (also MariaDB) or `sqlite`.
        open_cursor: opens a cursor in the caller's transaction that takes `%s`.
        integrity_error: what the cursor raises when a unique index has the row already.

    Raises:
        LookupError: backout does not support the database.
    """

    def __init__(
        self,
        database: str,
        open_cursor: Callable[[], AbstractContextManager[Any]],
        *,
        integrity_error: type[Exception],
    ) -> None:
        # The plain dialects: those of a driver wrap values in classes that another driver does not take.
        self.dialect: Final = _DIALECTS[database](paramstyle="format", json_serializer=dump_json)  # type: ignore[call-arg]
        self._open_cursor: Final = open_cursor
        self._integrity_error: Final = integrity_error

    def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorRows:
        """Run a statement once, or once for each mapping of a sequence.

        Raises:
            sqlalchemy.exc.IntegrityError: a unique index has the row already.
            Exception: the framework's own, as its cursor raises it.
        """
        text = _Text.of(statement, self.dialect)
        several = parameters if isinstance(parameters, Sequence) else [parameters or {}]
        with self._open_cursor() as cursor:
            for values in several:
                self._run(cursor, text, values)
            rows = cursor.fetchall() if text.columns else []
        return CursorRows([text.read(row) for row in rows])

    def _run(self, cursor: Any, text: _Text, values: Mapping[str, Any]) -> None:
        positional = text.fill_in(values)
        try:
            cursor.execute(text.sql, positional)
        except self._integrity_error as error:
            raise IntegrityError(text.sql, positional, error.__cause__ or error) from error


RecordingConnection: TypeAlias = Connection | CursorConnection
"""What a run can be recorded on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """A statement as a cursor takes it.

    Attributes:
        sql: with `%s` for each parameter.
        parameters: in order, each with what turns a value into the driver's.
        constants: values of parameters that stand in the statement itself.
        columns: for each column of the result what turns the driver's value into ours.
    """

    sql: str
    parameters: tuple[tuple[str, Processor | None], ...]
    constants: Mapping[str, Any]
    columns: tuple[Processor | None, ...]

    @classmethod
    def of(cls, statement: Executable, dialect: Dialect) -> Self:
        """Compile a statement."""
        assert isinstance(statement, ClauseElement)
        compiled = statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        process = {name: bind_processor(bind.type, dialect) for name, bind in compiled.binds.items()}
        returned: Iterable[Any] = statement.exported_columns if isinstance(statement, ReturnsRows) else ()
        return cls(
            sql=compiled.string,
            parameters=tuple((name, process[name]) for name in compiled.positiontup or ()),
            constants=compiled.construct_params(_check=False),
            columns=tuple(result_processor(column.type, dialect) for column in returned),
        )

    def fill_in(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the parameters in order."""
        given = {**self.constants, **values}
        return [processed(process, given[name]) for name, process in self.parameters]

    def read(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """Return a row of the driver's as the ledger reads it."""
        return tuple(processed(process, value) for process, value in zip(self.columns, row, strict=True))
