"""What the command line needs of a Celery app; imported only where one is named."""

from __future__ import annotations

import os
import traceback
from importlib.util import find_spec
from typing import Any

from celery.app.utils import find_app
from celery.utils.imports import import_from_cwd

from backout.cli.lazy import load
from backout.errors import BackoutError, ConfigurationError
from backout.tasks.runtime import runtime_of


def import_app(name: str) -> Any:
    """Return the Celery app of that name, found as `celery -A` finds it.

    Raises:
        ConfigurationError: it cannot be imported, or is no app.
    """
    try:
        app = find_app(name)
    except BackoutError:
        raise
    except Exception as error:
        raise _refuse(f"the Celery app {name!r}", error) from error
    if not hasattr(app, "loader"):
        raise ConfigurationError(
            problem=f"{name!r} is a {type(app).__name__} and no Celery app",
            remedy="Name the app as for `celery -A`, such as proj or proj.celery:app.",
        )
    set_up_django()
    return app


def set_up_django() -> None:
    """Set up Django where Celery would, so that its settings are known: a worker does so before it imports tasks.

    Raises:
        ConfigurationError: Django cannot be set up.
    """
    if not os.environ.get("DJANGO_SETTINGS_MODULE") or find_spec("django") is None:
        return
    try:
        load("django:setup")()
    except BackoutError:
        raise
    except Exception as error:
        raise _refuse("Django's settings or one of its apps", error) from error


def database_url_of(app: Any) -> str:
    """Return the URL of the ledger that an app uses.

    Raises:
        ConfigurationError: the app is not set up for backout.
    """
    url: str = runtime_of(app).settings.database_url
    return url


def import_pipelines(app: Any) -> None:
    """Import the modules that a worker of this app would import, and with them their pipelines.

    Raises:
        ConfigurationError: one of them cannot be imported.
        DefinitionError: a pipeline in one of them may not be defined like that.
    """
    try:
        app.loader.import_default_modules()
        app.finalize()
    except BackoutError:
        raise
    except Exception as error:
        raise _refuse("the task modules of the Celery app", error) from error


def import_module_from_here(name: str) -> None:
    """Import a module, found also in the working directory.

    Raises:
        ConfigurationError: it cannot be imported.
        DefinitionError: a pipeline in it may not be defined like that.
    """
    try:
        import_from_cwd(name)
    except BackoutError:
        raise
    except Exception as error:
        raise _refuse(f"the module {name!r}", error) from error


def _refuse(what: str, error: Exception) -> ConfigurationError:
    last = traceback.extract_tb(error.__traceback__)[-1]
    # The last frame of a module that is simply not there is the import system's own.
    place = "" if last.filename.startswith("<frozen") else f" ({last.filename}, line {last.lineno})"
    return ConfigurationError(
        problem=f"{what} cannot be imported: {type(error).__name__}: {error}{place}",
        remedy="Check the name, and that its folder is the working directory or on PYTHONPATH.",
    )
