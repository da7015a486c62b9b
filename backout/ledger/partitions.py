"""How the entries are partitioned by month, where somebody has asked for it: read it, and say what is missing.

PostgreSQL only. One table of all entries is the default; `partitioning` changes that. Each partition holds a month of
`at` in UTC; the first one everything before; and one more, the default, whatever no other one takes, so that an INSERT
never fails for want of a partition. Migrations see the same table under the same name, but PostgreSQL refuses CREATE
INDEX CONCURRENTLY on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, text

from backout.ledger.models import entry
from backout.ledger.session import Ledger

TABLE: Final = entry.name
KNOWN_INDEXES: Final = frozenset({f"pk_{TABLE}", *(str(index.name) for index in entry.indexes)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One partition of the entries.

    Attributes:
        starts_at: the first instant that it takes; `None`: it takes whatever is before `ends_at`.
        ends_at: the first instant that it does not take any more; `None`: it is the default.
        rows: as the database estimates it; 0 before its first ANALYZE.
        size_bytes: with its indexes.
    """

    name: str
    starts_at: datetime | None
    ends_at: datetime | None
    rows: int
    size_bytes: int

    @property
    def is_default(self) -> bool:
        """It takes what no other one does."""
        return self.ends_at is None

    def covers(self, instant: datetime) -> bool:
        """Return whether it is the one for entries of an instant; never said of the default."""
        if self.ends_at is None or instant >= self.ends_at:
            return False
        return self.starts_at is None or self.starts_at <= instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Partitioning:
    """How the entries are stored.

    Attributes:
        partitions: oldest first, the default last; empty: there is one table of all.
        rows: of all, as the database estimates it.
        obstacles: why the table cannot be partitioned, each a sentence; empty: it can, or is.
        now: the database's time.
    """

    partitions: tuple[Partition, ...]
    rows: int
    size_bytes: int
    obstacles: tuple[str, ...]
    now: datetime

    @property
    def is_partitioned(self) -> bool:
        """It is done already."""
        return bool(self.partitions)


def uncovered(partitions: Iterable[Partition], months: Iterable[datetime]) -> list[datetime]:
    """Return the months for which there is no partition."""
    known = tuple(partitions)
    return [month for month in months if not any(partition.covers(month) for partition in known)]


