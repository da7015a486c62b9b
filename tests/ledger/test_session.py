"""The ledger's connections: errors that say what to do, passwords that stay secret, work that is run again."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from backout.errors import ConfigurationError
from backout.identifiers import RunId
from backout.ledger.models import run
from backout.ledger.session import KeyTaken, Ledger
from backout.states import RunState
from tests.support.ledgers import (
    DATABASES,
    LONG_AGO,
    claim,
    create_run,
    key_of,
    on_postgresql,
    on_servers,
    put_run,
    read_events,
    read_run,
    succeed,
)
from tests.support.snapshots import take_snapshot
from tests.support.threads import TIMEOUT_SECONDS, run_together

SECRET = "s3cret-w0rd"


def test_what_a_statement_was_given_is_not_in_its_error(ledger: Ledger) -> None:
    """It is the users' data, and what a worker logs is read by others."""
    with pytest.raises(DBAPIError) as caught, ledger.transaction() as connection:
        connection.execute(text("SELECT * FROM backout_nothing WHERE what = :what"), {"what": SECRET})
    assert SECRET not in "".join(traceback.format_exception(caught.value))


class Stop(Exception):
    """Ends a block after it has written a run."""

    def __init__(self, run_id: RunId) -> None:
        self.run_id = run_id


class TestTheUrl:
    def test_its_password_is_not_shown(self) -> None:
        """What is printed and logged has stars in its place."""
        ledger = Ledger(f"postgresql+psycopg://shop:{SECRET}@db.internal/shop")
        assert ledger.shown_url == "postgresql+psycopg://shop:***@db.internal/shop"

    @pytest.mark.parametrize(
        "url",
        [
            f"{SECRET}",
            f"mysql+mysqldb://shop:{SECRET}@db.internal/shop",
            f"mariadb://shop:{SECRET}@db.internal/shop",
            f"mysql+asyncmy://shop:{SECRET}@db.internal/shop",
            f"oracle+oracledb://shop:{SECRET}@db.internal/shop",
            f"postgresql+psycopgg://shop:{SECRET}@db.internal/shop",
            f"postgresql+asyncpg://shop:{SECRET}@db.internal/shop",
            f"nonsense://shop:{SECRET}@db.internal/shop",
            f"postgresql+psycopg://shop:x@y:{SECRET}@db.internal/shop",
            f"postgresql+psycopg://shop@db.internal:{SECRET}/shop",
        ],
    )
    def test_one_that_cannot_be_used_is_a_configuration_error(self, url: str) -> None:
        """Nothing is connected; the message says what to write, and nowhere in the traceback is the password."""
        with pytest.raises(ConfigurationError) as caught:
            Ledger(url)
        assert "postgresql+psycopg://" in caught.value.remedy
        assert "mysql+pymysql://" in caught.value.remedy
        assert SECRET not in "".join(traceback.format_exception(caught.value))

    def test_a_driver_that_is_not_there_is_named(self) -> None:
        """The operator learns which package is missing."""
        with pytest.raises(ConfigurationError, match="psycopgg") as caught:
            Ledger("postgresql+psycopgg://db.internal/shop")
        assert 'pip install "backout[postgres]"' in str(caught.value)

    def test_a_driver_without_its_library_is_a_configuration_error(self) -> None:
        """Psycopg can be installed without the library that it needs; that, too, is for the operator to mend."""
        code = "from backout.ledger.session import Ledger; Ledger('postgresql+psycopg://db.internal/shop')"
        environment = {**os.environ, "PSYCOPG_IMPL": "c"}  # The variant that no wheel brings.
        command = [sys.executable, "-c", code]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert "backout.errors.ConfigurationError" in ended.stderr


class TestTransaction:
    def test_it_commits_at_the_end(self, ledger: Ledger) -> None:
        """What was done in the block is there for everybody after it."""
        with ledger.transaction() as connection:
            run_id = put_run(connection, state=RunState.RUNNING)
        assert read_run(ledger, run_id).state is RunState.RUNNING

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
    def test_it_rolls_back_on_any_exception(self, ledger: Ledger, error: type[BaseException]) -> None:
        """Also on those that are no `Exception`: a worker that is told to stop leaves nothing half done."""
        before = take_snapshot(ledger)
        with pytest.raises(error), ledger.transaction() as connection:
            raise error(put_run(connection, state=RunState.RUNNING))
        assert take_snapshot(ledger) == before


