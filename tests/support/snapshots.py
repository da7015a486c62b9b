"""Everything the ledger holds, before and after: what changed, to the column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from backout.ledger.models import metadata
from backout.ledger.session import Ledger

Row = Mapping[str, Any]
RowName = tuple[Any, ...]
Snapshot = Mapping[str, Mapping[RowName, Row]]
"""Table name to the table's rows by primary key."""


def take_snapshot(ledger: Ledger) -> Snapshot:
    """Read all four tables completely."""
    snapshot: dict[str, dict[RowName, Row]] = {}
    with ledger.transaction() as connection:
        for table in metadata.sorted_tables:
            keys = [column.name for column in table.primary_key]
            rows = [dict(row._mapping) for row in connection.execute(select(table))]
            snapshot[table.name] = {tuple(row[key] for key in keys): row for row in rows}
    return snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What one snapshot has that the other has not.

    Attributes:
        changed: table name and primary key to the names of the columns whose values differ.
        added: table name to the new rows, in the order of their primary keys.
        removed: table name and primary key of rows that are gone.
    """

    changed: Mapping[tuple[str, RowName], frozenset[str]]
    added: Mapping[str, list[Row]]
    removed: tuple[tuple[str, RowName], ...]


def compare(before: Snapshot, after: Snapshot) -> Difference:
    """Return the difference between two snapshots."""
    changed = {
        (table, name): frozenset(column for column in row if row[column] != after[table][name][column])
        for table, rows in before.items()
        for name, row in rows.items()
        if name in after[table] and row != after[table][name]
    }
    added = {
        table: [rows[name] for name in sorted(rows.keys() - before[table].keys())] for table, rows in after.items()
    }
    removed = tuple((table, name) for table, rows in before.items() for name in rows if name not in after[table])
    return Difference(changed=changed, added={table: rows for table, rows in added.items() if rows}, removed=removed)
