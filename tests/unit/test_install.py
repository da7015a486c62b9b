"""`install`, and the settings as they come from a Celery configuration."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

import backout
from backout import ConfigurationError
from backout.pipelines.engine import current_engine
from backout.settings import Settings
from backout.tasks.runtime import configured, runtime_of
from backout.tasks.worker_steps import LedgerCheck, NoticeboardKeeper, SweeperProcess, app_name
from tests.support.celery_apps import as_current, fresh_app


@pytest.fixture
def app() -> Iterator[Celery]:
    """A Celery app that knows nothing of backout."""
    with fresh_app() as app:
        yield app


def test_install_returns_a_runtime_with_the_settings(app: Celery, sqlite_url: str) -> None:
    """What is given to `install` is in force, and everything else has its default."""
    runtime = backout.install(app, database_url=sqlite_url, lease_seconds=5, sweeper=False)
    assert runtime.settings == Settings(database_url=sqlite_url, lease_seconds=5, sweeper=False)
    assert runtime_of(app) is runtime
    assert app.conf.backout_lease_seconds == 5


def test_install_connects_to_nothing(app: Celery) -> None:
    """An app can be made where the database is not reachable yet, as in an image's build."""
    runtime = backout.install(app, database_url="postgresql+psycopg://nobody:secret@192.0.2.1/nowhere")
    assert runtime.unverified_ledger.shown_url == "postgresql+psycopg://nobody:***@192.0.2.1/nowhere"


def test_unknown_setting_is_refused_with_the_name_that_was_meant(app: Celery, sqlite_url: str) -> None:
    """A misspelt setting is never ignored."""
    with pytest.raises(ConfigurationError, match="backout_lease_second`") as refused:
        backout.install(app, database_url=sqlite_url, lease_second=5)
    assert refused.value.remedy == "did you mean `backout_lease_seconds`?"


def test_misspelt_database_url_is_recognised(app: Celery, sqlite_url: str) -> None:
    """The misspelt name is told about, not the one that seems to be missing because of it."""
    with pytest.raises(ConfigurationError) as refused:
        backout.install(app, databse_url=sqlite_url)
    assert refused.value.remedy == "did you mean `backout_database_url`?"


def test_refused_install_leaves_the_app_as_it_was(app: Celery, sqlite_url: str) -> None:
    """After a mistake in a shell the corrected call works."""
    before = backout.install(app, database_url=sqlite_url)
    with pytest.raises(ConfigurationError):
        backout.install(app, database_url=sqlite_url, lease_second=5)
    assert runtime_of(app) is before
    assert backout.install(app, database_url=sqlite_url, lease_seconds=5).settings.lease_seconds == 5


def test_missing_database_url_says_how_to_set_it(app: Celery) -> None:
    """An app without a ledger is told both ways to name one."""
    with pytest.raises(ConfigurationError) as refused:
        backout.install(app)
    assert "set `backout_database_url`" in refused.value.remedy
    assert "backout.install(app, database_url=…)" in refused.value.remedy


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("no url at all", "cannot be read as one"),
        ("oracle+nothing://somewhere/db", "needs a driver that is not there"),
        ("mssql://somewhere/db", "needs a driver that is not there"),
    ],
)
def test_database_that_cannot_be_used_is_refused(app: Celery, url: str, problem: str) -> None:
    """A wrong URL is found where the app is made, not by the first step."""
    with pytest.raises(ConfigurationError, match=problem):
        backout.install(app, database_url=url)


@pytest.mark.parametrize("setting", [{"lease_seconds": 0}, {"chain_links": 101}, {"max_payload_bytes": "much"}])
def test_value_that_cannot_be_used_is_refused(app: Celery, sqlite_url: str, setting: dict[str, Any]) -> None:
    """A setting outside its limits is refused by its full name."""
    [name] = setting
    with pytest.raises(ConfigurationError, match=f"`backout_{name}`"):
        backout.install(app, database_url=sqlite_url, **setting)


def test_second_install_replaces_the_first(app: Celery, sqlite_url: str) -> None:
    """The settings of the last call are in force, and nothing of an earlier one is left."""
    first = backout.install(app, database_url="sqlite:///elsewhere.sqlite3", lease_seconds=5)
    second = backout.install(app, database_url=sqlite_url, chain_links=7)
    assert second.settings == Settings(database_url=sqlite_url, chain_links=7)
    assert runtime_of(app) is second
    assert second is not first


def test_install_is_stronger_than_the_configuration(app: Celery, sqlite_url: str) -> None:
    """What the code says where the app is made wins over what was configured."""
    app.config_from_object(SimpleNamespace(CELERY_BACKOUT_DATABASE_URL="sqlite:///other.sqlite3"), namespace="CELERY")
    assert backout.install(app, database_url=sqlite_url).settings.database_url == sqlite_url


def test_settings_can_be_written_into_the_configuration(app: Celery, sqlite_url: str) -> None:
    """Without `install`, the Celery configuration is enough."""
    app.conf.backout_database_url = sqlite_url
    app.conf.backout_lease_seconds = 7
    assert runtime_of(app).settings == Settings(database_url=sqlite_url, lease_seconds=7)


def test_settings_can_come_with_the_app(sqlite_url: str) -> None:
    """Celery's own keyword arguments of an app reach backout as well."""
    with fresh_app(backout_database_url=sqlite_url) as app:
        assert runtime_of(app).settings == Settings(database_url=sqlite_url)


