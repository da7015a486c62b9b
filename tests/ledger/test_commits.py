"""Callbacks after a commit of the caller's: after that commit, once, and after no other end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backout.ledger import callers
from backout.ledger.session import Ledger
from tests.support.ledgers import on_postgresql

pytestmark = on_postgresql


@pytest.fixture
def theirs(ledger: Ledger) -> Iterator[Engine]:
    """An application's engine on the ledger's database."""
    engine = create_engine(ledger._url)
    yield engine
    engine.dispose()


class Calls:
    """What was called back."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.names: list[str] = []

    def wait(self, name: str, *, connection: object = None, session: object = None) -> None:
        found = callers.find_transaction(self.ledger, connection=connection, session=session)
        assert found is not None
        found.after_commit(lambda: self.names.append(name))


@pytest.mark.parametrize("mode", ["conditional_savepoint", "create_savepoint"])
@pytest.mark.parametrize("ends_well", [True, False], ids=["committed", "rolled back"])
def test_session_inside_anothers_transaction_waits_for_that_one(
    ledger: Ledger, theirs: Engine, mode: str, ends_well: bool
) -> None:
    """A session that was given a connection says that it has committed, and has not: what counts is the connection."""
    calls = Calls(ledger)
    with theirs.connect() as connection:
        outer = connection.begin()
        with Session(connection, join_transaction_mode=mode) as session:  # type: ignore[arg-type]  # a literal
            calls.wait("run", session=session)
            session.commit()
        assert calls.names == []
        outer.commit() if ends_well else outer.rollback()
    assert calls.names == (["run"] if ends_well else [])


def test_session_that_was_given_an_idle_connection_is_called_at_once(ledger: Ledger, theirs: Engine) -> None:
    """Where the transaction is the session's own, its commit is the one that counts."""
    calls = Calls(ledger)
    with theirs.connect() as connection, Session(connection) as session:
        calls.wait("rolled back", session=session)
        session.rollback()
        calls.wait("committed", session=session)
        session.commit()
        assert calls.names == ["committed"]
    assert calls.names == ["committed"]


def test_session_inside_anothers_transaction_may_roll_back_alone(ledger: Ledger, theirs: Engine) -> None:
    """What was enqueued in the part that was rolled back is not called when the rest commits."""
    calls = Calls(ledger)
    with theirs.begin() as connection, Session(connection, join_transaction_mode="create_savepoint") as session:
        calls.wait("rolled back", session=session)
        session.rollback()
        calls.wait("kept", session=session)
        session.commit()
    assert calls.names == ["kept"]


def test_session_that_is_closed_forgets(ledger: Ledger, theirs: Engine) -> None:
    """Closing a session rolls it back; its next commit is another one's."""
    calls = Calls(ledger)
    with Session(theirs) as session:
        calls.wait("closed", session=session)
        session.close()
        calls.wait("committed", session=session)
        session.commit()
    assert calls.names == ["committed"]


def test_commit_that_fails_is_none(ledger: Ledger, theirs: Engine) -> None:
    """A COMMIT that the database refuses calls nobody; the next transaction of the connection is not touched by it."""
    calls = Calls(ledger)
    with theirs.connect() as connection:
        connection.exec_driver_sql(
            "CREATE TEMPORARY TABLE one (id int PRIMARY KEY, "
            "other int REFERENCES one (id) DEFERRABLE INITIALLY DEFERRED)"
        )
        connection.commit()
        connection.exec_driver_sql("INSERT INTO one VALUES (1, 2)")
        calls.wait("refused", connection=connection)
        with pytest.raises(IntegrityError):
            connection.commit()
        connection.rollback()
        connection.exec_driver_sql("SELECT 1")
        calls.wait("committed", connection=connection)
        connection.commit()
    assert calls.names == ["committed"]
