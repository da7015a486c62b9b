"""What is special about SQLite; chosen by `dialects`."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, Select, event

from backout.ledger.change import Change
from backout.ledger.durability import DurabilitySetting
from backout.ledger.given import insert_each_table, insert_returning
from backout.ledger.statements import Parameters, RowValues, follow_up, is_met, run_known, select_known

READS_ONLY: Final = "backout_reads_only"
"""Execution option of a connection that changes nothing."""

LOCK_SECONDS: Final = 30
"""How long SQLite waits for another process's lock."""

SWITCH_SECONDS: Final = 2
"""How long it is tried to switch a file of SQLite to write-ahead logging while others use it."""


class SQLite:
    """Transactions that take the write lock at once; the guard first, its follow-ups if it matched."""

    commits_each_statement: Final = False
    keeps_connections: Final = False
    has_transactional_ddl: Final = True
    indexes_json_values: Final = False
    has_partitions: Final = False
    name: Final = "sqlite"
    driver: Final = "pysqlite"
    engine_options: Final[Mapping[str, Any]] = {}
    transaction_options: Final[Mapping[str, Any]] = {}
    insert_given = staticmethod(insert_returning)
    insert_rows = staticmethod(insert_each_table)
    all_rows = staticmethod(select_known)

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
            # Heeded only where connections share one database in memory, as in a test case of Django's: its transaction
            # is never committed, and whoever wants to look at its runs would wait for that.
            connection.execute("PRAGMA read_uncommitted = 1")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            # A reader takes no write lock: in WAL it sees the last commit and stops nobody.
            is_reading = connection.get_execution_options().get(READS_ONLY, False)
            connection.exec_driver_sql("BEGIN" if is_reading else "BEGIN IMMEDIATE")

    def durability(self, connection: Connection) -> tuple[DurabilitySetting, ...]:
        """Return the settings that decide whether a commit survives a crash; 2 is FULL, 3 is EXTRA.

        Source: SQLite manual, PRAGMA synchronous and journal_mode.
        """
        level = int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())
        journal = str(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())
        return (
            DurabilitySetting(
                name="synchronous", value=str(level), is_safe=level >= 2, remedy="PRAGMA synchronous = FULL;"
            ),
            DurabilitySetting(
                name="journal_mode",
                value=journal,
                is_safe=journal not in ("off", "memory"),
                remedy="PRAGMA journal_mode = WAL;",
            ),
        )

    def most_connections(self, connection: Connection) -> int | None:
        """Return `None`: a file has no limit."""
        return None

    def place_of(self, connection: Connection) -> tuple[object, ...] | None:
        """Return which file this is; `None` when it has no table of runs."""
        found = connection.exec_driver_sql("SELECT 1 FROM main.sqlite_master WHERE name = 'backout_run'").first()
        listed = connection.exec_driver_sql("PRAGMA database_list").all()
        (file,) = (row[2] for row in listed if row[1] == "main")
        return (str(Path(file).resolve()) if file else "in memory",) if found is not None else None

    def apply(self, connection: Connection, change: Change, parameters: Parameters) -> RowValues | None:
        """Run the change; return the matched row, `None` when the guard matched nothing and nothing was written."""
        if not is_met(connection, change, parameters):
            return None
        row = run_known(connection, change.as_guard, parameters).mappings().one_or_none()
        if row is None:
            return None
        return follow_up(connection, change, dict(row), parameters, run_update=change.run_update, apply=self.apply)

    def as_committed(self, statement: Select[Any]) -> Select[Any]:
        """Change nothing: who has tried to write sees the last commit."""
        return statement


def _switch_to_wal(connection: Any) -> None:
    """Switch a database file to write-ahead logging, once for ever.

    SQLite answers "locked" at once, without waiting, when several processes switch a new file at the same time.
    """
    ends_at = time.monotonic() + SWITCH_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            # An application writes into a file that was never upgraded, maybe in the transaction that waits for us.
            # Reading needs no switch, and whoever upgrades it will come later.
            if time.monotonic() > ends_at:
                return
            time.sleep(0.01)
        else:
            return