class TestRepeat:
    def test_a_read_survives_the_loss_of_its_connection(self, own_ledger: Ledger) -> None:
        """A connection that died in the pool is no error: the work is run again on a new one."""
        run_id = create_run(own_ledger)
        kill_connections(own_ledger)
        assert read_run(own_ledger, run_id).id == run_id

    def test_the_loss_of_several_connections_is_one_repetition(self, own_ledger: Ledger) -> None:
        """After a restart of the server all pooled connections are dead, not only the first."""
        run_together([lambda: read_clock(own_ledger)] * 4)
        kill_connections(own_ledger)
        tries = 0

        def work() -> int:
            nonlocal tries
            tries += 1
            return read_one(own_ledger)

        assert own_ledger.repeat(work) == 1
        assert tries <= 2

    def test_it_gives_up_after_some_tries(self, ledger: Ledger) -> None:
        """An error that comes back is the caller's after three tries."""
        error, tries = DBAPIError("SELECT 1", {}, Exception("gone"), connection_invalidated=True), []

        def work() -> None:
            tries.append(1)
            raise error

        with pytest.raises(DBAPIError) as caught:
            ledger.repeat(work)
        assert caught.value is error
        assert len(tries) == 3

    def test_an_error_in_the_statement_is_not_tried_again(self, ledger: Ledger) -> None:
        """Only what may succeed at once is repeated."""
        tries = []

        def work() -> None:
            tries.append(1)
            with ledger.transaction() as connection:
                connection.execute(text("SELECT nothing FROM nowhere"))

        with pytest.raises(DBAPIError):
            ledger.repeat(work)
        assert len(tries) == 1

    def test_a_key_that_is_taken_is_told_and_not_tried_again(self, ledger: Ledger) -> None:
        """What a unique index refuses, it refuses again: the caller decides."""
        tries = []

        def work() -> None:
            tries.append(1)
            with ledger.transaction() as connection:
                put_run(connection, state=RunState.RUNNING, source_event_id="form-1")

        work()
        with pytest.raises(KeyTaken) as caught:
            ledger.repeat(work)
        assert isinstance(caught.value.__cause__, IntegrityError)
        assert len(tries) == 2


class TestServers:
    @on_servers
    def test_of_two_in_a_deadlock_both_end_well(self, ledger: Ledger) -> None:
        """The server ends one of the two; it is run again after the other, and both have done their work."""
        with ledger.transaction() as connection:
            run_ids = [put_run(connection, state=RunState.RUNNING) for _ in range(2)]
        barrier, other_is_done, tries = threading.Barrier(2), threading.Event(), []

        def work(first: RunId, second: RunId) -> None:
            tries.append(first)
            is_again = tries.count(first) > 1
            if is_again:
                assert other_is_done.wait(TIMEOUT_SECONDS)
            with ledger.transaction() as connection:
                add_one(connection, first)
                if not is_again:
                    barrier.wait(TIMEOUT_SECONDS)
                add_one(connection, second)
            other_is_done.set()

        def both(first: RunId, second: RunId) -> Callable[[], None]:
            return lambda: ledger.repeat(lambda: work(first, second))

        run_together([both(*run_ids), both(*reversed(run_ids))])
        assert len(tries) == 3
        assert [read_run(ledger, run_id).attempt_count for run_id in run_ids] == [2, 2]

    @on_servers
    def test_two_transactions_are_apart(self, ledger: Ledger) -> None:
        """What is not committed is seen by nobody else."""
        with ledger.transaction() as connection:
            run_id = put_run(connection, state=RunState.RUNNING)
            assert ledger.read(lambda other: find(other, run_id)) is None

    @on_postgresql
    def test_a_change_is_committed_by_itself(self, ledger: Ledger) -> None:
        """On PostgreSQL an outcome is one statement in autocommit: an error after it does not take it back."""
        with pytest.raises(Stop) as stopped, ledger.change() as connection:
            raise Stop(put_run(connection, state=RunState.RUNNING))
        assert read_run(ledger, stopped.value.run_id).state is RunState.RUNNING

    @on_servers
    def test_a_transaction_after_a_change_is_a_transaction(self, ledger: Ledger) -> None:
        """Both share the pool; a connection that was in autocommit does not stay in it."""
        for _ in range(3):
            read_clock(ledger)
            with pytest.raises(Stop) as stopped, ledger.transaction() as connection:
                raise Stop(put_run(connection, state=RunState.RUNNING))
            assert ledger.read(partial(find, run_id=stopped.value.run_id)) is None

    def test_a_claim_and_its_outcome_survive_a_restart_of_connections(self, own_ledger: Ledger) -> None:
        """R14: between two statements of an attempt every connection may die."""
        claimed = claim(own_ledger, key_of(create_run(own_ledger)))
        kill_connections(own_ledger)
        assert own_ledger.repeat(lambda: succeed(own_ledger, claimed, output=1))
        assert read_events(own_ledger, claimed.key.run_id)[-1] == "run_succeeded"


