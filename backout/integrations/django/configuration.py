"""What Django's settings say about backout: `BACKOUT`, and which of DATABASES holds the ledger."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from celery import current_app
from django.conf import settings as django_settings
from django.db import DEFAULT_DB_ALIAS, connections

from backout.errors import ConfigurationError
from backout.integrations.django.databases import known_aliases, replaced_name, url_of_alias
from backout.ledger.addresses import is_same_place, parse_url, rename_database
from backout.ledger.session import Ledger
from backout.settings import PREFIX, Settings

NAME: Final = "BACKOUT"
ALIAS_KEY: Final = "DATABASE"
URL_KEY: Final = "DATABASE_URL"
_URL_SETTING: Final = f"{PREFIX}database_url"


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What the settings lead to.

    Attributes:
        settings: as `backout.settings.Settings` takes them, with their prefix.
        database_url: of the ledger.
        alias: of DATABASES that leads to the same database; `None`: the ledger is in none of them.
    """

    settings: Mapping[str, object]
    database_url: str
    alias: str | None


def read_configuration() -> Configuration:
    """Read the settings as they are now.

    Raises:
        ConfigurationError: one is unknown, is said twice with different values, or names no database.
    """
    written = _written()
    alias = written.get(ALIAS_KEY)
    if alias is not None and alias not in known_aliases():
        raise ConfigurationError(
            problem=f"{NAME}[{ALIAS_KEY!r}] is {alias!r}, which is no alias of DATABASES",
            remedy=f"Name one of {', '.join(map(repr, known_aliases()))}, or add it to DATABASES.",
        )
    own = {f"{PREFIX}{key.lower()}": value for key, value in written.items() if key != ALIAS_KEY}
    given = own.get(_URL_SETTING) or _said_to_celery(URL_KEY)
    if given is None:
        alias = str(alias or DEFAULT_DB_ALIAS)
        url = url_of_alias(alias)
    else:
        url = str(given)
        alias = str(alias) if alias else find_alias(url)
        url = _follow(url, alias) if alias else url
    return Configuration(settings={**own, _URL_SETTING: url}, database_url=url, alias=alias)


def _follow(url: str, alias: str) -> str:
    """Return a URL that leads where Django is just now: in a test nothing may reach what the URL was written for.

    Raises:
        ConfigurationError: it stands in Celery's configuration, which cannot be followed.
    """
    name = replaced_name(alias)
    if name is None:
        return url
    if _said_to_celery(URL_KEY) is not None:
        raise ConfigurationError(
            problem=f"Django uses the database {name!r} for {alias!r} just now, a test's perhaps, and `{_URL_SETTING}` "
            "in Celery's configuration leads to the one that it stands for",
            remedy=f'Write it as {NAME} = {{"{URL_KEY}": …}}, which follows Django, or leave it out: the database of '
            f"{alias!r} is known.",
        )
    if connections[alias].vendor == "sqlite":
        return url_of_alias(alias, place_only=True)
    return rename_database(url, name)


def settings_source() -> Mapping[str, object]:
    """Return the `backout_*` settings that Django's settings hold: what `add_settings_source` takes."""
    return read_configuration().settings


def ledger_alias() -> str | None:
    """Return the alias of the ledger's database; `None` when it is none of DATABASES.

    Raises:
        ConfigurationError: as `read_configuration`.
    """
    return read_configuration().alias


def alias_of(ledger: Ledger) -> str | None:
    """Return the alias that leads to a ledger's database; `None` when none does.

    Raises:
        ConfigurationError: as `read_configuration`.
    """
    configuration = read_configuration()
    if ledger.is_at(configuration.database_url):
        return configuration.alias
    # Somebody has installed another ledger than the settings name.
    return next((alias for alias, url in _urls(at_start=False).items() if ledger.is_at(url)), None)


def find_alias(database_url: str) -> str | None:
    """Return the alias that leads to the same database as a URL; `None` when none does."""
    wanted = parse_url(database_url)
    return next((alias for alias, url in _urls(at_start=True).items() if is_same_place(wanted, parse_url(url))), None)


def _urls(*, at_start: bool) -> dict[str, str]:
    urls = {}
    for alias in known_aliases():
        try:
            urls[alias] = url_of_alias(alias, place_only=True, at_start=at_start)
        except ConfigurationError:
            # A kind of database on which there can be no ledger.
            continue
    return urls


def _written() -> dict[str, Any]:
    """Return `BACKOUT`, after its keys are known to be right and to contradict nothing."""
    written = getattr(django_settings, NAME, None) or {}
    if not isinstance(written, Mapping):
        raise ConfigurationError(
            problem=f"the setting {NAME} is a {type(written).__name__}",
            remedy=f'Write a mapping: {NAME} = {{"LEASE_SECONDS": 30}}.',
        )
    known = [*(name.upper() for name in Settings.model_fields), ALIAS_KEY]
    for key, value in written.items():
        if key not in known:
            close = difflib.get_close_matches(str(key).upper().removeprefix(PREFIX.upper()), known, n=1)
            raise ConfigurationError(
                problem=f"the setting {NAME} has the key {key!r}, which is none of backout's",
                remedy=f"Did you mean {close[0]!r}?" if close else "Remove it.",
            )
        said = _said_to_celery(key) if key != ALIAS_KEY else None
        if said is not None and said != value:
            raise ConfigurationError(
                problem=f"{NAME}[{key!r}] and Celery's setting `{PREFIX}{key.lower()}` differ",
                remedy="Say it in one place only; with Celery's Django guide the second is "
                f"CELERY_{PREFIX.upper()}{key} in Django's settings.",
            )
    return {key: value for key, value in written.items() if value is not None}


def _said_to_celery(key: str) -> Any:
    """Return what the Celery configuration says itself, in Django's settings under its namespace or elsewhere."""
    return current_app.conf.get(f"{PREFIX}{key.lower()}")
