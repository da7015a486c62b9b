"""Stacks: real workers on a real broker, on each database."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest

from backout.testing.servers import TEST_SOURCES, Broker
from backout.testing.servers.mariadb import MariaDB, start_mariadb
from backout.testing.servers.postgres import Postgres
from tests.support.ledgers import ENGINE_DATABASES
from tests.support.servers import started
from tests.support.stack import Stack

OpenStack = Callable[..., Stack]


@pytest.fixture(scope="session")
def open_stack(
    broker: Broker,
    postgres: Postgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OpenStack]:
    """Open a stack of its own on a database of the kind given, its ledger migrated; closed after all tests."""
    with ExitStack() as closing:

        @cache
        def mariadb() -> MariaDB:
            # Not the fixture: a test that asks for it later than for this one would have it stopped before this one.
            return closing.enter_context(started(start_mariadb(sources=TEST_SOURCES, durable=False)))

        def open_one(database: str, *, is_migrated: bool = True, **options: Any) -> Stack:
            folder = tmp_path_factory.mktemp("stack")
            url = f"sqlite:///{folder / 'ledger.sqlite3'}"
            if database != "sqlite":
                server = postgres if database == "postgresql" else mariadb()
                name = f"backout_engine_{uuid.uuid4().hex}"
                url = server.create_database(name)
                closing.callback(server.drop_database, name)
            stack = Stack(broker, url, folder, **options)
            closing.callback(stack.close)
            if is_migrated:
                stack.migrate()
            return stack

        yield open_one


@pytest.fixture(scope="session")
def stacks_with_worker(open_stack: OpenStack) -> dict[str, Stack]:
    """The stacks that tests share, by database; made when the first test asks."""
    return {}


@pytest.fixture(params=ENGINE_DATABASES)
def stack(request: pytest.FixtureRequest, open_stack: OpenStack, stacks_with_worker: dict[str, Stack]) -> Stack:
    """A stack with a worker that many tests share and none stops; the test runs once on each database."""
    return shared(request.param, open_stack, stacks_with_worker)


@pytest.fixture
def postgres_stack(open_stack: OpenStack, stacks_with_worker: dict[str, Stack]) -> Stack:
    """The shared stack on PostgreSQL, for what does not depend on the database."""
    return shared("postgresql", open_stack, stacks_with_worker)


def shared(database: str, open_stack: OpenStack, known: dict[str, Stack]) -> Stack:
    if database not in known:
        known[database] = open_stack(database)
        known[database].start_worker("--task-events")
    return known[database]


@pytest.fixture
def new_stack(open_stack: OpenStack) -> Iterator[OpenStack]:
    """Open a stack of the test's own without a worker; its workers end with the test."""
    opened: list[Stack] = []

    def open_one(database: str = "postgresql", **options: Any) -> Stack:
        opened.append(open_stack(database, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        for worker in one.workers:
            worker.kill()
