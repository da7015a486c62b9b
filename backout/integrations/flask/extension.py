"""`Backout`, the Flask extension: the Celery app and the settings of each Flask app, handed to the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from celery import Celery
from flask import Blueprint, Flask, current_app, has_app_context

from backout.app import install
from backout.errors import ConfigurationError
from backout.integrations.flask.celery_app import find_celery, make_celery, take_celery
from backout.integrations.flask.command import FlaskCommand
from backout.integrations.flask.configuration import read_settings
from backout.integrations.flask.pages import Authorize, backout_pages
from backout.integrations.flask.sessions import engines_of
from backout.integrations.flask.tables import keep_ledger
from backout.ledger.same_database import add_engine_source
from backout.ledger.urls import is_in_memory
from backout.pipelines.engine import Engine, prefer_engine_resolver
from backout.settings import PREFIX
from backout.tasks.runtime import add_app_settings_source, runtime_of

EXTENSION: Final = "backout"

_settings: Final[WeakKeyDictionary[Flask, Mapping[str, Any]]] = WeakKeyDictionary()
"""Of each Flask app that has a `Backout`, by the names that Celery's configuration has for them."""


class Backout:
    """backout for one Flask app or, with `init_app`, for any number of them.

    Inside an app context `pipeline.enqueue(…)` goes to that app's ledger and broker, whatever Celery's current app is.

    Args:
        app: to be set up at once.
        celery: the Celery app; without it the one in `app.extensions["celery"]`, which is where Flask's Celery guide
            has it. Where there is none, one is made in the same way, from `app.config["CELERY"]`.
    """

    def __init__(self, app: Flask | None = None, *, celery: Celery | None = None) -> None:
        self._given: Final = celery
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set up a Flask app; call it when `app.config` is complete. Nothing is connected.

        `app.extensions["backout"]` is this object, and `flask backout …` the command line.

        Raises:
            ConfigurationError: a setting is unknown, contradicts another one, is missing or cannot be used.
        """
        settings = read_settings(app)
        celery = self._given or find_celery(app) or make_celery(app)
        if self._given is not None:
            take_celery(app, celery)
        install(celery, **settings)
        _settings[app] = {f"{PREFIX}{name}": value for name, value in settings.items()}
        app.extensions[EXTENSION] = self
        keep_ledger(app)
        app.cli.add_command(FlaskCommand(lambda: self.celery_of(app)))

    def blueprint(self, authorize: Authorize, **options: Any) -> Blueprint:
        """Return the pages of runs and reviews, to be registered. See `backout_pages`."""
        return backout_pages(authorize, **options)

    def celery_of(self, app: Flask) -> Celery:
        """Return the Celery app of a Flask app, also one that came into `app.extensions` after `init_app`.

        Raises:
            ConfigurationError: `init_app` was not called with this app.
        """
        celery = self._given or find_celery(app)
        if celery is None or app not in _settings:
            raise ConfigurationError(
                problem=f"the Flask app {app.name!r} is not set up for backout",
                remedy="Call `Backout.init_app(app)` where it is made.",
            )
        return celery

    @property
    def celery(self) -> Celery:
        """The Celery app of the current Flask app."""
        return self.celery_of(current_app._get_current_object())  # type: ignore[attr-defined]  # a proxy

    @property
    def engine(self) -> Engine:
        """What enqueues and acts for the current Flask app.

        Raises:
            ConfigurationError: its database is in memory, where no worker could see it, or its Celery app was given to
                another Flask app as well, whose ledger is elsewhere.
        """
        runtime = runtime_of(self.celery)
        app = current_app._get_current_object()  # type: ignore[attr-defined]  # a proxy
        own = _settings[app].get(f"{PREFIX}database_url")
        if own is not None and own != runtime.settings.database_url:
            raise ConfigurationError(
                problem=f"the Celery app of the Flask app {app.name!r} was given to another, with another ledger",
                remedy="Give each Flask app a Celery app of its own: a worker looks after one ledger.",
            )
        if is_in_memory(runtime.settings.database_url):
            raise ConfigurationError(
                problem="the ledger would be a SQLite database in memory, which no worker can see",
                remedy="Set BACKOUT_DATABASE_URL; in tests use the fixture `backout_scratch`, whose ledger is its own.",
            )
        return runtime


def _settings_of(celery: Celery) -> Mapping[str, Any]:
    # Flask's guide may make the Celery app after `init_app`, or make it anew.
    return next((given for app, given in list(_settings.items()) if find_celery(app) is celery), {})


def _find_engine() -> Engine | None:
    extension = current_app.extensions.get(EXTENSION) if has_app_context() else None
    return extension.engine if isinstance(extension, Backout) else None


add_app_settings_source(_settings_of)
add_engine_source(engines_of)
prefer_engine_resolver(_find_engine)
