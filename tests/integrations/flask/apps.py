"""Flask apps of one test, forgotten afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from celery import _state
from flask import Flask

import backout.app
from backout.ledger import schema
from backout.ledger.session import Ledger
from backout.tasks.runtime import forget_runtime

MakeApp = Callable[..., Flask]
MEMORY = {"broker_url": "memory://"}


@contextmanager
def app_maker(folder: Path) -> Iterator[MakeApp]:
    """Give what makes Flask apps with instance folders of their own; what they did to Celery is undone at the end."""
    installed, default, current = list(backout.app._installed), _state.default_app, _state._tls.current_app
    made: list[Flask] = []

    def make(name: str = "shop", **config: Any) -> Flask:
        app = Flask(name, instance_path=str(folder / name))
        app.config.update(CELERY=MEMORY, **config)
        made.append(app)
        return app

    try:
        yield make
    finally:
        for app in made:
            if (celery := app.extensions.get("celery")) is not None:
                forget_runtime(celery)
                celery.close()
        backout.app._installed[:] = installed
        _state.set_default_app(default)
        _state._set_current_app(current)


def upgrade(database_url: str) -> Ledger:
    """Return a ledger with its tables."""
    ledger = Ledger(database_url)
    schema.upgrade(ledger)
    return ledger
