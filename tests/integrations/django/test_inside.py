"""The tests that need Django in their own process, each on the databases that Django's users have."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from backout.testing.servers.mariadb import MariaDB
from backout.testing.servers.postgres import Postgres
from tests.integrations.django.outside import database, python

INSIDE = "tests/integrations/django/inside"
ALIASES = ("default", "other", "third")


def run_inside(*arguments: str, **settings: Any) -> None:
    written = python("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", INSIDE, *arguments, **settings)
    assert " passed" in written


@pytest.fixture
def databases(postgres: Postgres) -> dict[str, Any]:
    unique = uuid.uuid4().hex[:12]
    return {alias: database(postgres.database_url(f"django_{unique}_{alias}")) for alias in ALIASES}


def test_everything_on_postgresql(databases: dict[str, Any]) -> None:
    """All that concerns the ORM and the admin holds on PostgreSQL."""
    run_inside(DATABASES=databases)


def test_runs_and_models_on_mariadb(mariadb: MariaDB) -> None:
    """What the ORM sees holds on MariaDB, through PyMySQL."""
    unique = uuid.uuid4().hex[:12]
    urls = {alias: mariadb.database_url(f"django_{unique}_{alias}") for alias in ALIASES}
    run_inside("-k", "enqueue or models", DATABASES={alias: database(url) for alias, url in urls.items()})


def test_everything_on_files_of_sqlite(tmp_path: Path) -> None:
    """The same holds on files of SQLite."""
    settings = {alias: database(f"sqlite:///{tmp_path / alias}.sqlite3") for alias in ALIASES}
    for alias, one in settings.items():
        one["TEST"] = {"NAME": str(tmp_path / f"test_{alias}.sqlite3")}
    run_inside(DATABASES=settings)


def test_test_cases_on_sqlite_in_memory() -> None:
    """Django's TestCase works on the database in memory that its test runner makes of a file's settings."""
    settings = {alias: database(f"sqlite:///{alias}.sqlite3") for alias in ALIASES}
    run_inside("-k", "test_case or at_once or models", DATABASES=settings)
