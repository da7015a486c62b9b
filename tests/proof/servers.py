"""The servers of a proof, each its own and each behind a proxy, by the names that the command line takes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import URL, make_url

from backout.testing.servers import Broker, ServerSource, start_broker
from backout.testing.servers.mariadb import MariaDB, start_mariadb
from backout.testing.servers.postgres import Postgres, start_postgres
from backout.testing.servers.rabbitmq import RabbitMQ, start_rabbitmq
from tests.proof.proxy import Proxy, Target, open_proxy

BROKERS: Final = ("redis", "rabbitmq")
DATABASES: Final = ("postgresql", "sqlite", "mariadb")
OWN: Final = (ServerSource.MACHINE, ServerSource.WHEEL)
"""Never one that the environment names: these servers are killed."""


class Killable(Protocol):
    """What is done to a server."""

    def kill(self) -> None:
        """End it as a crash would."""

    def restart(self) -> None:
        """Start it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerPlace:
    """A broker, and the network in front of it.

    Attributes:
        url: for Celery, through the proxy.
    """

    server: Broker | RabbitMQ
    proxy: Proxy
    url: str

    def as_seen(self) -> Broker | RabbitMQ:
        """Return the broker as somebody sees it who reaches it through the proxy."""
        if isinstance(self.server, RabbitMQ):
            return RabbitMQ(url=self.url, version=self.server.version, server=None)
        return Broker(url=self.url, client_url=self.server.client_url, version=self.server.version, server=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabasePlace:
    """A database server, and the network in front of it; SQLite has neither.

    Attributes:
        new_url: makes an empty database and returns its URL, through the proxy.
    """

    server: Killable | None
    proxy: Proxy | None
    new_url: Callable[[], str]


@contextmanager
def open_broker(kind: str) -> Iterator[BrokerPlace]:
    """Start a broker that keeps what it was given over a crash."""
    with ExitStack() as stack:
        if kind == "redis":
            redis = stack.enter_context(start_broker(sources=OWN, persistent=True))
            path = redis.client_url.removeprefix("unix://").partition("?")[0]
            proxy = stack.enter_context(open_proxy(Target(path=path)))
            yield BrokerPlace(server=redis, proxy=proxy, url=f"redis://127.0.0.1:{proxy.port}/0")
        else:
            rabbit = stack.enter_context(start_rabbitmq(sources=OWN))
            port = make_url(rabbit.url).port
            proxy = stack.enter_context(open_proxy(Target(port=port or 0)))
            yield BrokerPlace(server=rabbit, proxy=proxy, url=rabbit.url.replace(f":{port}", f":{proxy.port}"))


def _target_of(url: URL) -> Target:
    """Return where a database listens: PostgreSQL's URL names the folder of its socket, MariaDB's the socket."""
    if folder := url.query.get("host"):
        return Target(path=f"{folder}/.s.PGSQL.{url.port or 5432}")
    if path := url.query.get("unix_socket"):
        return Target(path=str(path))
    return Target(port=url.port or 0)


@contextmanager
def open_database(kind: str, folder: Path) -> Iterator[DatabasePlace]:
    """Start a database server with the durability that it has by default."""
    with ExitStack() as stack:
        if kind == "sqlite":
            yield DatabasePlace(
                server=None, proxy=None, new_url=lambda: f"sqlite:///{folder / uuid.uuid4().hex}.sqlite3"
            )
            return
        server: Postgres | MariaDB
        if kind == "postgresql":
            server = stack.enter_context(start_postgres(sources=OWN, durable=True))
        else:
            server = stack.enter_context(start_mariadb(sources=OWN))
        through: list[Proxy] = []

        def new_url() -> str:
            url = make_url(server.create_database(f"backout_proof_{uuid.uuid4().hex}"))
            if not through:
                through.append(stack.enter_context(open_proxy(_target_of(url))))
            proxied = url.set(host="127.0.0.1", port=through[0].port, query={})
            return proxied.render_as_string(hide_password=False)

        new_url()
        yield DatabasePlace(server=server, proxy=through[0], new_url=new_url)
