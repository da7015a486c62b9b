"""Where all ways are measured: one broker, one PostgreSQL with its default durability, one folder for logs."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from redis import Redis
from sqlalchemy import create_engine, text

from backout.testing.servers import Broker, ServerSource, start_broker
from backout.testing.servers.postgres import Postgres, start_postgres
from benchmarks.slow_flush import slow_flushes
from benchmarks.ways import Store, Way

OWN_SOURCES: Final = (ServerSource.MACHINE, ServerSource.WHEEL)
PACKAGES: Final = ("backout", "celery", "kombu", "sqlalchemy", "psycopg", "redis", "pydantic", "dbos", "absurd-sdk")
RESULTS_DATABASE: Final = 15
"""The broker's database for results that are kept in Redis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """The servers, and what is the same for all.

    Attributes:
        folder: for logs and for SQLite's files; removed at the end.
        concurrency: prefork children of each worker, or processes where a worker has none.
        variables: the environment of everything that is started.
    """

    broker: Broker
    postgres: Postgres
    folder: Path
    concurrency: int
    variables: Mapping[str, str] = field(repr=False)
    _databases: set[str] = field(default_factory=set)
    _numbers: dict[str, int] = field(default_factory=dict)

    def broker_url(self, way: Way) -> str:
        """Return Celery's URL of the way's own database on the broker."""
        return f"redis+socket://{self._socket}?virtual_host={self._number(way)}"

    def redis_url(self, way: Way) -> str:
        """Return redis-py's URL of the same."""
        return f"unix://{self._socket}?db={self._number(way)}"

    def store_url(self, way: Way, job: str) -> str:
        """Return the URL of where the way keeps the results of a job; a database is made at the first call."""
        match way.store:
            case Store.REDIS | Store.NONE:
                return f"unix://{self._socket}?db={RESULTS_DATABASE}"
            case Store.SQLITE:
                return f"sqlite:///{self.folder / f'{job}.sqlite3'}"
            case Store.POSTGRES:
                name = f"{job}_{self._number(way)}"
                if name in self._databases:
                    return self.postgres.database_url(name)
                self._databases.add(name)
                return self.postgres.create_database(name)

    def clear(self, way: Way) -> None:
        """Empty the way's database on the broker, and the one for results."""
        databases = [self.redis_url(way)]
        if way.store is Store.REDIS:
            databases.append(f"unix://{self._socket}?db={RESULTS_DATABASE}")
        for url in databases:
            with Redis.from_url(url) as client:
                client.flushdb()

    def _number(self, way: Way) -> int:
        """Return the way's database on the broker, of which there are 16."""
        return self._numbers.setdefault(way.name, len(self._numbers))

    @property
    def _socket(self) -> str:
        return self.broker.client_url.removeprefix("unix://").partition("?")[0]


@contextmanager
def open_lab(*, concurrency: int, slow_flush_ms: float = 0.0) -> Iterator[Lab]:
    """Start the servers and stop them at the end of the block.

    Raises:
        CannotSlowDown: flushes of PostgreSQL should be slower, and cannot be made so here.
        ServerUnavailable: a server is missing, or does not start.
    """
    with (
        tempfile.TemporaryDirectory(prefix="backout-bench-") as folder,
        start_broker(sources=OWN_SOURCES) as broker,
        slow_flushes(slow_flush_ms) as environment,
        start_postgres(sources=OWN_SOURCES, durable=True, environment=environment) as postgres,
    ):
        yield Lab(
            broker=broker,
            postgres=postgres,
            folder=Path(folder),
            concurrency=concurrency,
            variables=dict(os.environ),
        )


def read_versions(lab: Lab) -> dict[str, str]:
    """Return the versions of everything that is used, by name."""
    versions = {"python": platform.python_version(), **_package_versions()}
    versions["broker"] = lab.broker.version
    versions["database"] = f"{lab.postgres.version}, {_durability(lab.postgres.url)}"
    return versions


def _package_versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _durability(url: str) -> str:
    """Return what the server waits for, read from the server itself."""
    engine = create_engine(url)
    with engine.connect() as connection:
        names = ("fsync", "synchronous_commit")
        settings = {name: connection.execute(text(f"SHOW {name}")).scalar_one() for name in names}
    engine.dispose()
    return ", ".join(f"{name}={value}" for name, value in settings.items())
