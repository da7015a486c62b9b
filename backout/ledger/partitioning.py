"""Partition the entries by month, and keep partitions ready for months to come; PostgreSQL only.

The table that there is becomes the first partition, up to the end of this month; not one row is copied. One transaction
does it, alone with the table: writers wait, find the new table under the old name, and go on. The primary key becomes
`(id, at)`, because PostgreSQL wants the time in it; ids stay unique, because one sequence gives them out. Source:
PostgreSQL manual, "Table Partitioning", and ALTER TABLE … ATTACH PARTITION.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from backout.errors import ConfigurationError
from backout.ledger.models import entry, run
from backout.ledger.partitions import (
    PREPARED_INDEX,
    TABLE,
    list_partitions,
    list_partitions_before,
    months_from,
    read_partitioning_of,
    uncovered,
)
from backout.ledger.session import Ledger

MONTHS_AHEAD: Final = 3
LOCK_SECONDS: Final = 5.0
"""How long it is waited to be alone with the table: all others wait behind us meanwhile."""

DEFAULT: Final = f"{TABLE}_default"

_LOCK_NOT_AVAILABLE: Final = "55P03"
_CHECK_VIOLATION: Final = "23514"
_INSUFFICIENT_PRIVILEGE: Final = "42501"


def partition_entries(ledger: Ledger, *, months_ahead: int = MONTHS_AHEAD, lock_seconds: float = LOCK_SECONDS) -> None:
    """Partition the entries by month. A second call does nothing.

    First the new primary key is built beside the old one, while everybody writes. Then one transaction changes the
    tables: it waits until it is alone, and reads all entries once to prove that they are as old as the first partition
    says; writers wait for that (about a second for a million entries that are in memory). When it fails, nothing has
    changed but for an index, which a second call uses.

    Args:
        ledger: on PostgreSQL.
        months_ahead: partitions to make beside that of this month.
        lock_seconds: see `LOCK_SECONDS`.

    Raises:
        ConfigurationError: something hangs on the table that would be lost, somebody holds it for too long, or an entry
            is of the future. Nothing was changed.
    """
    _prepare_index(ledger)
    with _alone(ledger, lock_seconds) as connection:
        if list_partitions(connection):
            return
        found = read_partitioning_of(connection)
        if found.obstacles:
            raise ConfigurationError(
                problem=f"{TABLE} cannot be partitioned: {'; '.join(found.obstacles)}",
                remedy="Remove it first, and make it again for the new table afterwards.",
            )
        next_month = months_from(found.now, 2)[1]
        name = f"{TABLE}_before_{next_month:%Y_%m}"
        _rename(connection, name)
        _make_parent(connection, name)
        _attach(connection, name, ends_at=next_month)
        connection.execute(text(f"CREATE TABLE {DEFAULT} PARTITION OF {TABLE} DEFAULT"))
        _make_months(connection, months_from(found.now, months_ahead + 1)[1:])


def add_partitions(
    ledger: Ledger, *, months_ahead: int = MONTHS_AHEAD, lock_seconds: float = LOCK_SECONDS
) -> list[str]:
    """Make the partitions that are missing up to some months from now; return their names. For a line of cron.

    What has come into the default partition meanwhile, because nobody made the others in time, is moved.

    Raises:
        ConfigurationError: somebody holds the table for too long. Nothing was changed.
    """
    if not any(ledger.read(lambda connection: find_missing(connection, months_ahead))):
        return []
    with _alone(ledger, lock_seconds) as connection:
        months, strayed = find_missing(connection, months_ahead)
        if not strayed:
            return _make_months(connection, months)
        return _empty_default(connection, sorted({*months, *strayed}), strayed)


def find_missing(connection: Connection, months_ahead: int) -> tuple[list[datetime], list[datetime]]:
    """Return the months to come that have no partition, and those of entries that are in the default therefore.

    Of the latter, not those before all partitions, which were dropped as old, and none that are further away: a clock
    was wrong.
    """
    found = read_partitioning_of(connection)
    months = months_from(found.now, months_ahead + 1)
    ends = [one.ends_at for one in found.partitions if one.ends_at is not None]
    if not ends:
        return [], []
    held = _months_in_default(connection) if any(one.is_default for one in found.partitions) else []
    strayed = uncovered(found.partitions, [month for month in held if min(ends) <= month <= months[-1]])
    return uncovered(found.partitions, months), strayed


def _months_in_default(connection: Connection) -> list[datetime]:
    asked = text(f"SELECT DISTINCT date_trunc('month', at AT TIME ZONE 'UTC') FROM {DEFAULT}")
    return sorted(month.replace(tzinfo=UTC) for month in connection.execute(asked).scalars())


def drop_partitions(
    ledger: Ledger, *, before: datetime, lock_seconds: float = LOCK_SECONDS
) -> Iterator[tuple[str, int]]:
    """Drop the partitions that are older than an instant and hold no entry of a run that there is.

    That is looked for while others write: a run that is gone never comes back, and no entry is written into the past.
    Only a transaction that has been open since then could commit one in between, and who is alone with the table counts
    again. A partition that somebody holds for too long, or that is another role's, is left to the next call.

    Returns:
        Each partition that was dropped, and how many entries went with it.
    """
    for partition in ledger.read(lambda connection: list_partitions_before(connection, before)):
        rows = ledger.read(lambda connection: _count_bereft(connection, partition.name))  # noqa: B023 - now
        if rows is not None and _drop(ledger, partition.name, rows=rows, lock_seconds=lock_seconds):
            yield partition.name, rows


def _count_bereft(connection: Connection, name: str) -> int | None:
    """Return how many entries a partition has; `None` when one of them is of a run that there is."""
    alive = text(f"SELECT 1 FROM {name} AS held JOIN {run.name} ON {run.name}.id = held.run_id LIMIT 1")
    return None if connection.execute(alive).first() is not None else _count(connection, name)


def _drop(ledger: Ledger, name: str, *, rows: int, lock_seconds: float) -> bool:
    try:
        with _alone(ledger, lock_seconds) as connection:
            if _count(connection, name) != rows:
                return False
            connection.execute(text(f"DROP TABLE {name}"))
    except ConfigurationError:
        return False
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _INSUFFICIENT_PRIVILEGE:
            raise
        return False
    return True


def _count(connection: Connection, name: str) -> int:
    return int(connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one())


@contextmanager
def _alone(ledger: Ledger, lock_seconds: float) -> Iterator[Connection]:
    """Open a transaction that is alone with the entries.

    Nothing else is locked before, so that nobody who holds the table waits for us.

    Raises:
        ConfigurationError: it could not be in time.
    """
    try:
        with ledger.transaction() as connection:
            connection.execute(text(f"SET LOCAL lock_timeout = {int(lock_seconds * 1000)}"))
            connection.execute(text(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE"))
            yield connection
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        raise ConfigurationError(
            problem=f"somebody has held {TABLE} for more than {lock_seconds:g} seconds",
            remedy="Nothing was changed. A backup or a long query is running, perhaps: try again later.",
        ) from error


def _prepare_index(ledger: Ledger) -> None:
    """Build the index of the new primary key while others write; one that was cut off is built again."""
    with ledger.change() as connection:
        if list_partitions(connection):
            return
        half_built = text("SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid")
        if connection.execute(half_built, {"name": PREPARED_INDEX}).first() is not None:
            connection.execute(text(f"DROP INDEX CONCURRENTLY {PREPARED_INDEX}"))
        connection.execute(text(f"CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS {PREPARED_INDEX} ON {TABLE} (id, at)"))


def _rename(connection: Connection, name: str) -> None:
    """Give the table that there is, and what belongs to it, the names of a partition."""
    connection.execute(text(f"ALTER TABLE {TABLE} RENAME TO {name}"))
    connection.execute(text(f"ALTER TABLE {name} DROP CONSTRAINT pk_{TABLE}"))
    connection.execute(text(f"ALTER TABLE {name} ADD CONSTRAINT pk_{name} PRIMARY KEY USING INDEX {PREPARED_INDEX}"))
    for index in entry.indexes:
        connection.execute(text(f"ALTER INDEX {index.name} RENAME TO {str(index.name).replace(TABLE, name)}"))


def _make_parent(connection: Connection, name: str) -> None:
    """Make the partitioned table under the old name, with the owner and the rights of the one that there was."""
    connection.execute(
        text(f"CREATE TABLE {TABLE} (LIKE {name} INCLUDING ALL EXCLUDING INDEXES) PARTITION BY RANGE (at)")
    )
    sequence = connection.execute(text(f"SELECT pg_get_serial_sequence('{name}', 'id')")).scalar_one()
    connection.execute(text(f"ALTER TABLE {TABLE} OWNER TO {_owner(connection, name)}"))
    connection.execute(text(f"ALTER SEQUENCE {sequence} OWNED BY {TABLE}.id"))
    connection.execute(text(f"ALTER TABLE {TABLE} ADD CONSTRAINT pk_{TABLE} PRIMARY KEY (id, at)"))
    for index in entry.indexes:
        columns = ", ".join(column.name for column in index.columns)
        connection.execute(text(f"CREATE INDEX {index.name} ON {TABLE} ({columns})"))
    for right in connection.execute(_RIGHTS, {"table": name}):
        grantable = " WITH GRANT OPTION" if right.is_grantable else ""
        connection.execute(text(f"GRANT {right.privilege_type} ON {TABLE} TO {right.grantee}{grantable}"))


def _attach(connection: Connection, name: str, *, ends_at: datetime) -> None:
    """Make the table with all entries that there are the first partition: PostgreSQL reads them all to be sure."""
    bounds = f"FROM (MINVALUE) TO ('{ends_at:%Y-%m-%d} 00:00Z')"
    try:
        connection.execute(text(f"ALTER TABLE {TABLE} ATTACH PARTITION {name} FOR VALUES {bounds}"))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _CHECK_VIOLATION:
            raise
        raise ConfigurationError(
            problem=f"{TABLE} has entries that were written after this month has ended: a clock was wrong",
            remedy="Nothing was changed. Try again when that month is over. They are found by "
            f"SELECT id, at FROM {TABLE} WHERE at >= '{ends_at:%Y-%m-%d} 00:00Z';",
        ) from error


_RIGHTS: Final = text(
    "SELECT CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS grantee, privilege_type, "
    "is_grantable FROM pg_class, aclexplode(relacl) WHERE oid = to_regclass(:table) AND grantee <> relowner"
)


def _owner(connection: Connection, name: str) -> str:
    asked = text("SELECT relowner::regrole::text FROM pg_class WHERE oid = to_regclass(:table)")
    owner: str = connection.execute(asked, {"table": name}).scalar_one()
    return owner


def _make_months(connection: Connection, months: Sequence[datetime]) -> list[str]:
    names = []
    for month in months:
        start, end = months_from(month, 2)
        names.append(f"{TABLE}_{start:%Y_%m}")
        bounds = f"FROM ('{start:%Y-%m-%d} 00:00Z') TO ('{end:%Y-%m-%d} 00:00Z')"
        connection.execute(text(f"CREATE TABLE {names[-1]} PARTITION OF {TABLE} FOR VALUES {bounds}"))
    return names


def _empty_default(connection: Connection, months: Sequence[datetime], strayed: Sequence[datetime]) -> list[str]:
    """Make partitions for months, and move what the default has of some of them. Needs to be alone with the table.

    PostgreSQL refuses a partition for rows that the default holds, so it is taken out for that time.
    """
    connection.execute(text(f"ALTER TABLE {TABLE} DETACH PARTITION {DEFAULT}"))
    names = _make_months(connection, months)
    columns = ", ".join(column.name for column in entry.columns)
    for month in strayed:
        start, end = months_from(month, 2)
        held = f"at >= '{start:%Y-%m-%d} 00:00Z' AND at < '{end:%Y-%m-%d} 00:00Z'"
        moved = f"WITH moved AS (DELETE FROM {DEFAULT} WHERE {held} RETURNING {columns})"
        connection.execute(text(f"{moved} INSERT INTO {TABLE} ({columns}) SELECT {columns} FROM moved"))
    connection.execute(text(f"ALTER TABLE {TABLE} ATTACH PARTITION {DEFAULT} DEFAULT"))
    return names
