"""Where a database is: URLs made of the settings of other frameworks, and whether two of them lead to one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from backout.errors import ConfigurationError

_DRIVERS: Final = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "sqlite": "sqlite"}
_PORTS: Final = {"postgresql": "5432", "mysql": "3306"}
_HERE: Final = frozenset({"", "localhost", "127.0.0.1", "::1", "/var/run/postgresql", "/run/postgresql", "/tmp"})
"""Hosts that mean this machine, and the folders in which its servers listen unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a database is and who asks for it, without a way to write it down.

    Attributes:
        database: `postgresql`, `mysql` (also MariaDB) or `sqlite`.
        name: of the database, or the path of the file; a `file:` URI is kept as it is.
        user: empty: whom the driver takes.
        password: empty: none.
        host: a name, or the folder of a socket; empty: the driver's own default.
        port: empty: the driver's own default.
        options: of the driver's connect, as text.
    """

    database: str
    name: str
    user: str = ""
    password: str = ""
    host: str = ""
    port: str = ""
    options: Mapping[str, str]


def write_url(address: Address) -> str:
    """Return the URL of a database, as SQLAlchemy reads it.

    Raises:
        LookupError: backout does not support the database.
    """
    options = dict(address.options)
    if address.database == "sqlite":
        return _write_file_url(address, options)
    host, port = address.host, address.port
    # A folder, or several hosts: the host of a URL can say neither.
    if host.startswith(("/", "@")) or "," in host + port:
        is_mysql = address.database == "mysql"
        options |= {"unix_socket": host} if is_mysql else {"host": host, **({"port": port} if port else {})}
        host = port = ""
    url = URL.create(
        _DRIVERS[address.database],
        username=address.user or None,
        password=address.password or None,
        host=host or None,
        port=int(port) if port else None,
        database=address.name or None,
        query=options,
    )
    return url.render_as_string(hide_password=False)


def _write_file_url(address: Address, options: dict[str, str]) -> str:
    name, _, query = address.name.partition("?")
    if not name.startswith("file:"):
        return URL.create("sqlite", database=address.name).render_as_string(hide_password=False)
    pairs = dict(pair.partition("=")[::2] for pair in query.split("&") if pair)
    url = URL.create("sqlite", database=name, query={**pairs, **options, "uri": "true"})
    return url.render_as_string(hide_password=False)


def rename_database(database_url: str, name: str) -> str:
    """Return the URL of another database on the same server.

    Raises:
        ConfigurationError: it cannot be read.
    """
    return parse_url(database_url).set(database=name).render_as_string(hide_password=False)


def is_same_place(one: URL, other: URL) -> bool:
    """Return whether two URLs certainly lead to one database, whoever asks for it."""
    return _place_of(one) == _place_of(other)


def _place_of(url: URL) -> tuple[str, ...]:
    backend = {"mariadb": "mysql"}.get(url.get_backend_name(), url.get_backend_name())
    query = {name: value if isinstance(value, str) else ",".join(value) for name, value in url.query.items()}
    if backend == "sqlite":
        file = file_of(url)
        return (backend, str(file)) if file is not None else (backend, str(url.database), query.get("mode", ""))
    host = url.host or query.get("host") or query.get("unix_socket") or ""
    port = str(url.port or query.get("port") or _PORTS.get(backend, ""))
    place = "" if host in _HERE else host.lower()
    return (backend, place, port, url.database or query.get("dbname") or "", query.get("service", ""))


def parse_url(database_url: str) -> URL:
    """Read a database URL.

    Raises:
        ConfigurationError: it is none; its text is not repeated.
    """
    try:
        return make_url(database_url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            problem="the ledger's database URL cannot be read as one",
            remedy='Write it as "postgresql+psycopg://user:password@host/database", '
            '"mysql+pymysql://user:password@host/database", "mariadb+pymysql://…" or "sqlite:////path/to/file.db".',
        ) from None  # The cause may quote a part of the password that was taken for the port.


def file_of(url: URL) -> Path | None:
    """Return the file that the URL leads to; `None` when it is a server's or in memory."""
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:") or "uri" in url.query:
        return None
    return Path(url.database or "").resolve()
