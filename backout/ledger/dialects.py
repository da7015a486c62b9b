"""The differences between databases; nobody else asks which database it is.

PostgreSQL runs a `Change` as one data-modifying statement in autocommit (one round trip, one commit); the others run
the same parts one after the other inside a transaction.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, Final, cast

from sqlalchemy import (
    BindParameter,
    Column,
    Connection,
    Engine,
    Insert,
    Select,
    Table,
    Update,
    event,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from backout.ledger.change import Change
from backout.ledger.driver import DriverStatement
from backout.ledger.models import Instant

READS_ONLY: Final = "backout_reads_only"
"""Execution option of a connection that changes nothing."""

LOCK_SECONDS: Final = 30
"""How long SQLite waits for another process's lock."""

Parameters = Mapping[str, Any]
RowValues = Mapping[str, Any]


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
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now'{shift})"


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


class PostgreSQL:
    """One statement for a change."""

    commits_each_statement: Final = True
    name: Final = "postgresql"
    driver: Final = "psycopg"
    # Nearly all that a worker does is one statement, so transactions ask for what differs: psycopg switches without a
    # round trip, but SQLAlchemy takes 20 µs each time a connection is switched and given back.
    engine_options: Final[Mapping[str, Any]] = {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}
    transaction_options: Final[Mapping[str, Any]] = {"isolation_level": "READ COMMITTED"}

    def prepare(self, engine: Engine) -> None:
        """Change nothing: the defaults are right."""

    def apply(self, connection: Connection, change: Change, parameters: Parameters) -> RowValues | None:
        """Run the change; return the matched row, `None` when the guard matched nothing and nothing was written."""
        return _for_driver(change, connection.dialect).first_row(connection, parameters)

    def insert_new(self, table: Table, returning: Column[Any]) -> Insert:
        """Return an INSERT that does nothing, and returns no row, when a unique index has the row already."""
        return postgresql.insert(table).on_conflict_do_nothing().returning(returning)


@lru_cache(maxsize=200)
def _for_driver(change: Change, dialect: Dialect) -> DriverStatement:
    return DriverStatement.compile(change.as_one_statement, dialect)


class SQLite:
    """Transactions that take the write lock at once; the guard first, its follow-ups if it matched."""

    commits_each_statement: Final = False
    name: Final = "sqlite"
    driver: Final = "pysqlite"
    engine_options: Final[Mapping[str, Any]] = {}
    transaction_options: Final[Mapping[str, Any]] = {}

    def prepare(self, engine: Engine) -> None:
        """Take the write lock at BEGIN and wait for it.

        With SQLAlchemy's defaults a read in a transaction is not repeated by the write that depends on it: 1,263 of
        2,000 concurrent updates were lost without an error.
        """

        @event.listens_for(engine, "connect")
        def _connect(connection: Any, _record: Any) -> None:
            connection.isolation_level = None
            connection.execute(f"PRAGMA busy_timeout = {LOCK_SECONDS * 1000}")
            _switch_to_wal(connection)
            connection.execute("PRAGMA synchronous = FULL")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            # A reader takes no write lock: in WAL it sees the last commit and stops nobody.
            is_reading = connection.get_execution_options().get(READS_ONLY, False)
            connection.exec_driver_sql("BEGIN" if is_reading else "BEGIN IMMEDIATE")

    def apply(self, connection: Connection, change: Change, parameters: Parameters) -> RowValues | None:
        """Run the change; return the matched row, `None` when the guard matched nothing and nothing was written."""
        guard = {name: parameters[name] for name in _bind_names(change.as_guard)}
        row = connection.execute(change.as_guard, guard).mappings().one_or_none()
        if row is None:
            return None
        known = {**parameters, **{f"matched_{name}": value for name, value in row.items()}}
        is_run_changed = change.run_update is not None and _run_known(connection, change.run_update, known) == 1
        for statement, inserted in change.as_inserts:
            if is_run_changed or not inserted.of_run_update:
                _run_known(connection, statement, known)
        if not change.run_columns:
            return dict(row)
        of_run = connection.execute(change.as_run_read, {"matched_run_id": row["run_id"]}).mappings().one()
        return {**row, **of_run}

    def insert_new(self, table: Table, returning: Column[Any]) -> Insert:
        """Return an INSERT that does nothing, and returns no row, when a unique index has the row already."""
        return sqlite.insert(table).on_conflict_do_nothing().returning(returning)


def _switch_to_wal(connection: Any) -> None:
    """Switch a database file to write-ahead logging, once for ever.

    SQLite answers "locked" at once, without waiting, when several processes switch a new file at the same time.
    """
    ends_at = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.01)
        else:
            return


def _run_known(connection: Connection, statement: Update | Insert, known: Parameters) -> int:
    """Run a statement with those of the known parameters that it uses; return how many rows it matched."""
    return connection.execute(statement, {name: known[name] for name in _bind_names(statement)}).rowcount


@cache
def _bind_names(statement: Update | Insert) -> tuple[str, ...]:
    # SQLAlchemy refuses parameters that an INSERT or UPDATE does not use.
    compiled = statement.compile(dialect=sqlite.dialect())
    return tuple(name for name, parameter in compiled.binds.items() if parameter.required)


def apply(connection: Connection, change: Change, parameters: Parameters) -> RowValues | None:
    """Run a change on this connection's database; `None` when its guard matched nothing and nothing was written."""
    return dialect_of(connection.dialect.name).apply(connection, change, parameters)


def insert_new(connection: Connection, table: Table, returning: Column[Any]) -> Insert:
    """Return an INSERT that does nothing, and returns no row, when a unique index has the row already."""
    return dialect_of(connection.dialect.name).insert_new(table, returning)


def skip_locked(statement: Select[Any]) -> Select[Any]:
    """Lock the selected rows and pass over those that another process holds.

    SQLAlchemy leaves the clause out for SQLite, whose transactions hold the only write lock anyway.
    """
    return statement.with_for_update(skip_locked=True)


LedgerDialect = PostgreSQL | SQLite

_KNOWN: Final[Mapping[str, LedgerDialect]] = {"postgresql": PostgreSQL(), "sqlite": SQLite()}


def dialect_of(name: str) -> LedgerDialect:
    """Return what is special about a database, by SQLAlchemy's name for it.

    Raises:
        LookupError: backout does not support the database.
    """
    return _KNOWN[name]
