"""The extension: which settings, which Celery app, and whose ledger is meant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, Task
from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import text

from backout import ConfigurationError
from backout.errors import SchemaMismatch
from backout.identifiers import RunId
from backout.integrations.flask import Backout, without_ledger
from backout.ledger import queries
from backout.ledger.session import Ledger
from backout.settings import Settings
from backout.tasks.runtime import configured, runtime_of
from backout.testing import Scratch
from tests.integrations.flask.apps import MakeApp, app_maker, upgrade
from tests.integrations.flask.project.pipelines import Wish, ship
from tests.support.celery_apps import as_current, fresh_app

URL = "postgresql+psycopg://shop@db/shop"
WISH = Wish(name="a book")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeApp]:
    with app_maker(tmp_path) as making:
        yield making


def settings_of(app: Flask) -> Settings:
    return runtime_of(app.extensions["celery"]).settings


def has_run(ledger: Ledger, run_id: RunId) -> bool:
    return ledger.read(lambda connection: queries.find_run(connection, run_id)) is not None


# --- Settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {"BACKOUT": {"LEASE_SECONDS": 7, "database_url": URL}},
        {"BACKOUT_LEASE_SECONDS": "7", "BACKOUT_DATABASE_URL": URL},
        {"BACKOUT": {"lease_seconds": 7}, "BACKOUT_DATABASE_URL": "postgresql://shop@db/shop"},
        {"BACKOUT": {"LEASE_SECONDS": 7}, "SQLALCHEMY_DATABASE_URI": "postgresql+psycopg2://shop@db/shop"},
        {"BACKOUT": {"LEASE_SECONDS": 7}, "BACKOUT_LEASE_SECONDS": 7, "BACKOUT_DATABASE_URL": URL},
        {"CELERY": {"backout_lease_seconds": 7, "backout_database_url": URL}, "BACKOUT_DATABASE_URL": None},
    ],
)
def test_settings_are_read_from_the_config(make: MakeApp, config: dict[str, Any]) -> None:
    """All ways to write a setting lead to the same: in a mapping, one by one, among Celery's, by Flask-SQLAlchemy."""
    app = make()
    app.config.update(config)
    Backout(app)
    found = settings_of(app)
    assert (found.lease_seconds, found.database_url) == (7.0, URL)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"BACKOUT": {"LEESE_SECONDS": 7}}, "BACKOUT['LEESE_SECONDS'] of app.config.*Did you mean LEASE_SECONDS?"),
        ({"BACKOUT_LEESE_SECONDS": 7}, "Did you mean BACKOUT_LEASE_SECONDS?"),
        ({"BACKOUT_MENU": "left"}, "Remove it"),
        ({"CELERY": {"backout_leese_seconds": 7}}, "Did you mean backout_lease_seconds?"),
        ({"BACKOUT": {"LEASE_SECONDS": 7}, "BACKOUT_LEASE_SECONDS": 8}, "say different things"),
        ({"CELERY": {"backout_lease_seconds": 7}, "BACKOUT_LEASE_SECONDS": 8}, "say different things"),
        ({"BACKOUT": [("LEASE_SECONDS", 7)]}, "BACKOUT in app.config is a list"),
        ({"BACKOUT_LEASE_SECONDS": "soon"}, "backout_lease_seconds"),
        ({"SQLALCHEMY_DATABASE_URI": None}, "names no database for the ledger.*BACKOUT_DATABASE_URL"),
        ({"SQLALCHEMY_DATABASE_URI": "oracle://shop@db"}, "cannot live in oracle.*database_url"),
        ({"SQLALCHEMY_DATABASE_URI": "postgresql+pg8000://db/shop?ssl_context=x"}, "ssl_context is not known"),
        ({"SQLALCHEMY_ENGINE_OPTIONS": {"connect_args": {"sslcontext": object()}}}, "'sslcontext' cannot be written"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(make: MakeApp, config: dict[str, Any], said: str) -> None:
    """A misspelt, contradicting or missing setting is an error at `init_app`, which says what to write."""
    app = make(SQLALCHEMY_DATABASE_URI=URL)
    app.config.update(config)
    with pytest.raises(ConfigurationError, match=said.replace("[", r"\[").replace("?", r"\?")):
        Backout(app)
    assert "backout" not in app.extensions


def test_arguments_of_the_driver_are_carried_over(make: MakeApp) -> None:
    """What Flask-SQLAlchemy hands to libpq besides the URL, the ledger hands over too; its pool's size it does not."""
    arguments = {"sslmode": "require", "connect_timeout": 3, "cursor_factory": object()}
    options = {"pool_size": 3, "connect_args": arguments}
    app = make(SQLALCHEMY_DATABASE_URI="postgresql://shop@db/shop?options=-cx", SQLALCHEMY_ENGINE_OPTIONS=options)
    Backout(app)
    assert settings_of(app).database_url == f"{URL}?connect_timeout=3&options=-cx&sslmode=require"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("postgresql+asyncpg://u:p%40ss@db:5433/shop", "postgresql+psycopg://u:p%40ss@db:5433/shop"),
        ("mysql://u@db/shop?charset=utf8", "mysql+pymysql://u@db/shop"),
        ("mariadb+mariadbconnector://u@db/shop", "mariadb+pymysql://u@db/shop"),
        ("sqlite:////data/shop.sqlite3?timeout=30", "sqlite:////data/shop.sqlite3"),
    ],
)
def test_other_drivers_lead_to_the_same_database(make: MakeApp, theirs: str, ours: str) -> None:
    """Whatever driver the application speaks through, the ledger speaks to the same database through its own."""
    app = make(SQLALCHEMY_DATABASE_URI=theirs)
    Backout(app)
    assert settings_of(app).database_url == ours