def test_settings_can_come_from_an_object(app: Celery, sqlite_url: str) -> None:
    """A module of settings is read as Celery reads its own."""
    app.config_from_object({"backout_database_url": sqlite_url, "backout_sweeper": False, "timezone": "UTC"})
    assert runtime_of(app).settings == Settings(database_url=sqlite_url, sweeper=False)


def test_settings_can_come_from_an_object_with_a_namespace(app: Celery, sqlite_url: str) -> None:
    """A Django project writes `CELERY_BACKOUT_…` beside its other settings."""
    settings = SimpleNamespace(
        CELERY_BACKOUT_DATABASE_URL=sqlite_url, CELERY_BACKOUT_CHAIN_LINKS=9, CELERY_TIMEZONE="UTC", DEBUG=True
    )
    app.config_from_object(settings, namespace="CELERY")
    assert runtime_of(app).settings == Settings(database_url=sqlite_url, chain_links=9)


@pytest.mark.parametrize("namespace", [None, "CELERY"])
def test_unknown_setting_of_a_configuration_is_refused(app: Celery, sqlite_url: str, namespace: str | None) -> None:
    """A misspelt setting is never ignored, wherever it is written."""
    settings: dict[str, object] = {"backout_database_url": sqlite_url, "backout_lease_second": 3}
    if namespace:
        settings = {f"{namespace}_{name.upper()}": value for name, value in settings.items()}
    app.config_from_object(settings, namespace=namespace)
    with pytest.raises(ConfigurationError) as refused:
        runtime_of(app)
    assert refused.value.remedy == "did you mean `backout_lease_seconds`?"


def test_other_settings_of_celery_are_none_of_ours(app: Celery) -> None:
    """An app without a setting of backout is not configured for it."""
    app.conf.task_default_queue = "slow"
    assert configured(app) == {}


def test_celery_masks_the_database_url(app: Celery) -> None:
    """A password in the URL is shown neither by Celery's reports nor by the settings themselves."""
    url = "postgresql+psycopg://shop:hunter2@db.example/ledger"
    runtime = backout.install(app, database_url=url)
    shown = f"{app.conf.humanize()} {app.conf.table()} {app.bugreport()} {runtime.settings!r}"
    assert "backout_database_url: '********'" in shown
    assert "hunter2" not in shown


def test_celery_masks_the_database_url_under_a_namespace(app: Celery) -> None:
    """The name under a namespace is masked as well."""
    url = "postgresql+psycopg://shop:hunter2@db.example/ledger"
    app.config_from_object({"CELERY_BACKOUT_DATABASE_URL": url}, namespace="CELERY")
    assert runtime_of(app).settings.database_url == url
    assert "hunter2" not in f"{app.conf.humanize()} {app.conf.table()}"


def test_worker_steps_are_added_once(app: Celery, sqlite_url: str) -> None:
    """A worker verifies its ledger once and keeps one sweeper, however often `install` was called."""
    for _ in range(3):
        backout.install(app, database_url=sqlite_url)
    assert sorted(step.__name__ for step in app.steps["worker"]) == sorted(
        (
            LedgerCheck.__name__,
            NoticeboardKeeper.__name__,
            SweeperProcess.__name__,
        )
    )


def test_app_without_install_gets_its_worker_steps_from_the_settings(app: Celery, sqlite_url: str) -> None:
    """A worker of an app that is configured by settings alone is no worse off."""
    app.conf.backout_database_url = sqlite_url
    backout.app._add_to_configured_worker(instance=SimpleNamespace(app=app))
    assert app.steps["worker"] == {LedgerCheck, NoticeboardKeeper, SweeperProcess}


def test_worker_of_an_app_without_backout_is_left_alone(app: Celery) -> None:
    """Importing a module that uses backout does not change somebody else's worker."""
    backout.app._add_to_configured_worker(instance=SimpleNamespace(app=app))
    assert not app.steps["worker"]


def test_app_that_was_installed_is_found_where_no_app_is_current(app: Celery, sqlite_url: str) -> None:
    """A web process that never makes an app current enqueues with the one that it installed."""
    runtime = backout.install(app, database_url=sqlite_url)
    with fresh_app("unrelated") as unrelated, as_current(unrelated):
        assert current_engine() is runtime


def test_current_app_comes_before_the_installed_one(app: Celery, sqlite_url: str) -> None:
    """Inside a worker's task the worker's own app decides."""
    backout.install(app, database_url="sqlite:///other.sqlite3")
    with fresh_app("current", backout_database_url=sqlite_url) as current, as_current(current):
        assert current_engine() is runtime_of(current)


def test_process_without_any_app_says_how_to_get_one(app: Celery) -> None:
    """Enqueueing where nothing is installed names the call that is missing."""
    backout.app._installed.clear()
    with as_current(app), pytest.raises(ConfigurationError, match=r"Call `backout\.install"):
        current_engine()


def test_sweeper_imports_the_app_by_the_name_in_the_settings(app: Celery, sqlite_url: str) -> None:
    """A worker that was started without `-A` can be told how its app is imported; otherwise nobody knows."""
    backout.install(app, database_url=sqlite_url)
    assert app_name(app) is None
    backout.install(app, database_url=sqlite_url, app="proj.celery:app")
    assert app_name(app) == "proj.celery:app"
