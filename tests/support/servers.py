"""The servers that the tests run on: which ones, and what happens where there is none."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from typing import TypeVar

import pytest

from backout.testing.servers import TEST_SOURCES, ServerUnavailable, mariadb, postgres, rabbitmq, valkey
from backout.testing.servers.process import unprivileged_account

Server = TypeVar("Server")

NO_RABBITMQ = "no RabbitMQ on this machine; its tests are not collected"
NO_MARIADB = "no MariaDB on this machine; its tests are not collected"


@contextmanager
def started(starting: AbstractContextManager[Server]) -> Iterator[Server]:
    """Give the server that `starting` starts.

    If there is none, skip the test at home, and fail it in CI, where a missing server must not look like a success.
    """
    with ExitStack() as stack:
        try:
            server = stack.enter_context(starting)
        except ServerUnavailable as error:
            problem = str(error)
        else:
            yield server
            return
    if os.environ.get("CI"):
        pytest.fail(problem, pytrace=False)
    pytest.skip(problem)


def describe_servers() -> list[str]:
    """Return one line for the head of the report: the servers that will be used, by their true names."""
    broker = describe(find_broker_version)
    database = describe(find_postgres_version)
    return [
        f"servers: broker {broker}, database {database}",
        f"second broker: {find_rabbitmq_version() or NO_RABBITMQ}",
        f"second database: {find_mariadb_version() or NO_MARIADB}",
    ]


def describe(find_version: Callable[[], str]) -> str:
    """Return what `find_version` says, or that there is no such server."""
    try:
        return find_version()
    except ServerUnavailable:
        return "none (see the skipped tests)"


def find_broker_version() -> str:
    """Return the version of the broker that `start_broker` will give, before it is started."""
    if url := os.environ.get(valkey.URL_VARIABLE):
        return valkey.connect_external(url).version
    return valkey.find_program(TEST_SOURCES).label


def find_postgres_version() -> str:
    """Return the version of PostgreSQL that `start_postgres` will give, before it is started."""
    if url := os.environ.get(postgres.URL_VARIABLE):
        return postgres.connect_external(url).version
    return postgres.find_program(TEST_SOURCES, account=unprivileged_account()).label


@cache
def find_rabbitmq_version() -> str | None:
    """Return the version of RabbitMQ that `start_rabbitmq` will give; `None` where it would find no node."""
    if url := os.environ.get(rabbitmq.URL_VARIABLE):
        return rabbitmq.connect_external(url).version
    try:
        return rabbitmq.find_program(TEST_SOURCES, account=unprivileged_account()).label
    except ServerUnavailable:
        return None


@cache
def find_mariadb_version() -> str | None:
    """Return the version of MariaDB that `start_mariadb` will give; `None` where it would find no server."""
    if url := os.environ.get(mariadb.URL_VARIABLE):
        return mariadb.connect_external(url).version
    try:
        return mariadb.find_program(TEST_SOURCES, account=unprivileged_account()).label
    except ServerUnavailable:
        return None
