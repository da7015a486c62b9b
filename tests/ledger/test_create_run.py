"""A row that is inserted only if it is new, also inside a caller's own transaction."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Connection, create_engine, select
from sqlalchemy.exc import IntegrityError

from backout.ledger import queries, transitions
from backout.ledger.models import run
from backout.ledger.session import Ledger, savepoint
from backout.states import RunState
from tests.support.ledgers import RESEND_SECONDS, create_run, describe_run, on_mariadb, put_run, read_run


def create_again(connection: Connection) -> bool:
    return transitions.create_run(connection, describe_run(source_event_id="form-1"), resend_seconds=RESEND_SECONDS)


def test_a_refused_row_leaves_the_transaction_as_it_was(ledger: Ledger) -> None:
    """R9: what the caller wrote before and after the refusal is committed with it."""
    create_run(ledger, source_event_id="form-1")
    with ledger.transaction() as connection:
        before = put_run(connection, state=RunState.RUNNING)
        assert not create_again(connection)
        after = put_run(connection, state=RunState.RUNNING)
    assert {read_run(ledger, run_id).state for run_id in (before, after)} == {RunState.RUNNING}


def test_a_refused_row_leaves_savepoints_as_they_were(ledger: Ledger) -> None:
    """A caller's own savepoint can still be taken back, and nothing else with it."""
    create_run(ledger, source_event_id="form-1")
    with ledger.transaction() as connection:
        kept = put_run(connection, state=RunState.RUNNING)
        savepoint = connection.begin_nested()
        taken_back = put_run(connection, state=RunState.RUNNING)
        assert not create_again(connection)
        savepoint.rollback()
    with ledger.transaction() as connection:
        found = connection.execute(select(run.c.id).where(run.c.id.in_([kept, taken_back]))).scalars().all()
    assert found == [kept]


def test_a_row_is_new_once_in_one_transaction(ledger: Ledger) -> None:
    """R9: the second of two enqueues in one transaction gets the run of the first, which is not committed yet."""
    with ledger.transaction() as connection:
        assert create_again(connection)
        assert not create_again(connection)
        found = queries.find_first_run_of_event(connection, "fulfil_order", "form-1")
    assert found is not None
    assert read_run(ledger, found).state is RunState.PENDING


def test_what_is_wrong_is_not_taken_for_a_row_that_is_there(ledger: Ledger) -> None:
    """A row that a NOT NULL refuses is an error, and not a silent "already there"."""
    with ledger.transaction() as connection, pytest.raises(IntegrityError), savepoint(connection):
        transitions.create_run(connection, replace(describe_run(), first_step=None), resend_seconds=RESEND_SECONDS)  # type: ignore[arg-type]  # that is what is wrong with it


@on_mariadb
@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
def test_a_caller_with_an_old_snapshot_gets_the_first_run(ledger: Ledger, isolation: str) -> None:
    """R9: MariaDB's default isolation shows the database as it was; the other's run is found all the same."""
    engine = create_engine(ledger._url, isolation_level=isolation)
    with engine.begin() as theirs:
        assert theirs.execute(select(run.c.id)).all() == []
        first = create_run(ledger, source_event_id="form-1")
        assert not create_again(theirs)
        assert queries.find_first_run_of_event(theirs, "fulfil_order", "form-1") == first
    engine.dispose()
