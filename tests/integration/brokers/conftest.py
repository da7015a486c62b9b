"""Stacks on either broker, RabbitMQ with classic and with quorum queues."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Self

import pytest

from backout.testing.servers import Broker
from backout.testing.servers.postgres import Postgres
from backout.testing.servers.rabbitmq import RabbitMQ
from tests.integration.engine.kill_matrix import MESSAGES
from tests.support.stack import Stack

QUORUM = {"x-queue-type": "quorum"}


class OpenOn:
    """Opens stacks on brokers, the ledger of each a database of its own; all are closed at the end of the block."""

    def __init__(self, postgres: Postgres, folders: pytest.TempPathFactory) -> None:
        self.stacks: list[Stack] = []
        self._postgres = postgres
        self._folders = folders
        self._closing = ExitStack()

    def __call__(self, broker: Broker | RabbitMQ, **options: Any) -> Stack:
        """Open one; the options are those of `Stack`. Each step has a message, unless its settings say otherwise."""
        options["settings"] = {**MESSAGES, **options.get("settings", {})}
        name = f"backout_brokers_{uuid.uuid4().hex}"
        url = self._postgres.create_database(name)
        self._closing.callback(self._postgres.drop_database, name)
        stack = Stack(broker, url, self._folders.mktemp("stack"), **options)
        self._closing.callback(stack.close)
        stack.migrate()
        self.stacks.append(stack)
        return stack

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()


@pytest.fixture(scope="module")
def module_stack_on(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenOn]:
    """Open a stack for all tests of a module."""
    with OpenOn(postgres, tmp_path_factory) as open_one:
        yield open_one


@pytest.fixture
def stack_on(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenOn]:
    """Open a stack of the test's own."""
    with OpenOn(postgres, tmp_path_factory) as open_one:
        yield open_one