class TestSqlite:
    def test_a_file_that_cannot_be_opened_says_which(self, tmp_path: Path) -> None:
        """The operator learns which database it was."""
        url = f"sqlite:///{tmp_path}/missing/ledger.sqlite3"
        ledger = Ledger(url)
        with pytest.raises(Exception, match=r"missing/ledger\.sqlite3"):
            read_clock(ledger)

    def test_it_waits_for_the_lock_of_another_process(self, sqlite_url: str) -> None:
        """Several processes that open a new file at once all get their turn, from the first statement on."""
        ledgers = [Ledger(sqlite_url) for _ in range(8)]

        def make(ledger: Ledger) -> Callable[[], None]:
            def work() -> None:
                with ledger.transaction() as connection:
                    connection.execute(text("CREATE TABLE IF NOT EXISTS counter (n INTEGER)"))
                    connection.execute(text("INSERT INTO counter VALUES (1)"))

            return work

        run_together([make(ledger) for ledger in ledgers])
        with ledgers[0].transaction() as connection:
            assert connection.execute(text("SELECT sum(n) FROM counter")).scalar_one() == 8
        for ledger in ledgers:
            ledger.dispose()


@pytest.mark.parametrize("database", DATABASES)
def test_a_ledger_connects_only_when_it_is_used(database: str, tmp_path: Path) -> None:
    """Configuring an application needs no database that answers."""
    folder = tmp_path / "not made"
    urls = {
        "postgresql": f"postgresql+psycopg://x@/x?host={folder}",
        "sqlite": f"sqlite:///{folder}/x",
        "mariadb": f"mariadb+pymysql://x@/x?unix_socket={folder}/socket",
    }
    assert Ledger(urls[database]).dialect.name == database
    assert not folder.exists()


def read_one(ledger: Ledger) -> int:
    with ledger.change() as connection:
        found: int = connection.execute(text("SELECT 1")).scalar_one()
        return found


def read_clock(ledger: Ledger) -> int:
    found: int = ledger.read(lambda connection: connection.execute(text("SELECT 1")).scalar_one())
    return found


def find(connection: Connection, run_id: RunId) -> object:
    return connection.execute(select(run.c.id).where(run.c.id == run_id)).scalar_one_or_none()


def add_one(connection: Connection, run_id: RunId) -> None:
    added = update(run).where(run.c.id == run_id).values(attempt_count=run.c.attempt_count + 1, updated_at=LONG_AGO)
    connection.execute(added)


def kill_connections(ledger: Ledger) -> None:
    """End every connection of the ledger to its server, as a restart would; SQLite has none to end."""
    if ledger.dialect.name == "sqlite":
        return
    other = Ledger(ledger._url.render_as_string(hide_password=False))
    with other.transaction() as connection:
        if ledger.dialect.name == "postgresql":
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        else:
            found = text(
                "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            )
            for connection_id in connection.execute(found).scalars():
                connection.execute(text(f"KILL {connection_id}"))
    other.dispose()


def test_another_driver_of_a_known_database_is_refused() -> None:
    """The ledger hands statements straight to its driver, so it names the one that it knows (no connection is made)."""
    with pytest.raises(ConfigurationError, match="pysqlite_numeric"):
        Ledger("sqlite+pysqlite_numeric:///x.db")
