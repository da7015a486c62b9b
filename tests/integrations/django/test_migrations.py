"""`manage.py migrate` makes the ledger that `backout ledger upgrade` makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backout.ledger import schema
from backout.ledger.session import Ledger
from tests.integrations.django.outside import database, manage


@pytest.fixture(params=["postgres_url", "sqlite_url", "mariadb_url"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind."""
    found: str = request.getfixturevalue(request.param)
    return found


def differences(url: str) -> tuple[str | None, list[str]]:
    ledger = Ledger(url)
    try:
        return schema.current_revision(ledger), schema.differences(ledger)
    finally:
        ledger.dispose()


def make_ledger(url: str) -> None:
    ledger = Ledger(url)
    schema.upgrade(ledger)
    ledger.dispose()


def test_migrate_makes_the_same_schema_and_does_nothing_twice(url: str) -> None:
    """From an empty database, and again at the next deploy; Django finds nothing that it would change."""
    settings: dict[str, Any] = {"DATABASES": {"default": database(url)}}
    assert "Applying backout.0001_four_tables... OK" in manage("migrate", **settings)
    assert differences(url) == (schema.REVISION, [])
    assert "No migrations to apply" in manage("migrate", **settings)
    assert "No changes detected" in manage("makemigrations", "--check", "--dry-run", **settings)
    assert "is at revision" in manage("backout", "ledger", "verify", **settings)


def test_migrate_takes_over_a_ledger_that_is_there(postgres_url: str) -> None:
    """Made by `backout ledger upgrade`, or already by a later release."""
    make_ledger(postgres_url)
    settings: dict[str, Any] = {"DATABASES": {"default": database(postgres_url)}}
    manage("migrate", "backout", **settings)
    assert differences(postgres_url) == (schema.REVISION, [])


def test_migrate_leaves_other_databases_alone(postgres_url: str, tmp_path: Path) -> None:
    """Only the alias that holds the ledger gets its tables; where none does, migrate says what to do instead."""
    other = f"sqlite:///{tmp_path / 'other.sqlite3'}"
    databases = {"default": database(postgres_url), "other": database(other)}
    manage("migrate", "--database", "other", DATABASES=databases)
    assert differences(other)[0] is None
    elsewhere = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    settings: dict[str, Any] = {"DATABASES": databases, "BACKOUT": {"DATABASE_URL": elsewhere}}
    said = manage("migrate", **settings)
    assert "manage.py backout ledger upgrade" in said
    assert (differences(postgres_url)[0], differences(elsewhere)[0]) == (None, None)
    manage("backout", "ledger", "upgrade", **settings)
    assert differences(elsewhere) == (schema.REVISION, [])


def test_ledger_is_not_dropped_by_going_back(sqlite_url: str) -> None:
    """It is the record of what happened outside; the message says how Django can forget it, and that works."""
    settings: dict[str, Any] = {"DATABASES": {"default": database(sqlite_url)}}
    manage("migrate", **settings)
    assert "the ledger's tables are kept" in manage("migrate", "backout", "zero", expect=1, **settings)
    manage("migrate", "backout", "zero", "--fake", **settings)
    manage("migrate", **settings)
    assert differences(sqlite_url) == (schema.REVISION, [])
