"""The Celery app of a Flask app: the one that is there, or one made as Flask's Celery guide does."""

from __future__ import annotations

from typing import Any, Final

from celery import Celery, Task
from flask import Flask

from backout.integrations.flask.configuration import CELERY

EXTENSION: Final = "celery"
"""Where Flask's Celery guide keeps the Celery app: `app.extensions["celery"]`."""
_ATTRIBUTE: Final = "_backout_flask_app"
"""Of a Celery app: the Flask app of its tasks. The Celery app keeps it alive, where a worker knows nothing else."""


class FlaskTask(Task):
    """A task that runs inside the app context of its Flask app."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Run the task; at the end Flask takes the context down, and Flask-SQLAlchemy its session."""
        flask_app: Flask = getattr(self.app, _ATTRIBUTE)
        with flask_app.app_context():
            return self.run(*args, **kwargs)


def find_celery(app: Flask) -> Celery | None:
    """Return the Celery app that a Flask app has; `None` when it has none."""
    found = app.extensions.get(EXTENSION)
    return found if isinstance(found, Celery) else None


def make_celery(app: Flask) -> Celery:
    """Give a Flask app a Celery app, with the settings of `app.config["CELERY"]`.

    Source: Flask, "Background Tasks with Celery".
    """
    celery = Celery(app.name, task_cls=FlaskTask)
    celery.config_from_object(app.config.get(CELERY) or {})
    celery.set_default()
    setattr(celery, _ATTRIBUTE, app)
    app.extensions[EXTENSION] = celery
    return celery


def take_celery(app: Flask, celery: Celery) -> None:
    """Let a Celery app that was given be the one of a Flask app, and its tasks run inside the app context.

    Tasks with a class of their own, as in Flask's guide, are left alone.
    """
    if "Task" not in celery.__dict__ and _is_plain(celery.task_cls):
        celery.task_cls = FlaskTask
    # The newest one counts: a module's Celery app is given to each app that a factory makes.
    setattr(celery, _ATTRIBUTE, app)
    app.extensions.setdefault(EXTENSION, celery)


def _is_plain(task_class: Any) -> bool:
    return task_class is Task or task_class in (None, Celery.task_cls)
