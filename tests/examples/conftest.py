"""Stages for the examples: a real worker on a real broker, on SQLite and on PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from backout.testing.servers import Broker
from backout.testing.servers.postgres import Postgres
from examples.recovery.providers import BOOKS
from tests.examples.stage import APP, Stage

OpenStage = Callable[[str], Stage]


@pytest.fixture(scope="session")
def open_stage(broker: Broker, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenStage]:
    """Open the stage on a database of the kind given, with its worker; all tests share it."""
    with ExitStack() as closing:

        @cache
        def open_one(database: str) -> Stage:
            folder = tmp_path_factory.mktemp("stage")
            url = f"sqlite:///{folder / 'ledger.sqlite3'}"
            if database == "postgresql":
                name = f"backout_examples_{uuid.uuid4().hex}"
                url = postgres.create_database(name)
                closing.callback(postgres.drop_database, name)
            stage = Stage(broker, url, folder)
            closing.callback(stage.close)
            stage.migrate()
            stage.start_worker(app=APP)
            return stage

        yield open_one


@pytest.fixture
def stage(request: pytest.FixtureRequest, open_stage: OpenStage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The stage on SQLite, unless the test says otherwise, with empty books."""
    stage = open_stage(getattr(request, "param", "sqlite"))
    monkeypatch.setenv(BOOKS, str(stage.books_path))
    stage.empty_books()
    return stage