@pytest.mark.parametrize("setting", ["SQLALCHEMY_DATABASE_URI", "BACKOUT_DATABASE_URL"])
def test_relative_file_is_the_one_of_flask_sqlalchemy(make: MakeApp, setting: str) -> None:
    """A relative SQLite URL leads to the file in the instance folder that Flask-SQLAlchemy opens."""
    app = make(**{"SQLALCHEMY_DATABASE_URI": "sqlite:///shop.sqlite3", setting: "sqlite:///shop.sqlite3"})
    db = SQLAlchemy(app)
    Backout(app)
    with app.app_context():
        assert settings_of(app).database_url == str(db.engine.url)


# --- Celery -----------------------------------------------------------------------------------------------------------


def init_celery(app: Flask) -> Celery:
    """Make a Celery app as Flask's guide does."""

    class FlaskTask(Task):
        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery = Celery(app.name, task_cls=FlaskTask)
    celery.config_from_object(app.config["CELERY"])
    celery.set_default()
    app.extensions["celery"] = celery
    return celery


def name_in_task(celery: Celery) -> str:
    """Return the name of the Flask app in whose context a task runs."""

    @celery.task(shared=False)
    def read_name() -> str:
        return current_app.name

    name: str = read_name.apply().get()
    return name


@pytest.mark.parametrize("comes", ["before", "after"])
def test_celery_app_of_the_guide_is_used(make: MakeApp, comes: str, tmp_path: Path) -> None:
    """The Celery app of Flask's guide is taken as it is, in whichever order the two are set up."""
    app = make(BACKOUT_DATABASE_URL="sqlite:///ledger.sqlite3", BACKOUT_LEASE_SECONDS=7)
    theirs = init_celery(app) if comes == "before" else None
    extension = Backout(app)
    theirs = theirs or init_celery(app)
    assert extension.celery_of(app) is theirs
    assert configured(theirs)["backout_lease_seconds"] == 7
    ledger = upgrade(settings_of(app).database_url)
    with app.app_context():
        run = ship.enqueue(WISH)
    assert has_run(ledger, run.id)


def test_app_without_celery_gets_one(make: MakeApp) -> None:
    """One line is enough: the Celery app is made from `app.config["CELERY"]`, and its tasks run in the app context."""
    app = make(BACKOUT_DATABASE_URL="sqlite:///ledger.sqlite3")
    Backout().init_app(app)
    celery = app.extensions["celery"]
    assert celery.conf.broker_url == "memory://"

    assert name_in_task(celery) == "shop"


