"""The differences between databases; nobody else asks which database it is.

PostgreSQL runs a `Change` as one data-modifying statement in autocommit (one round trip, one commit); the others run
the same parts one after the other inside a transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast

from sqlalchemy import (
    BindParameter,
    Boolean,
    Column,
    Connection,
    Engine,
    Select,
    String,
    literal,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from backout.ledger.change import Change
from backout.ledger.cursors import RecordingConnection
from backout.ledger.driver import DriverStatement
from backout.ledger.durability import DurabilitySetting
from backout.ledger.given import DOCUMENT, GivenInsert, GivenRow, GivenRows, document_of
from backout.ledger.models import Instant
from backout.ledger.mysql import MySQL
from backout.ledger.mysql_errors import REPEATABLE, is_outage, number_of
from backout.ledger.sqlite import SQLite
from backout.ledger.statements import Parameters, RowValues

IS_OWN: Final = "backout_is_own"
"""Execution option of the ledger's own connections; others are a caller's, in a transaction of the caller's."""


class clock(FunctionElement[Any]):
    """The database's time, or that many seconds later: the only source of time of the ledger.

    All instants of one statement are equal.
    """

    type = Instant()
    inherit_cache = True
    name = "backout_clock"


def now() -> ColumnElement[Any]:
    """Return the database's time."""
    return cast("ColumnElement[Any]", clock())


def after(seconds: ColumnElement[Any] | BindParameter[Any]) -> ColumnElement[Any]:
    """Return the database's time in a number of seconds from now."""
    return cast("ColumnElement[Any]", clock(seconds))


@compiles(clock, "postgresql")
def _clock_postgresql(element: clock, compiler: SQLCompiler, **keywords: Any) -> str:
    seconds = compiler.process(element.clauses, **keywords)
    return f"(statement_timestamp() + make_interval(secs => {seconds}))" if seconds else "statement_timestamp()"


@compiles(clock, "sqlite")
def _clock_sqlite(element: clock, compiler: SQLCompiler, **keywords: Any) -> str:
    # SQLAlchemy's SQLite type reads and compares text with six decimals; SQLite's clock has three.
    seconds = compiler.process(element.clauses, **keywords)
    shift = f", ({seconds}) || ' seconds'" if seconds else ""
    # On the cursor of an ORM that writes parameters as %s, a percent sign is written twice.
    percent = "%%" if compiler.dialect.paramstyle == "format" else "%"
    pattern = "%Y-%m-%d %H:%M:%f000".replace("%", percent)
    return f"strftime('{pattern}', 'now'{shift})"


@compiles(clock, "mysql", "mariadb")
def _clock_mysql(element: clock, compiler: SQLCompiler, **keywords: Any) -> str:
    # Without (6) the clock has no fractions, and INTERVAL … SECOND takes a decimal number where ours are floats.
    seconds = compiler.process(element.clauses, **keywords)
    shift = f" + INTERVAL ROUND(({seconds}) * 1000000) MICROSECOND" if seconds else ""
    return f"(UTC_TIMESTAMP(6){shift})"


class merge(FunctionElement[Any]):
    """A JSON mapping with the keys of another one added: the second argument's values win."""

    inherit_cache = True
    name = "backout_merge"


def merged(column: Column[Any], addition: BindParameter[Any]) -> ColumnElement[Any]:
    """Return a JSON mapping with the keys of another one added."""
    return cast("ColumnElement[Any]", merge(column, addition))


@compiles(merge, "postgresql")
def _merge_postgresql(element: merge, compiler: SQLCompiler, **keywords: Any) -> str:
    old, added = (compiler.process(clause, **keywords) for clause in element.clauses)
    return f"({old} || {added})"


@compiles(merge, "sqlite")
def _merge_sqlite(element: merge, compiler: SQLCompiler, **keywords: Any) -> str:
    old, added = (compiler.process(clause, **keywords) for clause in element.clauses)
    return f"json_patch({old}, {added})"


@compiles(merge, "mysql", "mariadb")
def _merge_mysql(element: merge, compiler: SQLCompiler, **keywords: Any) -> str:
    old, added = (compiler.process(clause, **keywords) for clause in element.clauses)
    return f"JSON_MERGE_PATCH({old}, {added})"


