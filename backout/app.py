"""`install`: wires the layers to a Celery app. The facade; decides nothing."""

from __future__ import annotations

from typing import Any, Final
from weakref import WeakKeyDictionary

from celery import Celery, current_app, signals

from backout.pipelines.engine import Engine, set_engine_resolver
from backout.settings import PREFIX, Settings
from backout.tasks.broker import apply_broker_defaults
from backout.tasks.registration import register_tasks
from backout.tasks.runtime import Runtime, configured, forget_runtime, has_runtime, runtime_of
from backout.tasks.worker_steps import LedgerCheck, NoticeboardKeeper, SweeperProcess

_installed: list[Celery] = []
_given: Final[WeakKeyDictionary[Celery, frozenset[str]]] = WeakKeyDictionary()
"""The settings that the last `install` of each app was given."""


def install(app: Celery, /, *, database_url: str | None = None, **settings: Any) -> Runtime:
    """Bind backout to a Celery app; call it where the app is made. A second call replaces the settings.

    Nothing is connected: the ledger's schema is verified by the worker when it starts, and at the first enqueue.

    Args:
        app: the Celery app; by position, because a setting has the same name.
        database_url: where the ledger is; `backout_database_url` in the Celery configuration does the same.
        settings: as in `backout.settings.Settings`, without the prefix.

    Raises:
        ConfigurationError: a setting is unknown, missing or cannot be used.
    """
    named = {f"{PREFIX}{name}": value for name, value in {"database_url": database_url, **settings}.items()}
    given = {key: value for key, value in named.items() if value is not None}
    replaced = _given.get(app, frozenset()) - given.keys()
    Settings.from_mapping({key: value for key, value in configured(app).items() if key not in replaced} | given)
    app.conf.update({**dict.fromkeys(replaced), **given})
    _given[app] = frozenset(given)
    forget_runtime(app)
    runtime = runtime_of(app)
    add_worker_steps(app)
    _installed[:] = [app]
    return runtime


def installed_app() -> Celery | None:
    """Return the app of the last `install`; `None` when there was none."""
    return _installed[0] if _installed else None


def add_worker_steps(app: Celery) -> None:
    """Let workers of this app verify the ledger, keep a sweeper, and keep their children informed."""
    app.steps["worker"].update({LedgerCheck, NoticeboardKeeper, SweeperProcess})


def _add_to_configured_worker(instance: Any = None, **_: Any) -> None:
    """Do the same for an app that is configured by `backout_*` settings alone.

    The broker's defaults also for one that was installed: settings that came after `install` are followed.
    """
    if instance is not None and configured(instance.app):
        apply_broker_defaults(instance.app)
        add_worker_steps(instance.app)


def _resolve_engine() -> Engine | None:
    app = current_app._get_current_object()
    # Reading its settings takes longer than a message: only until they have led to a runtime.
    if has_runtime(app) or configured(app):
        return runtime_of(app)
    return runtime_of(_installed[0]) if _installed else None


set_engine_resolver(_resolve_engine)
register_tasks()
signals.celeryd_init.connect(_add_to_configured_worker, weak=False)
