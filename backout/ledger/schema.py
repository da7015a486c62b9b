"""The schema's revision: make it, name it, and refuse to work on a wrong one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, String, column, inspect, select, table

from backout.errors import SchemaMismatch
from backout.ledger.models import metadata
from backout.ledger.session import Ledger

VERSION_TABLE: Final = "backout_schema"
"""Its own name, so that the ledger can live in an application's database beside the application's Alembic."""

_SELECT_REVISION: Final = select(column("version_num", String())).select_from(table(VERSION_TABLE))
_MIGRATIONS: Final = Path(__file__).parent / "migrations"


REVISION: Final = "0001"
"""The newest migration; a test compares. Workers ask at each start, and Alembic would read all migrations to tell."""


def expected_revision() -> str:
    """Return the revision that this release needs."""
    return REVISION


def current_revision(ledger: Ledger) -> str | None:
    """Return the revision of a ledger; `None` when it has no backout tables."""
    return ledger.read(_revision)


def upgrade(ledger: Ledger) -> tuple[str | None, str]:
    """Bring a ledger to the revision of this release, in one transaction where the database can.

    Returns:
        The revisions before and after; equal when there was nothing to do.
    """
    with ledger.transaction() as connection:
        before = _revision(connection)
        command.upgrade(_config(connection), "head")
        after = _revision(connection)
    return before, after or ""


def verify(ledger: Ledger) -> str:
    """Return the revision if it is the one that this release needs.

    Raises:
        SchemaMismatch: it is not, with the command that mends it.
    """
    found, expected = current_revision(ledger), expected_revision()
    if found != expected:
        raise SchemaMismatch(database=ledger.shown_url, expected=expected, found=found)
    return expected


def differences(ledger: Ledger) -> list[str]:
    """Return where the tables differ from what this release expects, in words; empty when they do not."""

    def compare(connection: Connection) -> list[str]:
        options = {"version_table": VERSION_TABLE, "include_object": _is_ours, "compare_server_default": False}
        context = MigrationContext.configure(connection, opts=options)
        return [str(item) for item in compare_metadata(context, metadata)]

    return ledger.read(compare)


def _is_ours(_object: object, name: str | None, kind: str, _reflected: bool, _compared: object) -> bool:
    return kind != "table" or name in metadata.tables


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    revision: str | None = connection.execute(_SELECT_REVISION).scalar_one_or_none()
    return revision


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config
