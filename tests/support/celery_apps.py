"""Celery apps for one test: in memory, never current, and forgotten afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery, _state

import backout.app
from backout.tasks.runtime import forget_runtime


@contextmanager
def fresh_app(name: str = "shop", **options: Any) -> Iterator[Celery]:
    """Give an app whose broker is this process's memory; what `install` did with it is undone at the end."""
    installed = list(backout.app._installed)
    app = Celery(name, set_as_current=False, broker="memory://", **options)
    try:
        yield app
    finally:
        backout.app._installed[:] = installed
        forget_runtime(app)
        app.close()


@contextmanager
def as_current(app: Celery) -> Iterator[None]:
    """Make an app the current one of this thread inside the block."""
    before = _state._tls.current_app
    app.set_current()
    try:
        yield
    finally:
        _state._set_current_app(before)