def test_celery_app_that_is_given_runs_tasks_in_the_context_of_the_newest_app(make: MakeApp) -> None:
    """A module's plain Celery app, given to each app of a factory, works for the app that was made last."""
    with fresh_app() as celery:
        extension = Backout(celery=celery)
        first, app = (make(name, BACKOUT_DATABASE_URL="sqlite:///ledger.sqlite3") for name in ("first", "second"))
        extension.init_app(first)
        extension.init_app(app)

        assert name_in_task(celery) == "second"
        assert extension.celery_of(app) is celery
        assert Path(runtime_of(celery).settings.database_url).parent.name == "second"


# --- Whose ledger -----------------------------------------------------------------------------------------------------


def test_two_apps_in_one_process_have_two_ledgers(make: MakeApp) -> None:
    """Inside an app context a run goes to that app's ledger, whatever Celery's current app is; outside to Celery's."""
    extension = Backout()
    apps, ledgers = {}, {}
    for name in ("left", "right"):
        apps[name] = make(name, BACKOUT_DATABASE_URL="sqlite:///ledger.sqlite3")
        extension.init_app(apps[name])
        assert apps[name].extensions["backout"] is extension
        ledgers[name] = upgrade(settings_of(apps[name]).database_url)
    # The right one was made last; the left one is made Celery's current app.
    with as_current(apps["left"].extensions["celery"]):
        outside = ship.enqueue(WISH)
        with apps["right"].app_context():
            right = ship.enqueue(WISH)
            with apps["left"].app_context():
                left = ship.enqueue(WISH)
    for run, name in ((outside, "left"), (right, "right"), (left, "left")):
        assert [has_run(ledger, run.id) for ledger in ledgers.values()] == [name == "left", name == "right"]


def test_run_is_written_through_the_bind_that_is_the_ledgers(make: MakeApp) -> None:
    """With several binds the run goes to the one whose database is the ledger's, in the session's transaction."""
    binds = {"archive": "sqlite:///archive.sqlite3", "work": "sqlite:///work.sqlite3"}
    app = make(SQLALCHEMY_DATABASE_URI="sqlite:///users.sqlite3", SQLALCHEMY_BINDS=binds)
    app.config["BACKOUT_DATABASE_URL"] = "sqlite:///work.sqlite3"
    db = SQLAlchemy(app)
    Backout(app)
    ledger = upgrade(settings_of(app).database_url)
    with app.app_context():
        for _ in range(2):
            dropped = ship.enqueue(WISH, session=db.session)
            db.session.rollback()
            kept = ship.enqueue(WISH, session=db.session)
            db.session.commit()
            assert (has_run(ledger, dropped.id), has_run(ledger, kept.id)) == (False, True)


def test_celery_app_of_two_flask_apps_with_two_ledgers_is_refused(make: MakeApp) -> None:
    """One worker looks after one ledger: the app whose ledger it is not any more is told, and nothing is written."""
    celery = Celery("shared", broker="memory://", set_as_current=False)
    first, second = (make(name, BACKOUT_DATABASE_URL=f"sqlite:///{name}.sqlite3") for name in ("first", "second"))
    for app in (first, second):
        Backout(app, celery=celery)
        upgrade(settings_of(app).database_url)
    with second.app_context():
        assert ship.enqueue(WISH).was_created
    with first.app_context(), pytest.raises(ConfigurationError, match="a Celery app of its own"):
        ship.enqueue(WISH)


def test_session_without_the_ledgers_database_is_refused(make: MakeApp) -> None:
    """None of the binds is the ledger's: an error that says so, and the order is committed all the same."""
    app = make(SQLALCHEMY_DATABASE_URI="sqlite:///users.sqlite3", BACKOUT_DATABASE_URL="sqlite:///ledger.sqlite3")
    db = SQLAlchemy(app)
    Backout(app)
    upgrade(settings_of(app).database_url)
    with app.app_context():
        db.session.execute(text("CREATE TABLE shop_order (id INTEGER)"))
        db.session.execute(text("INSERT INTO shop_order VALUES (1)"))
        with pytest.raises(ConfigurationError, match="the ledger is another database"):
            ship.enqueue(WISH, session=db.session)
        db.session.commit()
        assert db.session.execute(text("SELECT count(*) FROM shop_order")).scalar_one() == 1
        db.session.remove()
        db.engine.dispose()


