"""The URL of an application's own database as the ledger needs it: the same place, through the ledger's driver."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL

from backout.errors import ConfigurationError
from backout.ledger.addresses import parse_url
from backout.ledger.dialects import dialect_of

MEMORY: Final = "sqlite://"
"""A database that ends with its process: what is written into it no worker ever sees."""

_SAME_OPTIONS: Final[Mapping[str, frozenset[str]]] = {
    # All of libpq's.
    "postgresql": frozenset({"psycopg", "psycopg2", "psycopg2cffi"}),
    "mysql": frozenset({"pymysql"}),
    "mariadb": frozenset({"pymysql"}),
    "sqlite": frozenset({"pysqlite"}),
}
"""The drivers whose options in a URL mean the same to the ledger's driver."""
_NOT_A_PLACE: Final[Mapping[str, frozenset[str]]] = {
    "postgresql": frozenset({"prepare_threshold", "autocommit", "row_factory", "cursor_factory", "context"}),
    "mysql": frozenset({"charset", "autocommit", "connect_timeout", "read_timeout", "write_timeout", "cursorclass"}),
    "sqlite": frozenset({"timeout", "detect_types", "isolation_level", "check_same_thread", "cached_statements"}),
}
"""Arguments of the drivers' `connect` that say how an application talks to its database, not where that is."""


def as_ledger_url(given: object, *, folder: Path, arguments: Mapping[str, object]) -> str:
    """Return the URL by which the ledger reaches the database of an application.

    Args:
        given: the application's URL, a text or SQLAlchemy's.
        folder: where relative paths of SQLite files begin; it is made for them.
        arguments: what the application hands to the driver's `connect` besides.

    Returns:
        `MEMORY` for a database in memory.

    Raises:
        ConfigurationError: the ledger cannot use that database, or not be sure to reach the same one.
    """
    url = given if isinstance(given, URL) else parse_url(str(given))
    kind = url.get_backend_name()
    try:
        driver = dialect_of(kind).driver
    except KeyError:
        raise _refuse(url, f"the ledger cannot live in {kind}") from None
    if kind == "sqlite":
        return _of_file(url, folder)
    family = "mysql" if kind == "mariadb" else kind
    own = "" if url.drivername == kind else url.drivername.partition("+")[2]
    options = {name: value for name, value in url.query.items() if name not in _NOT_A_PLACE[family]}
    if options and own and own not in _SAME_OPTIONS[kind]:
        raise _refuse(url, f"what {own!r} means by {', '.join(sorted(options))} is not known to {driver!r}")
    carried = {}
    for name, value in arguments.items():
        if name in _NOT_A_PLACE[family]:
            continue
        if not isinstance(value, str | int | float) or (own and own not in _SAME_OPTIONS[kind]):
            raise _refuse(url, f"the connection's argument {name!r} cannot be written into the ledger's URL")
        carried[name] = str(value)
    same = url.set(drivername=f"{kind}+{driver}", query={**options, **carried})
    return same.render_as_string(hide_password=False)


def is_in_memory(database_url: str) -> bool:
    """Return whether a URL of `as_ledger_url` leads to a database in memory."""
    return database_url == MEMORY


def _of_file(url: URL, folder: Path) -> str:
    if url.drivername not in ("sqlite", "sqlite+pysqlite", "sqlite+aiosqlite"):
        raise _refuse(url, f"the ledger cannot read files of {url.drivername}")
    name = url.database or ""
    is_uri = "uri" in url.query
    path = name.removeprefix("file:") if is_uri else name
    if path in ("", ":memory:") or (is_uri and url.query.get("mode") == "memory"):
        return MEMORY
    if not Path(path).is_absolute():
        folder.mkdir(parents=True, exist_ok=True)
    whole = str(folder / path)
    query = dict(url.query) if is_uri else {}
    plain = url.set(drivername="sqlite", database=f"file:{whole}" if is_uri else whole, query=query)
    return plain.render_as_string(hide_password=False)


def _refuse(url: URL, why: str) -> ConfigurationError:
    return ConfigurationError(
        problem=f"the ledger cannot use the database {url.render_as_string(hide_password=True)}: {why}",
        remedy="Give the ledger's own URL: `database_url`, for example postgresql+psycopg://user:password@host/name.",
    )
