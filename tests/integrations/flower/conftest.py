"""A ledger with runs in every scene, the shop's Celery app on it, and what starts Flowers for that app."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from backout.ledger.session import Ledger
from backout.tasks.runtime import runtime_of
from backout.testing.servers import Broker
from tests.integrations.flower.starting import Start
from tests.support.stack import Stack


@pytest.fixture(scope="module")
def shop(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The shop's app on a ledger in a file; no worker runs."""
    folder = tmp_path_factory.mktemp("flower")
    stack = Stack(broker, f"sqlite:///{folder / 'ledger.sqlite3'}", folder)
    stack.migrate()
    yield stack
    stack.close()


@pytest.fixture
def ledger(shop: Stack) -> Ledger:
    """The ledger of the shop."""
    return runtime_of(shop.app).ledger


@pytest.fixture(scope="module")
def start(shop: Stack) -> Iterator[Start]:
    """Starts a Flower for the shop that ends with the module."""
    with ExitStack() as flowers:
        yield Start(shop, flowers)
