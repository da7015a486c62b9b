"""The schema's revision: make it, name it, and refuse to work on a wrong one."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Final

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, String, column, inspect, select, table

from backout.errors import ConfigurationError, SchemaMismatch
from backout.ledger.models import EXTERNAL_IDS_INDEX, metadata
from backout.ledger.session import Ledger

VERSION_TABLE: Final = "backout_schema"
"""Its own name, so that the ledger can live in an application's database beside the application's Alembic."""

_SELECT_REVISION: Final = select(column("version_num", String())).select_from(table(VERSION_TABLE))
_MIGRATIONS: Final = Path(__file__).parent / "migrations"


REVISION: Final = "0005"
"""The newest migration; a test compares. Workers ask at each start, and Alembic would read all migrations to tell."""


def expected_revision() -> str:
    """Return the revision that this release needs."""
    return REVISION


def current_revision(ledger: Ledger) -> str | None:
    """Return the revision of a ledger; `None` when it has no backout tables."""
    return ledger.read(_revision)


def upgrade(ledger: Ledger, *, at_least: str | None = None) -> tuple[str | None, str]:
    """Bring a ledger to the revision of this release, in one transaction where the database can.

    MySQL and MariaDB commit each CREATE and ALTER by itself: an upgrade that is cut off there stays half done, and
    whoever looks after the database has to mend that before the next one.

    Args:
        ledger: any.
        at_least: go to this revision only, and leave a ledger that is further on as it is, also one of a later
            release.

    Returns:
        The revisions before and after; equal when there was nothing to do.

    Raises:
        ConfigurationError: on MySQL, tables of ours are there without a revision. Nothing was made.
    """
    with ledger.transaction() as connection:
        before = _revision(connection)
        # Revisions count up; a test sees to it.
        if before is not None and at_least is not None and before >= at_least:
            return before, before
        if before is None and not ledger.dialect.has_transactional_ddl:
            _refuse_leftovers(connection, ledger.shown_url)
        command.upgrade(_config(connection), at_least or "head")
        after = _revision(connection)
    return before, after or ""


def _refuse_leftovers(connection: Connection, shown_url: str) -> None:
    found = sorted(set(metadata.tables) & set(inspect(connection).get_table_names()))
    if found:
        raise ConfigurationError(
            problem=f"in the ledger {shown_url} {', '.join(found)} already exists, and no revision says what it is",
            remedy="If an upgrade was cut off, drop these tables, which hold nothing yet, and run it again; otherwise "
            "give the ledger a database of its own.",
        )


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
        left_out = frozenset() if ledger.dialect.indexes_json_values else frozenset({EXTERNAL_IDS_INDEX})
        options = {
            "version_table": VERSION_TABLE,
            "include_object": partial(_is_ours, left_out),
            "compare_server_default": False,
        }
        context = MigrationContext.configure(connection, opts=options)
        with warnings.catch_warnings():
            # Said on SQLite of the index that is left out there.
            warnings.filterwarnings("ignore", message="autogenerate skipping .* expression-based index")
            return [str(item) for item in compare_metadata(context, metadata)]

    return ledger.read(compare)


def _is_ours(
    left_out: frozenset[str], _object: object, name: str | None, kind: str, _reflected: bool, _compared: object
) -> bool:
    return name in metadata.tables if kind == "table" else name not in left_out


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
