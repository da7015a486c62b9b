"""Stacks with the shop's worker: one for each database, for the whole session."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from flask import Flask

from backout.tasks.runtime import forget_runtime
from backout.testing.servers import Broker
from backout.testing.servers.postgres import Postgres
from tests.integrations.flask.project import create_app
from tests.integrations.flask.project.database import db
from tests.support.stack import Stack

WORKER = "tests.integrations.flask.project.make_celery"


@pytest.fixture(scope="session")
def postgres_shop(broker: Broker, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The shop on PostgreSQL, its worker running."""
    name = f"backout_flask_{uuid.uuid4().hex}"
    stack = Stack(broker, postgres.create_database(name), tmp_path_factory.mktemp("flask"))
    yield opened(stack)
    stack.close()
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def sqlite_shop(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The shop on SQLite, its worker running."""
    folder = tmp_path_factory.mktemp("flask")
    stack = Stack(broker, f"sqlite:///{folder / 'shop.sqlite3'}", folder)
    yield opened(stack)
    stack.close()


def opened(stack: Stack) -> Stack:
    """Give the database its tables, those of the ledger by the command of the page, and start a worker."""
    app = create_app(stack.environment)
    upgraded = app.test_cli_runner().invoke(args=["backout", "ledger", "upgrade"])
    assert upgraded.exit_code == 0, upgraded.output
    with app.app_context():
        db.create_all()
        db.engine.dispose()
    stack.start_worker("--pool", "solo", app=WORKER)
    return stack


@pytest.fixture
def postgres_app(postgres_shop: Stack) -> Iterator[Flask]:
    """A web process's app of the shop on PostgreSQL."""
    app = create_app(postgres_shop.environment)
    yield app
    forget_runtime(app.extensions["celery"])
    with app.app_context():
        db.engine.dispose()
