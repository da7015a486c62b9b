"""What keeps Flask-Migrate away from the ledger's tables, where they are in the application's database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from backout.ledger.models import metadata
from backout.ledger.schema import VERSION_TABLE

_TABLES: Final = frozenset({*metadata.tables, VERSION_TABLE})


def without_ledger(name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
    """Return whether Alembic may compare something with the models: all but the ledger's tables.

    `Migrate(app, db, include_name=without_ledger)`; without it `flask db migrate` would drop them, for want of models.

    Source: Alembic, `EnvironmentContext.configure.include_name`.
    """
    table = name if kind == "table" else parents.get("table_name")
    return table not in _TABLES
