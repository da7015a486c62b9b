"""Django's databases as the ledger reaches them: a URL for each alias, with the options of its driver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from django.db import connections

from backout.errors import ConfigurationError
from backout.ledger.addresses import Address, write_url

_OWN_TO_POSTGRESQL: Final = frozenset(
    {
        "autocommit",
        "client_encoding",
        "connection_factory",
        "context",
        "cursor_factory",
        "isolation_level",
        "pool",
        "prepare_threshold",
        "row_factory",
        "server_side_binding",
    }
)
"""How Django, or psycopg in Python, works with a connection: the ledger has ways of its own."""

_OWN_TO_MYSQL: Final = frozenset(
    {
        "autocommit",
        "charset",
        "conv",
        "cursorclass",
        "init_command",
        "isolation_level",
        "sql_mode",
        "use_unicode",
    }
)
_CARRIED_TO_MYSQL: Final = frozenset(
    {
        "bind_address",
        "collation",
        "connect_timeout",
        "read_default_file",
        "read_default_group",
        "read_timeout",
        "unix_socket",
        "write_timeout",
    }
)
_PARTS_OF_SSL: Final = frozenset({"ca", "capath", "cert", "check_hostname", "cipher", "key"})

_OWN_TO_SQLITE: Final = frozenset(
    {
        "cached_statements",
        "check_same_thread",
        "detect_types",
        "factory",
        "init_command",
        "isolation_level",
        "timeout",
        "transaction_mode",
        "uri",
    }
)

_PLACES: Final = frozenset({"service", "unix_socket"})
_names_at_start: Final[dict[str, str]] = {}


def known_aliases() -> list[str]:
    """Return the aliases of DATABASES."""
    return list(connections.settings)


def remember_names() -> None:
    """Keep the names of the databases as the settings give them: a test runner puts others in their place."""
    # Not from the connections, which would import their drivers.
    _names_at_start.update({alias: str(values["NAME"] or "") for alias, values in connections.settings.items()})


def replaced_name(alias: str) -> str | None:
    """Return the name of the database that is in the place of an alias's own; `None` when it is its own."""
    name = str(connections.settings[alias]["NAME"] or "")
    return name if name != _names_at_start.get(alias, name) else None


def url_of_alias(alias: str, *, place_only: bool = False, at_start: bool = False) -> str:
    """Return the URL of a database of Django's, as it is now: in a test it is the test's.

    Args:
        alias: of DATABASES.
        place_only: leave out what says nothing about where it is.
        at_start: as the settings give it, also in a test.

    Raises:
        ConfigurationError: the ledger cannot be there, or an option cannot be carried over.
    """
    connection = connections[alias]
    vendor, values = connection.vendor, connection.settings_dict
    options = {name: value for name, value in values["OPTIONS"].items() if name in _PLACES or not place_only}
    read = _OPTIONS.get(vendor)
    if read is None:
        raise ConfigurationError(
            problem=f"the database {alias!r} is {vendor}, on which there can be no ledger",
            remedy='Give the ledger a database of its own: BACKOUT = {"DATABASE_URL": "postgresql+psycopg://…"}.',
        )
    name = str(values["NAME"] or "")
    if at_start:
        name = _names_at_start.get(alias, name)
    if vendor == "sqlite" and name in ("", ":memory:"):
        raise ConfigurationError(
            problem=f"the database {alias!r} is in the memory of one connection, and the ledger needs several",
            remedy="Give it a file. In Django's tests it is shared, and can be used.",
        )
    if vendor == "postgresql" and values["NAME"] is None:
        name = "postgres"
    return write_url(
        Address(
            database=vendor,
            name=name,
            user=str(values["USER"] or ""),
            password=str(values["PASSWORD"] or ""),
            host=str(values["HOST"] or ""),
            port=str(values["PORT"] or ""),
            options=read(alias, options),
        )
    )


def _options_of_postgresql(alias: str, given: Mapping[str, Any]) -> dict[str, str]:
    carried = {
        name: _as_text(alias, name, value)
        for name, value in given.items()
        if name not in _OWN_TO_POSTGRESQL | {"assume_role"} and value is not None
    }
    if role := given.get("assume_role"):
        # Django says SET ROLE when it has connected; libpq can say it while it does.
        escaped = str(role).replace("\\", "\\\\").replace(" ", "\\ ")
        carried["options"] = f"{carried.get('options', '')} -c role={escaped}".strip()
    return carried


def _options_of_mysql(alias: str, given: Mapping[str, Any]) -> dict[str, str]:
    carried: dict[str, str] = {}
    for name, value in given.items():
        if name in _OWN_TO_MYSQL or value is None:
            continue
        if name == "ssl" and isinstance(value, Mapping) and value.keys() <= _PARTS_OF_SSL:
            carried |= {f"ssl_{part}": _as_text(alias, name, said) for part, said in value.items()}
        elif name in _CARRIED_TO_MYSQL:
            carried[name] = _as_text(alias, name, value)
        else:
            raise _refuse(alias, name)
    return carried


def _options_of_sqlite(alias: str, given: Mapping[str, Any]) -> dict[str, str]:
    for name in given:
        if name not in _OWN_TO_SQLITE:
            raise _refuse(alias, name)
    return {}


_OPTIONS: Final[Mapping[str, Callable[[str, Mapping[str, Any]], dict[str, str]]]] = {
    "postgresql": _options_of_postgresql,
    "mysql": _options_of_mysql,
    "sqlite": _options_of_sqlite,
}


def _as_text(alias: str, name: str, value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, str | int | float) or hasattr(value, "__fspath__"):
        return str(value)
    raise _refuse(alias, name)


def _refuse(alias: str, name: str) -> ConfigurationError:
    return ConfigurationError(
        problem=f"OPTIONS[{name!r}] of the database {alias!r} cannot be carried over to the ledger's own connections",
        remedy=f'Say how they connect: BACKOUT = {{"DATABASE": {alias!r}, "DATABASE_URL": "…"}}.',
    )