class has_value(FunctionElement[bool]):
    """Whether a JSON mapping has this text as one of its values, whatever the key."""

    type = Boolean()
    inherit_cache = True
    name = "backout_has_value"


def holds_value(column: Column[Any], text: str) -> ColumnElement[bool]:
    """Return whether a JSON mapping has a text as one of its values: on an index where a dialect can."""
    return cast("ColumnElement[bool]", has_value(column, literal(text, String())))


@compiles(has_value, "postgresql")
def _has_value_postgresql(element: has_value, compiler: SQLCompiler, **keywords: Any) -> str:
    # As the index says it: another way of saying the same would read all rows.
    column, wanted = (compiler.process(clause, **keywords) for clause in element.clauses)
    return (
        f"({column} <> '{{}}'::jsonb AND "
        f"jsonb_path_query_array({column}, '$.*') @> jsonb_build_array(CAST({wanted} AS TEXT)))"
    )


@compiles(has_value, "sqlite")
def _has_value_sqlite(element: has_value, compiler: SQLCompiler, **keywords: Any) -> str:
    column, wanted = (compiler.process(clause, **keywords) for clause in element.clauses)
    return f"EXISTS (SELECT 1 FROM json_each({column}) AS held WHERE held.value = {wanted})"


@compiles(has_value, "mysql", "mariadb")
def _has_value_mysql(element: has_value, compiler: SQLCompiler, **keywords: Any) -> str:
    column, wanted = (compiler.process(clause, **keywords) for clause in element.clauses)
    return f"COALESCE(JSON_CONTAINS(JSON_EXTRACT({column}, '$.*'), JSON_QUOTE({wanted})), 0) = 1"


class PostgreSQL:
    """One statement for a change."""

    commits_each_statement: Final = True
    keeps_connections: Final = True
    has_transactional_ddl: Final = True
    indexes_json_values: Final = True
    has_partitions: Final = True
    name: Final = "postgresql"
    driver: Final = "psycopg"
    # Nearly all that a worker does is one statement, so transactions ask for what differs: psycopg switches without a
    # round trip, but SQLAlchemy takes 20 µs each time a connection is switched and given back.
    engine_options: Final[Mapping[str, Any]] = {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}
    transaction_options: Final[Mapping[str, Any]] = {"isolation_level": "READ COMMITTED"}

    def prepare(self, engine: Engine) -> None:
        """Change nothing: the defaults are right."""

    def durability(self, connection: Connection) -> tuple[DurabilitySetting, ...]:
        """Return the settings that decide whether a commit survives a crash; they hold for this session's user.

        Source: PostgreSQL manual, "Write Ahead Log", settings.
        """
        return tuple(
            DurabilitySetting(
                name=name,
                value=value,
                is_safe=value != "off",
                remedy=f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf();",
            )
            for name in ("fsync", "full_page_writes", "synchronous_commit")
            for value in [str(connection.exec_driver_sql(f"SHOW {name}").scalar_one())]
        )

    def most_connections(self, connection: Connection) -> int | None:
        """Return how many connections the server takes in all."""
        return int(connection.exec_driver_sql("SHOW max_connections").scalar_one())

    def place_of(self, connection: Connection) -> tuple[object, ...] | None:
        """Return which database this is, whatever its URL; `None` when it has no table of runs."""
        row = connection.exec_driver_sql(
            "SELECT current_database(), to_regclass('backout_run')::oid::bigint, "
            "has_function_privilege('pg_control_system()', 'execute')"
        ).one()
        # Copies of one server have the same tables under the same numbers; the server's own number is not for everyone.
        asking = "SELECT system_identifier FROM pg_control_system()"
        server = connection.exec_driver_sql(asking).scalar_one() if row[2] else None
        return (server, row[0], row[1]) if row[1] is not None else None

    def apply(self, connection: Connection, change: Change, parameters: Parameters) -> RowValues | None:
        """Run the change; return the matched row, `None` when the guard matched nothing and nothing was written."""
        return _for_driver(change, connection.dialect).first_row(connection, parameters)

    def all_rows(self, connection: Connection, statement: Select[Any], parameters: Parameters) -> Sequence[RowValues]:
        """Run a SELECT; return its rows."""
        return _for_driver(statement, connection.dialect).all_rows(connection, parameters)

    def insert_given(
        self, connection: RecordingConnection, given: GivenInsert, rows: Sequence[GivenRow], parameters: Parameters
    ) -> set[str]:
        """Insert what is new of the given rows, with what belongs to it, in one statement; return the ids."""
        known = {**parameters, DOCUMENT: document_of(rows)}
        if isinstance(connection, Connection) and connection.get_execution_options().get(IS_OWN):
            return {row["id"] for row in _for_driver(given, connection.dialect).all_rows(connection, known)}
        # SQLAlchemy, or a framework, must know of a statement that belongs to a transaction of theirs.
        return {str(row[0]) for row in connection.execute(given.as_one_statement, known).all()}

    def insert_rows(
        self, connection: Connection, given: GivenRows, rows: Sequence[GivenRow], parameters: Parameters
    ) -> None:
        """Insert what is inserted for each given row, in one statement."""
        _for_driver(given, connection.dialect).first_row(connection, {**parameters, DOCUMENT: document_of(rows)})

    def as_committed(self, statement: Select[Any]) -> Select[Any]:
        """Change nothing: an INSERT that did nothing has failed already where a snapshot would hide the row."""
        return statement


