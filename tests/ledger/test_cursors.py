"""Runs that are recorded on a cursor of somebody else's, as an ORM that is not SQLAlchemy hands it out."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pymysql
import pytest
from sqlalchemy import make_url

from backout.identifiers import new_run_id
from backout.ledger import queries, transitions
from backout.ledger.cursors import CursorConnection
from backout.ledger.session import Ledger
from tests.support.ledgers import describe_run

ERRORS = {"postgresql": psycopg.IntegrityError, "mariadb": pymysql.IntegrityError, "sqlite": sqlite3.IntegrityError}


class Owner:
    """Somebody with a driver's connection and a transaction on it."""

    def __init__(self, ledger: Ledger) -> None:
        self.kind = ledger.dialect.name
        url = make_url(str(ledger._url.render_as_string(hide_password=False)))
        place = {"host": url.host, "user": url.username, "port": url.port, "password": url.password or ""}
        options = dict(url.query)
        self.driver: Any
        if self.kind == "postgresql":
            plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
            self.driver = psycopg.connect(plain, cursor_factory=psycopg.ClientCursor)
        elif self.kind == "sqlite":
            self.driver = sqlite3.connect(str(url.database), isolation_level="IMMEDIATE")
        else:
            self.driver = pymysql.connect(**place, database=url.database, **options)

    @property
    def connection(self) -> CursorConnection:
        """What a run is recorded on."""
        database = {"mariadb": "mysql"}.get(self.kind, self.kind)
        return CursorConnection(database, self.cursor, integrity_error=ERRORS[self.kind])

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """Open a cursor that takes `%s`, as Django's do for each database."""
        with closing(self.driver.cursor()) as cursor:
            yield QuestionMarks(cursor) if self.kind == "sqlite" else cursor


class QuestionMarks:
    """A cursor of SQLite that takes `%s`."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self.cursor = cursor
        self.fetchall = cursor.fetchall

    def execute(self, sql: str, parameters: Any) -> None:
        # An ORM that logs what it executes fills the text in like this.
        _ = sql % tuple(parameters)
        self.cursor.execute(sql.replace("%s", "?").replace("%%", "%"), parameters)


@pytest.fixture
def owner(ledger: Ledger) -> Iterator[Owner]:
    one = Owner(ledger)
    yield one
    one.driver.close()


def everything(ledger: Ledger, run_id: Any) -> list[dict[str, Any]]:
    """Return all that is recorded of a run, but ids and instants."""
    own = {"id", "run_id", "task_id", "idempotency_key", "at"}

    def read(connection: Any) -> list[dict[str, Any]]:
        records: list[Any] = [queries.find_run(connection, run_id)]
        records += queries.list_steps(connection, run_id) + queries.list_entries(connection, run_id)
        return [
            {name: value for name, value in dataclasses.asdict(one).items() if name not in own and "_at" not in name}
            for one in records
        ]

    return ledger.read(read)


def test_run_is_recorded_as_on_a_connection_of_the_ledger(ledger: Ledger, owner: Owner) -> None:
    """The rows of a run are the same, whoever's cursor they are written on, percent signs and quotes included."""
    odd = {"text": "100 % 'of' \"it\" %s %(x)s ?", "number": 2**60, "nothing": None}
    ours = describe_run(id=new_run_id(), input=odd, subject_id="50 % off")
    theirs = dataclasses.replace(ours, id=new_run_id())
    with ledger.transaction() as connection:
        assert transitions.create_run(connection, ours, resend_seconds=60)
    assert transitions.create_run(owner.connection, theirs, resend_seconds=60)
    assert ledger.read(lambda connection: queries.find_run(connection, theirs.id)) is None
    owner.driver.commit()
    assert everything(ledger, theirs.id) == everything(ledger, ours.id)
    assert ledger.read(lambda connection: queries.load_input(connection, theirs.id)) == odd


def test_second_run_of_an_event_is_refused_and_the_first_is_found(ledger: Ledger, owner: Owner) -> None:
    """A source event that has a run already gets no second one (R9), and the transaction goes on."""
    first = describe_run(id=new_run_id(), source_event_id="form 1")
    with ledger.transaction() as connection:
        assert transitions.create_run(connection, first, resend_seconds=60)
    second = dataclasses.replace(first, id=new_run_id())
    assert not transitions.create_run(owner.connection, second, resend_seconds=60)
    assert queries.find_first_run_of_event(owner.connection, first.pipeline, "form 1") == first.id
    third = dataclasses.replace(first, id=new_run_id(), source_event_id="form 2")
    assert transitions.create_run(owner.connection, third, resend_seconds=60)
    owner.driver.commit()
    assert everything(ledger, third.id)


def test_rollback_of_the_owner_leaves_no_run(ledger: Ledger, owner: Owner) -> None:
    """What was written on somebody's cursor goes with their transaction."""
    run = describe_run(id=new_run_id())
    assert transitions.create_run(owner.connection, run, resend_seconds=60)
    owner.driver.rollback()
    assert ledger.read(lambda connection: queries.find_run(connection, run.id)) is None
