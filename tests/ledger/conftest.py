"""Ledgers for the tests of the ledger: each test runs on every supported database."""

import uuid
from collections.abc import Iterator

import pytest

from backout.ledger import schema
from backout.ledger.session import Ledger
from backout.testing.servers.mariadb import MariaDB
from backout.testing.servers.postgres import Postgres
from tests.support.ledgers import DATABASES, empty_tables

URL_FIXTURES = {"postgresql": "postgres_url", "sqlite": "sqlite_url", "mariadb": "mariadb_url"}


@pytest.fixture(scope="session")
def migrated_postgresql(postgres: Postgres) -> Iterator[Ledger]:
    """A migrated PostgreSQL ledger that the tests share."""
    name = f"backout_ledger_{uuid.uuid4().hex}"
    ledger = Ledger(postgres.create_database(name), pool_size=20)
    schema.upgrade(ledger)
    yield ledger
    ledger.dispose()
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A migrated SQLite ledger that the tests share."""
    ledger = Ledger(f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'shared.sqlite3'}")
    schema.upgrade(ledger)
    yield ledger
    ledger.dispose()


@pytest.fixture(scope="session")
def migrated_mariadb(mariadb: MariaDB) -> Iterator[Ledger]:
    """A migrated MariaDB ledger that the tests share."""
    name = f"backout_ledger_{uuid.uuid4().hex}"
    ledger = Ledger(mariadb.create_database(name), pool_size=20)
    schema.upgrade(ledger)
    yield ledger
    ledger.dispose()
    mariadb.drop_database(name)


@pytest.fixture(params=DATABASES)
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """An empty, migrated ledger; the test runs once on each database."""
    shared: Ledger = request.getfixturevalue(f"migrated_{request.param}")
    yield shared
    empty_tables(shared)


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database of the test's own, without tables; the test runs once on each database."""
    url: str = request.getfixturevalue(URL_FIXTURES[request.param])
    return url


@pytest.fixture
def empty_ledger(empty_url: str) -> Iterator[Ledger]:
    """A ledger of the test's own, without tables; the test runs once on each database."""
    ledger = Ledger(empty_url)
    yield ledger
    ledger.dispose()


@pytest.fixture
def own_ledger(empty_ledger: Ledger) -> Ledger:
    """A migrated ledger of the test's own, whose connections and tables it may break."""
    schema.upgrade(empty_ledger)
    return empty_ledger


@pytest.fixture
def refused_entries(ledger: Ledger) -> Iterator[None]:
    """Let the database refuse every new entry, until the end of the test."""
    making, removing = REFUSING[ledger.dialect.name]
    run_statements(ledger, making)
    yield
    run_statements(ledger, removing)


def run_statements(ledger: Ledger, statements: tuple[str, ...]) -> None:
    with ledger.transaction() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


REFUSING = {
    "postgresql": (
        (
            "CREATE FUNCTION refuse_entry() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'entries are refused'; END $$",
            "CREATE TRIGGER refuse_entry BEFORE INSERT ON backout_entry FOR EACH ROW EXECUTE FUNCTION refuse_entry()",
        ),
        ("DROP TRIGGER refuse_entry ON backout_entry", "DROP FUNCTION refuse_entry()"),
    ),
    "sqlite": (
        (
            # IF NOT EXISTS makes SQLite look at the file: another connection may have removed the trigger.
            "CREATE TRIGGER IF NOT EXISTS refuse_entry BEFORE INSERT ON backout_entry "
            "BEGIN SELECT RAISE(ABORT, 'entries are refused'); END",
        ),
        ("DROP TRIGGER IF EXISTS refuse_entry",),
    ),
    "mariadb": (
        (
            "CREATE TRIGGER refuse_entry BEFORE INSERT ON backout_entry FOR EACH ROW "
            "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'entries are refused'",
        ),
        ("DROP TRIGGER refuse_entry",),
    ),
}
"""Database to the statements that make and remove a trigger which refuses entries: a real failure."""
