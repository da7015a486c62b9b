"""What Django's settings say: about backout, and about the database that holds the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from django.db.utils import ConnectionHandler
from django.test import override_settings
from sqlalchemy import make_url

from backout.errors import ConfigurationError
from backout.integrations.django import configuration, databases
from backout.integrations.django.engine import project_app
from backout.integrations.django.transactions import DjangoTransactions
from backout.ledger.session import Ledger
from backout.tasks.runtime import configured, forget_runtime, runtime_of

PG = "django.db.backends.postgresql"
LITE = "django.db.backends.sqlite3"
FULL = {"ENGINE": PG, "NAME": "shop", "USER": "me", "PASSWORD": "p@ss/wörd", "HOST": "db.example", "PORT": "5433"}


@pytest.fixture
def settings_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the databases be others."""

    def let_them_be(**given: dict[str, Any]) -> None:
        monkeypatch.setattr(databases, "connections", ConnectionHandler(given))

    return let_them_be


def url(settings_of: Any, **values: Any) -> Any:
    settings_of(default=values)
    return make_url(databases.url_of_alias("default"))


def test_server_is_reached_as_django_reaches_it(settings_of: Any) -> None:
    """User, password, host, port and name, whatever letters they have; what is left out is the driver's default."""
    found = url(settings_of, **FULL)
    assert (found.username, found.password, found.host, found.port) == ("me", "p@ss/wörd", "db.example", 5433)
    assert (found.drivername, found.database) == ("postgresql+psycopg", "shop")
    short = url(settings_of, ENGINE=PG, NAME="shop")
    assert short.render_as_string() == "postgresql+psycopg:///shop"


def test_folder_of_a_socket_is_a_host(settings_of: Any) -> None:
    """PostgreSQL's is given as `host`, with its port."""
    found = url(settings_of, ENGINE=PG, NAME="shop", HOST="/var/run/postgresql", PORT="5433")
    assert (found.host, dict(found.query)) == (None, {"host": "/var/run/postgresql", "port": "5433"})


def test_options_of_the_driver_are_carried_over_and_those_of_django_are_not(settings_of: Any) -> None:
    """What decides where and how to connect counts for the ledger too."""
    options = {
        "sslmode": "verify-full",
        "connect_timeout": 5,
        "keepalives": True,
        "options": "-c search_path=shop",
        "pool": {"min_size": 2},
        "isolation_level": 4,
        "server_side_binding": True,
        "assume_role": "owner of it",
    }
    assert dict(url(settings_of, **FULL, OPTIONS=options).query) == {
        "sslmode": "verify-full",
        "connect_timeout": "5",
        "keepalives": "1",
        "options": r"-c search_path=shop -c role=owner\ of\ it",
    }
    named = url(settings_of, ENGINE=PG, NAME="", OPTIONS={"service": "shop", "passfile": ".pgpass"})
    assert (named.database, dict(named.query)) == (None, {"service": "shop", "passfile": ".pgpass"})


def test_options_that_cannot_be_carried_over_are_refused(settings_of: Any) -> None:
    """Left out, the ledger might connect without encryption; the message says what to give."""
    settings_of(default={**FULL, "OPTIONS": {"sslcontext": object()}}, files={"ENGINE": LITE, "NAME": "a"})
    with pytest.raises(ConfigurationError, match=r"OPTIONS\['sslcontext'\] of the database 'default'.*DATABASE_URL"):
        databases.url_of_alias("default")
    with pytest.raises(ConfigurationError, match="in the memory of one connection"):
        url(settings_of, ENGINE=LITE, NAME=":memory:")


def test_databases_in_files_and_in_shared_memory(settings_of: Any) -> None:
    """A path stays a path, and the URI of Django's test database leads to the same memory."""
    assert str(url(settings_of, ENGINE=LITE, NAME="/srv/a shop.db")) == "sqlite:////srv/a shop.db"
    shared = url(settings_of, ENGINE=LITE, NAME="file:memorydb_default?mode=memory&cache=shared")
    assert shared.database == "file:memorydb_default"
    assert dict(shared.query) == {"mode": "memory", "cache": "shared", "uri": "true"}


