"""The engine of a Django project: the Celery app's, on the database that Django uses just now."""

from __future__ import annotations

from typing import Any, Final

from celery import current_app
from django.db.backends.base.base import NO_DB_ALIAS

from backout.app import installed_app
from backout.errors import ConfigurationError
from backout.integrations.django.configuration import read_configuration
from backout.pipelines.engine import Engine
from backout.tasks.runtime import forget_runtime, renew_runtime, runtime_of

GUIDE: Final = (
    "Make one in proj/celery.py and import it in proj/__init__.py (`from .celery import app as celery_app`), as "
    "Celery's guide for Django says: docs.celeryq.dev, First steps with Django."
)


def find_engine() -> Engine:
    """Return the engine of the project: what `prefer_engine_resolver` takes.

    Raises:
        ConfigurationError: the project has no Celery app, or a setting cannot be used.
    """
    app = project_app()
    if app is current_app._get_current_object():
        # A test runner makes databases of its own, and copies of them for each of its processes.
        renew_runtime(app, read_configuration().database_url)
    return runtime_of(app)


def project_app() -> Any:
    """Return the Celery app of the project.

    Raises:
        ConfigurationError: there is none, or nothing has imported it.
    """
    app = current_app._get_current_object()
    if not is_made_by_celery(app):
        return app
    if (installed := installed_app()) is not None:
        return installed
    raise ConfigurationError(problem="this Django project has no Celery app, or has not imported it", remedy=GUIDE)


def is_made_by_celery(app: Any) -> bool:
    """Return whether an app is the one that Celery makes up where there is none: it has no broker of the project's."""
    return app.main == "default" and not app.fixups


def let_go_of_databases(connection: Any, **_: Any) -> None:
    """Close the ledger's connections before databases are made, copied or dropped: none of them may be in use.

    Receives `connection_created`: a test runner does all that on a connection that names no database.
    """
    app = current_app._get_current_object()
    if connection.alias == NO_DB_ALIAS and not is_made_by_celery(app):
        forget_runtime(app)
