"""What is special about MySQL and MariaDB, through PyMySQL; chosen by `dialects`.

MariaDB from 10.6 on (SKIP LOCKED), MySQL from 8.0.17 on (its exact collation; CHECKs since 8.0.16). The tests run on
MariaDB 10.11; where MySQL differs (collation, number of a broken CHECK, DROP CHECK), its manual (8.0) was followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Engine, ExceptionContext, Select, event
from sqlalchemy.exc import IntegrityError

from backout.ledger.change import Change
from backout.ledger.durability import DurabilitySetting
from backout.ledger.given import insert_and_look, insert_each_row
from backout.ledger.mysql_errors import BROKEN_CHECK, number_of
from backout.ledger.statements import Parameters, RowValues, follow_up, is_met, matched, run_known, select_known

LOCK_SECONDS: Final = 30
"""How long a statement waits for another transaction's row."""

RECYCLE_SECONDS: Final = 240
"""After this a connection is replaced: some hosts end idle ones after five minutes, MySQL itself after eight hours."""

_DURABILITY: Final[Mapping[str, tuple[str, ...]]] = {
    "innodb_flush_log_at_trx_commit": ("1", "3"),
    "innodb_doublewrite": ("1", "ON", "DETECT_AND_RECOVER"),
    "sync_binlog": ("1", "no binary log"),
}
"""Setting to its safe values, of which the first is the one to set."""

_ASKED: Final = {"sync_binlog": "IF(@@log_bin, @@sync_binlog, 'no binary log')"}


class MySQL:
    """Transactions that lock the guard's row, change it, and read it back: MySQL has no UPDATE … RETURNING."""

    commits_each_statement: Final = False
    # The pool replaces those that are old.
    keeps_connections: Final = False
    has_transactional_ddl: Final = False
    indexes_json_values: Final = False
    has_partitions: Final = False
    driver: Final = "pymysql"
    # The default, REPEATABLE READ, locks the gaps between rows, in which enqueues and claims of others would wait. The
    # server must not log for replication in STATEMENT format, with which InnoDB refuses to write at this level (1665).
    engine_options: Final[Mapping[str, Any]] = {
        "isolation_level": "READ COMMITTED",
        "pool_recycle": RECYCLE_SECONDS,
        # Whatever the URL says: in a narrower character set, letters would be stored as question marks.
        "connect_args": {"charset": "utf8mb4"},
    }
    transaction_options: Final[Mapping[str, Any]] = {}
    insert_given = staticmethod(insert_and_look)
    insert_rows = staticmethod(insert_each_row)
    all_rows = staticmethod(select_known)

    def __init__(self, name: str) -> None:
        self.name: Final = name

    def prepare(self, engine: Engine) -> None:
        """Let the server refuse what does not fit, wait for locks as long as SQLite does, and name broken CHECKs."""

        @event.listens_for(engine, "connect")
        def _connect(connection: Any, _record: Any) -> None:
            with connection.cursor() as cursor:
                # A lax server cuts text off and says nothing. No timeout for reading: it would end a long migration.
                cursor.execute(
                    "SET SESSION sql_mode = CONCAT_WS(',', NULLIF(@@sql_mode, ''), 'STRICT_TRANS_TABLES'), "
                    f"innodb_lock_wait_timeout = {LOCK_SECONDS}"
                )

        @event.listens_for(engine, "handle_error", retval=True)
        def _handle_error(context: ExceptionContext) -> BaseException | None:
            # PyMySQL calls it an operational error, among those for which waiting may help.
            if number_of(context.original_exception) not in BROKEN_CHECK:
                return None
            return IntegrityError(context.statement, context.parameters, context.original_exception)

    def durability(self, connection: Connection) -> tuple[DurabilitySetting, ...]:
        """Return the settings that decide whether a commit survives a crash of the machine.

        Where there is a binary log, recovery takes back what it does not hold (manual, sync_binlog).
        """
        return tuple(
            DurabilitySetting(
                name=name,
                value=value,
                is_safe=value in safe,
                remedy=f"{name} = {safe[0]}  # in the server's configuration file under [mysqld], then restart it",
            )
            for name, safe in _DURABILITY.items()
            for value in [str(connection.exec_driver_sql(f"SELECT {_ASKED.get(name, f'@@{name}')}").scalar_one())]
        )

    def most_connections(self, connection: Connection) -> int | None:
        """Return how many connections the server takes in all."""
        return int(connection.exec_driver_sql("SELECT @@max_connections").scalar_one())

    def place_of(self, connection: Connection) -> tuple[object, ...] | None:
        """Return which database this is; `None` when it has no table of runs.

        By its name alone: the servers of a cluster have one database and different names and numbers.
        """
        row = connection.exec_driver_sql(
            "SELECT DATABASE(), (SELECT COUNT(*) FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND table_name = 'backout_run')"
        ).one()
        return (str(row[0]),) if row[1] else None

    def apply(self, connection: Connection, change: Change, parameters: Parameters) -> RowValues | None:
        """Run the change; return the matched row, `None` when the guard matched nothing and nothing was written."""
        if not is_met(connection, change, parameters):
            return None
        row = run_known(connection, change.as_lock, parameters).mappings().one_or_none()
        # The guard is asked again: it may look at the time, and clocks are set back.
        if row is None or run_known(connection, change.as_ordered_guard, parameters).rowcount != 1:
            return None
        if change.as_read_again is not None:
            row = run_known(connection, change.as_read_again, matched(dict(row))).mappings().one()
        run_update = change.as_ordered_run_update
        return follow_up(connection, change, dict(row), parameters, run_update=run_update, apply=self.apply)

    def as_committed(self, statement: Select[Any]) -> Select[Any]:
        """Read what is committed now, and not the snapshot of a caller's own transaction in REPEATABLE READ."""
        return statement.with_for_update(read=True)
