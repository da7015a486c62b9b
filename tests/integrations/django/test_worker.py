"""Web processes that die, a broker that is away, and steps with Django's ORM, on PostgreSQL with a real worker."""

from __future__ import annotations

import json
import signal
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backout.testing.servers import Broker
from backout.testing.servers.postgres import Postgres, client_url
from tests.integrations.django import names
from tests.integrations.django.buyer import COMMITTED, PLACES
from tests.integrations.django.gates import Gate
from tests.integrations.django.outside import database, environment, manage, python
from tests.support.corners import RedisCorner
from tests.support.waiting import wait_until
from tests.support.worker import Worker

SECONDS = 30.0
NOWHERE = "redis://127.0.0.1:1/0"
BUYER = ("-m", "tests.integrations.django.buyer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A project with a worker, and the connection of somebody who looks at its database."""

    settings: dict[str, Any]
    gates: Path
    connection: psycopg.Connection[Any]

    def ask(self, sql: str, *values: Any) -> list[Any]:
        return [row[0] for row in self.connection.execute(sql, values)]

    def buy(self, number: str, place: str = "", *, pipeline: str = "fulfil", **settings: Any) -> None:
        expect = -signal.SIGKILL if place else 0
        python(*BUYER, pipeline, number, place, expect=expect, **{**self.settings, **settings})

    def orders_and_runs(self, numbers: list[str]) -> tuple[list[str], list[str]]:
        return (
            sorted(self.ask("SELECT number FROM shop_order WHERE number = ANY(%s)", numbers)),
            sorted(self.ask("SELECT source_event_id FROM backout_run WHERE source_event_id = ANY(%s)", numbers)),
        )

    def state(self, number: str) -> str:
        (found,) = self.ask("SELECT state FROM backout_run WHERE source_event_id = %s", number)
        return str(found)

    def wait_for(self, number: str, state: str = "succeeded") -> None:
        wait_until(lambda: self.state(number) == state, SECONDS, f"the run of {number!r} is {state}")

    def deeds(self, number: str) -> list[str]:
        return self.ask("SELECT what FROM shop_deed WHERE number = %s ORDER BY id", number)

    def gate(self, name: str) -> Gate:
        return Gate(self.gates, name)

    def end_all_connections(self) -> None:
        self.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
            "pg_backend_pid()"
        )


@pytest.fixture(scope="module")
def shop(postgres: Postgres, broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The project on a database and a corner of the broker of its own, with one worker of one process."""
    folder = tmp_path_factory.mktemp("django")
    name = f"django_{uuid.uuid4().hex[:12]}"
    url = postgres.create_database(name)
    corner = RedisCorner(broker, visibility_seconds=3600)
    settings = {
        "DATABASES": {"default": {**database(url), "CONN_MAX_AGE": 0}},
        "BACKOUT": {"LEASE_SECONDS": 2.0, "SWEEP_INTERVAL_SECONDS": 0.5, "RESEND_SECONDS": 2.0},
        "CELERY_BROKER_URL": corner.url,
        "CELERY_BROKER_TRANSPORT_OPTIONS": corner.settings["broker_transport_options"],
        # Says when the worker is ready.
        "CELERY_IMPORTS": ["tests.support.apps.making"],
    }
    manage("migrate", **settings)
    worker = Worker(
        "tests.integrations.django.project",
        "--concurrency",
        "1",
        "--hostname",
        f"{name}@%h",
        environment={**environment(**settings), names.GATES: str(folder)},
        log=folder / "worker.log",
    )
    try:
        worker.wait_until_ready()
        with closing(psycopg.connect(client_url(url), autocommit=True)) as connection:
            yield Shop(settings=settings, gates=folder, connection=connection)
    except BaseException:
        print(worker.log)
        raise
    finally:
        worker.kill()
        corner.close()
        postgres.drop_database(name)


def test_rows_and_runs_agree_wherever_the_web_process_dies(shop: Shop) -> None:
    """Before COMMIT there is neither; from COMMIT on there is one of each, and the run is brought to its end."""
    numbers = {place: f"dies {place}" for place in PLACES}
    for place, number in numbers.items():
        shop.buy(number, place)
    committed = sorted(numbers[place] for place in COMMITTED)
    assert shop.orders_and_runs(list(numbers.values())) == (committed, committed)
    for number in committed:
        shop.wait_for(number)
        assert shop.deeds(number) == ["reserve", "letter"]


def test_broker_that_is_away_takes_nothing_from_an_order(shop: Shop) -> None:
    """The web process does not fail, and the sweeper sends what it could not."""
    shop.buy("away", CELERY_BROKER_URL=NOWHERE)
    shop.buy("away and dies", "sent", CELERY_BROKER_URL=NOWHERE)
    for number in ("away", "away and dies"):
        assert shop.orders_and_runs([number]) == ([number], [number])
        shop.wait_for(number)


def test_ledger_elsewhere_is_written_after_the_commit(shop: Shop, tmp_path: Path) -> None:
    """A process that dies between the two commits loses the run, as the page says; one that lives does not."""
    url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    settings = {**shop.settings, "BACKOUT": {"DATABASE_URL": url}, "CELERY_BROKER_URL": NOWHERE}
    manage("backout", "ledger", "upgrade", **settings)
    python(*BUYER, "fulfil", "elsewhere", **settings)
    python(*BUYER, "fulfil", "elsewhere, lost", "committed", expect=-signal.SIGKILL, **settings)
    python(*BUYER, "fulfil", "elsewhere, never", "run recorded", expect=-signal.SIGKILL, **settings)
    listed = json.loads(manage("backout", "runs", "list", "--json", **settings))["runs"]
    assert [run["source_event_id"] for run in listed] == ["elsewhere"]
    assert shop.orders_and_runs(["elsewhere", "elsewhere, lost", "elsewhere, never"]) == (
        ["elsewhere", "elsewhere, lost"],
        [],
    )


@pytest.mark.parametrize("fails", [False, True])
def test_steps_and_compensations_open_the_orm_anew(shop: Shop, fails: bool) -> None:
    """A server that closes its connections between two steps is not noticed: Django's are closed around each."""
    number = f"gated {fails}"
    enqueue = (
        "import django; django.setup();"
        "from tests.integrations.django.project.shop.pipelines import gated;"
        f"gated.enqueue({{'number': {number!r}, 'fails': {fails}}}, source_event_id={number!r})"
    )
    python("-c", enqueue, **shop.settings)
    for name in ("second", "undo") if fails else ("second",):
        gate = shop.gate(f"{number} {name}")
        gate.wait_until_reached()
        shop.end_all_connections()
        gate.open()
    shop.wait_for(number, "rolled_back" if fails else "succeeded")
    assert shop.deeds(number) == ["first", "second", *(["undo"] if fails else [])]