def months_from(instant: datetime, count: int) -> list[datetime]:
    """Return the first instants of months in UTC: of the month of an instant, and of those that follow it."""
    utc = instant.astimezone(UTC)
    first = utc.year * 12 + utc.month - 1
    return [datetime((first + ahead) // 12, (first + ahead) % 12 + 1, 1, tzinfo=UTC) for ahead in range(count)]


def read_partitioning(ledger: Ledger) -> Partitioning | None:
    """Return how the entries are stored; `None` where the database is not PostgreSQL."""
    if not ledger.dialect.has_partitions:
        return None
    return ledger.read(read_partitioning_of)


def read_partitioning_of(connection: Connection) -> Partitioning:
    """Return how the entries are stored in a PostgreSQL database."""
    found = list_partitions(connection)
    relation = connection.execute(_RELATION, {"table": TABLE}).one()
    return Partitioning(
        partitions=tuple(found),
        rows=sum(partition.rows for partition in found) if found else relation.rows,
        size_bytes=sum(partition.size_bytes for partition in found) if found else relation.size_bytes,
        obstacles=() if found else tuple(_find_obstacles(connection)),
        now=connection.execute(text("SELECT clock_timestamp()")).scalar_one(),
    )


_RELATION: Final = text(
    "SELECT greatest(reltuples, 0)::bigint AS rows, pg_total_relation_size(oid) AS size_bytes "
    "FROM pg_class WHERE oid = to_regclass(:table)"
)
_PARTITIONS: Final = text(
    "SELECT child.relname AS name, pg_get_expr(child.relpartbound, child.oid) AS bound, "
    "greatest(child.reltuples, 0)::bigint AS rows, pg_total_relation_size(child.oid) AS size_bytes "
    "FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid "
    "WHERE inhparent = to_regclass(:table) AND child.relispartition"
)
_BOUND: Final = re.compile(r"FOR VALUES FROM \((MINVALUE|'[^']+')\) TO \('([^']+)'\)")


def list_partitions(connection: Connection) -> list[Partition]:
    """Return the partitions, oldest first, the default last; none where there is one table of all."""
    found = [_partition(row) for row in connection.execute(_PARTITIONS, {"table": TABLE})]
    last = datetime.max.replace(tzinfo=UTC)
    return sorted(found, key=lambda partition: partition.ends_at or last)


def list_partitions_before(connection: Connection, instant: datetime) -> list[Partition]:
    """Return the partitions all of whose entries are older than an instant, oldest first."""
    known = list_partitions(connection)
    return [partition for partition in known if partition.ends_at is not None and partition.ends_at <= instant]


def _partition(row: object) -> Partition:
    bound = _BOUND.fullmatch(row.bound)  # type: ignore[attr-defined] # a row of a text has no types
    start, end = (bound[1], bound[2]) if bound is not None else (None, None)
    return Partition(
        name=row.name,  # type: ignore[attr-defined] # as above
        starts_at=None if start in (None, "MINVALUE") else _instant(str(start).strip("'")),
        ends_at=None if end is None else _instant(end),
        rows=row.rows,  # type: ignore[attr-defined] # as above
        size_bytes=row.size_bytes,  # type: ignore[attr-defined] # as above
    )


def _instant(written: str) -> datetime:
    return datetime.fromisoformat(written).astimezone(UTC)


_OBSTACLES: Final[Sequence[tuple[str, str]]] = (
    (
        "SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
        "WHERE pg_class.oid = to_regclass(:table) AND nspname <> current_schema()",
        "it is in the schema {}, which is not the first of the search path",
    ),
    (
        "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(:table) AND NOT tgisinternal",
        "the trigger {} would not fire for new entries",
    ),
    (
        "SELECT rulename FROM pg_rules WHERE tablename = :table AND schemaname = current_schema()",
        "the rule {} would not hold for new entries",
    ),
    (
        "SELECT polname FROM pg_policy WHERE polrelid = to_regclass(:table)",
        "the policy {} would not hold for new entries",
    ),
    (
        "SELECT DISTINCT view.relname FROM pg_depend "
        "JOIN pg_rewrite ON pg_rewrite.oid = pg_depend.objid AND pg_depend.classid = 'pg_rewrite'::regclass "
        "JOIN pg_class AS view ON view.oid = pg_rewrite.ev_class "
        "WHERE pg_depend.refobjid = to_regclass(:table) AND view.oid <> to_regclass(:table)",
        "the view {} would show old entries only",
    ),
    (
        "SELECT pubname FROM pg_publication_rel JOIN pg_publication ON pg_publication.oid = prpubid "
        "WHERE prrelid = to_regclass(:table)",
        "the publication {} would not publish new entries",
    ),
    (
        "SELECT conrelid::regclass::text FROM pg_constraint WHERE confrelid = to_regclass(:table)",
        "the table {} has a foreign key to it, which needs a unique id",
    ),
    (
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(:table) AND attacl IS NOT NULL",
        "the rights on the column {} would be lost",
    ),
)
"""What hangs on the table and would stay with the old entries alone: query to sentence."""


def _find_obstacles(connection: Connection) -> list[str]:
    found = [
        sentence.format(name)
        for query, sentence in _OBSTACLES
        for name in connection.execute(text(query), {"table": TABLE}).scalars()
    ]
    indexes = (
        "SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = to_regclass(:table)"
    )
    others = set(connection.execute(text(indexes), {"table": TABLE}).scalars()) - KNOWN_INDEXES - {PREPARED_INDEX}
    return [*found, *(f"new entries would not be in the index {name}" for name in sorted(others))]


PREPARED_INDEX: Final = f"pk_{TABLE}_partitioned"
"""Built beside the others before the table is changed."""