@lru_cache(maxsize=200)
def _for_driver(source: Change | GivenRows | Select[Any], dialect: Dialect) -> DriverStatement:
    return DriverStatement.compile(source if isinstance(source, Select) else source.as_one_statement, dialect)


def apply(connection: Connection, change: Change, parameters: Parameters) -> RowValues | None:
    """Run a change on this connection's database; `None` when its guard matched nothing and nothing was written."""
    return dialect_of(connection.dialect.name).apply(connection, change, parameters)


def all_rows(connection: Connection, statement: Select[Any], parameters: Parameters) -> Sequence[RowValues]:
    """Run a SELECT that is a constant of its module, and kept compiled; return its rows. No parameter is for an IN."""
    return dialect_of(connection.dialect.name).all_rows(connection, statement, parameters)


def insert_given(
    connection: RecordingConnection, given: GivenInsert, rows: Sequence[GivenRow], parameters: Parameters
) -> set[str]:
    """Insert rows if no unique index has them already, with what belongs to them; return the ids of those that are new.

    Waits for another transaction that is just inserting the same row. A caller's own transaction goes on either way.
    """
    return dialect_of(connection.dialect.name).insert_given(connection, given, rows, parameters)


def insert_rows(connection: Connection, given: GivenRows, rows: Sequence[GivenRow], parameters: Parameters) -> None:
    """Insert what is inserted for each given row. Needs a transaction of the ledger's own."""
    dialect_of(connection.dialect.name).insert_rows(connection, given, rows, parameters)


def as_committed(connection: RecordingConnection, statement: Select[Any]) -> Select[Any]:
    """Return a SELECT that finds the row for which another one was refused, also in a caller's own transaction."""
    return dialect_of(connection.dialect.name).as_committed(statement)


def skip_locked(statement: Select[Any]) -> Select[Any]:
    """Lock the selected rows and pass over those that another process holds.

    SQLAlchemy leaves the clause out for SQLite, whose transactions hold the only write lock anyway.
    """
    return statement.with_for_update(skip_locked=True)


def may_succeed_at_once(error: BaseException | None) -> bool:
    """Return whether a driver's error is a deadlock or its like: the transaction is over, and may be run again."""
    return getattr(error, "sqlstate", None) in ("40P01", "40001") or number_of(error) in REPEATABLE


def may_pass(error: BaseException | None) -> bool:
    """Return whether a driver's error, operational by its class, is one for which waiting may help."""
    number = number_of(error)
    return number is None or is_outage(number)


LedgerDialect = PostgreSQL | SQLite | MySQL

_KNOWN: Final[Mapping[str, LedgerDialect]] = {
    "postgresql": PostgreSQL(),
    "sqlite": SQLite(),
    "mysql": MySQL("mysql"),
    "mariadb": MySQL("mariadb"),
}


def dialect_of(name: str) -> LedgerDialect:
    """Return what is special about a database, by SQLAlchemy's name for it.

    Raises:
        LookupError: backout does not support the database.
    """
    return _KNOWN[name]