def test_ledger_that_was_not_upgraded_is_said_at_once(make: MakeApp) -> None:
    """In a file that the request is just writing, a forgotten `ledger upgrade` is an error, and no wait for a lock."""
    app = make(SQLALCHEMY_DATABASE_URI="sqlite:///shop.sqlite3")
    db = SQLAlchemy(app)
    Backout(app)
    with app.app_context():
        db.session.execute(text("CREATE TABLE shop_order (id INTEGER)"))
        db.session.commit()
        db.session.execute(text("INSERT INTO shop_order VALUES (1)"))
        with pytest.raises(SchemaMismatch, match="ledger upgrade"):
            ship.enqueue(WISH, session=db.session)
        db.session.commit()
        db.session.remove()
        db.engine.dispose()


def test_database_in_memory_is_refused_when_it_is_used(make: MakeApp) -> None:
    """The settings of a test suite do not keep the app from being made; only enqueueing needs a real ledger."""
    app = make(SQLALCHEMY_DATABASE_URI="sqlite:///:memory:")
    Backout(app)
    with app.app_context(), pytest.raises(ConfigurationError, match="backout_scratch"):
        ship.enqueue(WISH)


def test_scratch_ledger_of_a_test_takes_what_a_view_enqueues(make: MakeApp, tmp_path: Path) -> None:
    """With `backout_scratch` a view that hands `db.session` over is tested unchanged, on a database in memory."""
    app = make(SQLALCHEMY_DATABASE_URI="sqlite:///:memory:")
    db = SQLAlchemy(app)
    Backout(app)
    with app.app_context(), Scratch(tmp_path) as scratch:
        run = ship.enqueue(WISH, session=db.session)
        db.session.commit()
        scratch.settle()
        assert run.status().subject_id == WISH.name
        db.session.remove()
        db.engine.dispose()


# --- Tables and commands ----------------------------------------------------------------------------------------------


def test_flask_migrate_leaves_the_ledger_alone() -> None:
    """Alembic compares every table with the models but the ledger's, which have none."""
    assert without_ledger("shop_order", "table", {"schema_name": None})
    assert without_ledger("id", "column", {"schema_name": None, "table_name": "shop_order"})
    assert without_ledger(None, "schema", {})
    assert not without_ledger("backout_run", "table", {"schema_name": None})
    assert not without_ledger("backout_schema", "table", {"schema_name": None})
    assert not without_ledger("ix_backout_run_state", "index", {"schema_name": None, "table_name": "backout_run"})


def test_commands_of_flask_are_the_whole_command_line(make: MakeApp) -> None:
    """`flask backout …` works on the app's ledger: help, answers in JSON, exit codes, and what to type next."""
    app = make(BACKOUT_DATABASE_URL="sqlite:///ledger.sqlite3")
    Backout(app)
    runner = app.test_cli_runner(env={"BACKOUT_DATABASE_URL": None, "BACKOUT_APP": None})
    assert "needs-person" in runner.invoke(args=["backout", "--help"]).output
    assert runner.invoke(args=["backout", "ledger", "verify"]).exit_code != 0
    assert runner.invoke(args=["backout", "ledger", "upgrade"]).exit_code == 0
    with app.app_context():
        run = ship.enqueue(WISH)
    listed = json.loads(runner.invoke(args=["backout", "runs", "list", "--json"]).output)
    assert [item["id"] for item in listed["runs"]] == [run.id]
    shown = runner.invoke(args=["backout", "runs", "show", run.id])
    assert (shown.exit_code, "pending" in shown.output) == (0, True)
    assert "flask backout runs" in runner.invoke(args=["backout", "runs", "next", run.id]).output
    assert runner.invoke(args=["backout", "runs", "show", "nothing"]).exit_code == 3
    cancelled = runner.invoke(args=["backout", "runs", "cancel", run.id, "--reason", "not wanted", "--yes"])
    assert (cancelled.exit_code, run.status().state.value) == (0, "cancelled")