@pytest.mark.parametrize(
    ("given", "alias"),
    [
        ("postgresql+psycopg://other:user@db.example:5433/shop", "server"),
        ("postgresql://db.example:5433/shop?sslmode=require", "server"),
        ("postgresql://db.example/shop", None),
        ("postgresql://127.0.0.1/here", "here"),
        ("postgresql+psycopg:///here?host=/var/run/postgresql", "here"),
        ("postgresql+psycopg:///here?host=/somewhere", None),
        ("postgresql://localhost/there", None),
        ("sqlite:////srv/shop.db", "file"),
        ("sqlite:////srv/other.db", None),
    ],
)
def test_url_of_the_ledger_is_recognised_among_the_databases(settings_of: Any, given: str, alias: str | None) -> None:
    """The same server, port and name are one database, whoever asks for it."""
    options = {"sslcontext": object()}
    settings_of(
        default={"ENGINE": PG, "NAME": "nowhere", "HOST": "elsewhere"},
        server={**FULL, "OPTIONS": options},
        here={"ENGINE": PG, "NAME": "here", "HOST": "localhost", "PORT": "5432"},
        file={"ENGINE": LITE, "NAME": "/srv/shop.db"},
        strange={"ENGINE": "django.db.backends.dummy", "NAME": ""},
    )
    with override_settings(BACKOUT={"DATABASE_URL": given}):
        assert configuration.read_configuration().alias == alias
    with override_settings(BACKOUT={"DATABASE_URL": given, "DATABASE": "here"}):
        assert configuration.read_configuration().alias == "here"


@pytest.fixture
def batch_of_eight() -> Iterator[Any]:
    """The Celery app, with a setting of its own."""
    app = project_app()
    forget_runtime(app)
    app.conf.backout_sweep_batch = 8
    yield app
    app.conf.backout_sweep_batch = None
    forget_runtime(app)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"LEASE_SECOND": 3}, "has the key 'LEASE_SECOND', which is none of backout's. Did you mean 'LEASE_SECONDS'"),
        ({"lease_seconds": 3}, "Did you mean 'LEASE_SECONDS'"),
        ({"DATABASE": "nowhere"}, "which is no alias of DATABASES. Name one of 'default', 'other', 'third'"),
        ({"SWEEP_BATCH": 7}, "BACKOUT['SWEEP_BATCH'] and Celery's setting `backout_sweep_batch` differ"),
        (["LEASE_SECONDS"], "the setting BACKOUT is a list"),
        ({"LEASE_SECONDS": "soon"}, "`backout_lease_seconds`"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(batch_of_eight: Any, given: Any, said: str) -> None:
    """Before anything is written, with what to write instead."""
    with override_settings(BACKOUT=given), pytest.raises(ConfigurationError) as caught:
        runtime_of(batch_of_eight)
    assert said in str(caught.value)


def test_settings_are_used_wherever_they_are_said(batch_of_eight: Any) -> None:
    """BACKOUT and CELERY_BACKOUT_… are one, and saying the same twice is no contradiction."""
    with override_settings(BACKOUT={"SWEEP_BATCH": 8, "LEASE_SECONDS": 31}):
        found = configured(batch_of_eight)
    assert (found["backout_sweep_batch"], found["backout_lease_seconds"]) == (8, 31)


def test_other_database_can_hold_the_ledger() -> None:
    """BACKOUT["DATABASE"] names it."""
    with override_settings(BACKOUT={"DATABASE": "other"}):
        found = configuration.read_configuration()
        ledger = Ledger(found.database_url)
        assert configuration.alias_of(ledger) == "other"
        with transaction.atomic(using="other"):
            joined = DjangoTransactions().find_open(ledger)
        with transaction.atomic():
            followed = DjangoTransactions().find_open(ledger)
    ledger.dispose()
    assert joined is not None
    assert followed is not None
    assert (found.alias, joined.connection is None, followed.connection is None) == ("other", False, True)


def test_url_of_a_database_follows_django_into_its_tests(batch_of_eight: Any) -> None:
    """A URL that was written for the project's database never leads a test there; where it would, it is refused."""
    url = databases.url_of_alias("default", at_start=True)
    here = databases.url_of_alias("default")
    assert url != here
    for given in ({"DATABASE_URL": url}, {"DATABASE_URL": url, "DATABASE": "default"}):
        with override_settings(BACKOUT=given):
            found = configuration.read_configuration()
        assert (found.database_url, found.alias) == (here, "default")
    batch_of_eight.conf.backout_database_url = url
    try:
        with pytest.raises(ConfigurationError, match="which follows Django"):
            runtime_of(batch_of_eight)
    finally:
        batch_of_eight.conf.backout_database_url = None
