"""The settings of a Flask app: `BACKOUT = {…}` or `BACKOUT_…` in `app.config`, and Flask-SQLAlchemy's database."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from flask import Flask

from backout.errors import ConfigurationError
from backout.ledger.urls import as_ledger_url
from backout.settings import PREFIX, Settings

GROUP: Final = "BACKOUT"
"""The setting that may hold all of them: `BACKOUT = {"LEASE_SECONDS": 30}`."""
CELERY: Final = "CELERY"
"""The setting of Flask's Celery guide that holds Celery's."""
DATABASE: Final = "database_url"


def read_settings(app: Flask) -> dict[str, Any]:
    """Return the settings that a Flask app makes, by the names of `backout.settings.Settings`.

    What is `None` is not set. `database_url` is missing only where Celery's settings have it.

    Raises:
        ConfigurationError: a name is unknown, two places disagree, or there is no database; with what to write.
    """
    found: dict[str, Any] = {}
    places: dict[str, str] = {}
    of_celery = {name: value for _, name, value in _of_celery(app)}
    for place, name, value in [*_of_celery(app), *_of_config(app)]:
        if name not in Settings.model_fields:
            raise _unknown(place, name)
        if name in found and found[name] != value:
            raise ConfigurationError(
                problem=f"{places[name]} and {place} of app.config say different things", remedy="Keep one of them."
            )
        found[name] = value
        places[name] = place
    own = {name: value for name, value in found.items() if name not in of_celery}
    return own if DATABASE in of_celery else {**own, DATABASE: _find_database(app, own.get(DATABASE))}


def _of_config(app: Flask) -> Iterator[tuple[str, str, Any]]:
    """Yield each of our settings: where it is written, its name, its value."""
    group = app.config.get(GROUP) or {}
    if not isinstance(group, Mapping):
        raise ConfigurationError(
            problem=f"{GROUP} in app.config is a {type(group).__name__}",
            remedy=f'Write a mapping, {GROUP} = {{"LEASE_SECONDS": 30}}, or {GROUP}_LEASE_SECONDS = 30.',
        )
    prefix = f"{GROUP}_"
    listed = [(f"{GROUP}[{key!r}]", str(key), value) for key, value in group.items()]
    single = [(key, key.removeprefix(prefix), value) for key, value in app.config.items() if key.startswith(prefix)]
    for place, name, value in [*listed, *single]:
        if value is not None:
            yield place, name.lower(), value


def _of_celery(app: Flask) -> Iterator[tuple[str, str, Any]]:
    """Yield those of our settings that stand among Celery's."""
    celery = app.config.get(CELERY)
    if isinstance(celery, Mapping):
        for key, value in celery.items():
            if str(key).startswith(PREFIX) and value is not None:
                yield f"{CELERY}[{key!r}]", str(key).removeprefix(PREFIX), value


def _unknown(place: str, name: str) -> ConfigurationError:
    close = difflib.get_close_matches(name, Settings.model_fields, n=1)
    meant = ""
    if close:
        is_single = place.startswith(f"{GROUP}_")
        of_celery = place.startswith(CELERY)
        meant = f"{PREFIX}{close[0]}" if of_celery else f"{f'{GROUP}_' if is_single else ''}{close[0].upper()}"
    return ConfigurationError(
        problem=f"{place} of app.config is no setting of backout",
        remedy=f"Did you mean {meant}?" if meant else "Remove it; docs/reference/settings.md has them all.",
    )


def _find_database(app: Flask, given: Any) -> str:
    """Return the ledger's URL: the one that is given, else that of Flask-SQLAlchemy.

    Relative paths of SQLite files begin in the instance folder for both, so that equal URLs are equal files.
    """
    folder = Path(app.instance_path)
    if given is not None:
        return as_ledger_url(given, folder=folder, arguments={})
    engine = app.config.get("SQLALCHEMY_ENGINE_OPTIONS") or {}
    shared = app.config.get("SQLALCHEMY_DATABASE_URI") or engine.get("url")
    if shared is None:
        raise ConfigurationError(
            problem="app.config names no database for the ledger",
            remedy=f'Set {GROUP}_DATABASE_URL, for example to "postgresql+psycopg://user:password@host/name", or '
            "SQLALCHEMY_DATABASE_URI to share the one of Flask-SQLAlchemy; both before `Backout.init_app(app)`.",
        )
    return as_ledger_url(shared, folder=folder, arguments=engine.get("connect_args") or {})
