"""Fixtures for all tests: real servers, and a fresh database for each test that asks for one."""

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from playwright.sync_api import Browser

from backout.testing.servers import TEST_SOURCES, Broker, ServerSource, start_broker
from backout.testing.servers.mariadb import MariaDB, start_mariadb
from backout.testing.servers.postgres import Postgres, start_postgres
from backout.testing.servers.rabbitmq import RabbitMQ, start_rabbitmq
from tests.support.browser import open_browser
from tests.support.servers import describe_servers, find_mariadb_version, find_rabbitmq_version, started

OWN_SOURCES = tuple(source for source in TEST_SOURCES if source is not ServerSource.ENVIRONMENT)
MARIADB_FIXTURES = {"mariadb", "own_mariadb", "mariadb_url"}

collect_ignore_glob = [] if find_rabbitmq_version() else ["*/test_rabbitmq_*.py"]

# Speed is for benchmarks: a loaded machine must not fail a property. The gate tries the same examples each time, so
# that a change is judged by what it changes; at home every run tries others.
settings.register_profile("home", deadline=None)
settings.register_profile("gate", deadline=None, derandomize=True)
# Started in the background by a shell, the tests would ignore SIGINT, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
settings.load_profile("gate" if os.environ.get("CI") else "home")


def pytest_report_header() -> list[str]:
    return describe_servers()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a MariaDB where there is none; the report's head says so."""
    if find_mariadb_version():
        return
    left_out = [item for item in items if needs_mariadb(item)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def needs_mariadb(item: pytest.Item) -> bool:
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return "mariadb" in parameters or bool(MARIADB_FIXTURES & set(getattr(item, "fixturenames", ())))


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """A broker shared by all tests; use `flush()` before counting on an empty one, and never stop it."""
    with started(start_broker(sources=TEST_SOURCES)) as server:
        yield server


@pytest.fixture
def own_broker() -> Iterator[Broker]:
    """A broker of this test's own, which it may stop and kill; what was stored survives both."""
    with started(start_broker(sources=OWN_SOURCES, persistent=True)) as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """A RabbitMQ node shared by all tests (ten seconds to start); who stops it starts it again before the test ends."""
    with started(start_rabbitmq(sources=TEST_SOURCES)) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server shared by all tests; never stop it."""
    with started(start_postgres(sources=TEST_SOURCES)) as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of this test's own, which it may stop and kill (half a second to start)."""
    with started(start_postgres(sources=OWN_SOURCES)) as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The URL of an empty database, dropped after the test."""
    # A random name, because a server that the environment names may serve several test runs at once.
    name = f"backout_test_{uuid.uuid4().hex}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A MariaDB server shared by all tests; never stop it."""
    with started(start_mariadb(sources=TEST_SOURCES, durable=False)) as server:
        yield server


@pytest.fixture
def own_mariadb() -> Iterator[MariaDB]:
    """A MariaDB server of this test's own, which it may stop and kill (two seconds to start)."""
    with started(start_mariadb(sources=OWN_SOURCES, durable=False)) as server:
        yield server


@pytest.fixture
def mariadb_url(mariadb: MariaDB) -> Iterator[str]:
    """The URL of an empty database, dropped after the test."""
    name = f"backout_test_{uuid.uuid4().hex}"
    yield mariadb.create_database(name)
    mariadb.drop_database(name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'ledger.sqlite3'}"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser shared by all tests; each opens a context of its own in it, see `tests.support.browser`."""
    with open_browser() as opened:
        yield opened
