"""What keeps Flask-Migrate away from the ledger's tables, where they are in the application's database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flask import Flask, appcontext_pushed

from backout.ledger.models import metadata
from backout.ledger.schema import VERSION_TABLE

_TABLES: Final = frozenset({*metadata.tables, VERSION_TABLE})


def without_ledger(name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
    """Return whether Alembic may compare something with the models: all but the ledger's tables.

    Without it `flask db migrate` would drop them, as tables that no model has. For an `include_name` of your own;
    where there is none, `Backout.init_app` sets it.

    Source: Alembic, `EnvironmentContext.configure.include_name`.
    """
    table = name if kind == "table" else parents.get("table_name")
    return table not in _TABLES


def keep_ledger(app: Flask) -> None:
    """Let Flask-Migrate leave the ledger's tables alone, unless the application has said what it compares."""
    # Each time, because Flask-Migrate may be set up later; its commands run in an app context.
    appcontext_pushed.connect(_keep_ledger, sender=app, weak=False)


def _keep_ledger(app: Flask, **_: Any) -> None:
    migrate = app.extensions.get("migrate")
    if migrate is not None:
        migrate.configure_args.setdefault("include_name", without_ledger)
