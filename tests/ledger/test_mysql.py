"""What is special about MariaDB and MySQL: the order of assignments, their defaults, their errors."""

from __future__ import annotations

import importlib
import pkgutil
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from sqlalchemy import Update, text, update
from sqlalchemy.exc import DataError, DBAPIError

from backout.errors import LedgerUnavailable
from backout.identifiers import new_run_id
from backout.ledger import schema, transitions
from backout.ledger.change import Change, assignments, columns_read, in_reading_order
from backout.ledger.models import metadata, run, step
from backout.ledger.session import Ledger, is_outage, may_repeat
from backout.ledger.transitions import claims
from backout.states import RunState
from backout.testing.servers.mariadb import MariaDB, connect
from tests.support.ledgers import (
    claim,
    create_run,
    key_of,
    on_mariadb,
    put_run,
    read_events,
    read_run,
    succeed,
)
from tests.support.threads import TIMEOUT_SECONDS, Beside
from tests.support.waiting import wait_until

SECRET = "s3cret-w0rd"


def updates_of_arrows() -> Iterator[tuple[str, Update]]:
    """Yield each UPDATE that MySQL gets from the arrows, by the name of the constant that holds it."""
    for found in pkgutil.iter_modules(transitions.__path__, f"{transitions.__name__}."):
        module = importlib.import_module(found.name)
        for name, constant in vars(module).items():
            for value in constant.values() if isinstance(constant, dict) else (constant,):
                if isinstance(value, Update):
                    yield name, value
                elif isinstance(value, Change):
                    yield name, value.as_ordered_guard
                    if value.as_ordered_run_update is not None:
                        yield f"{name} of the run", value.as_ordered_run_update


class TestAssignments:
    @pytest.mark.parametrize(("name", "statement"), list(updates_of_arrows()))
    def test_none_reads_what_was_assigned_before_it(self, name: str, statement: Update) -> None:
        """MySQL assigns from left to right; every arrow means the row as it was."""
        assigned = assignments(statement)
        of_table = [column.name for column in statement.table.c if column.name in assigned]
        order = list(assigned) if statement._maintain_values_ordering else of_table
        for place, column in enumerate(order):
            assert not columns_read(assigned[column]) & set(order[:place]), f"{name}: {column}"

    def test_the_order_of_the_table_would_be_wrong(self) -> None:
        """A claim counts its attempt, and asks whether it is the first one."""
        order = list(assignments(in_reading_order(claims._CLAIM_FIRST.guard)))
        assert order.index("idempotency_key") < order.index("attempt")
        names = [column.name for column in step.c]
        assert names.index("idempotency_key") > names.index("attempt")

    def test_an_exchange_is_refused(self) -> None:
        """Where no order is right, nobody gets a statement that means something else on one database."""
        exchange = update(step).values(sends=step.c.attempt, attempt=step.c.sends)
        with pytest.raises(ValueError, match="read each other"):
            in_reading_order(exchange)


@pytest.fixture
def latin_url(mariadb: MariaDB, mariadb_url: str) -> str:
    """The URL of an empty database whose tables have another character set, collation and engine by default."""
    with closing(connect(mariadb_url)) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_swedish_ci")
    return f"{mariadb_url}&init_command=SET+default_storage_engine%3DMyISAM&charset=latin1"


@pytest.fixture
def mysql_url(mariadb_url: str) -> str:
    """The URL of an empty database, under the name that MariaDB has in most projects."""
    return mariadb_url.replace("mariadb+", "mysql+", 1)


class TestDefaultsOfTheServer:
    def test_they_do_not_matter_to_our_tables(self, latin_url: str) -> None:
        """Engine, character set and collation are ours, also where the server's defaults are those of 1995."""
        ledger = migrated(latin_url)
        options = "SELECT engine, table_collation FROM information_schema.tables WHERE table_schema = DATABASE()"
        columns = (
            "SELECT collation_name FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND table_name <> 'backout_schema' AND collation_name IS NOT NULL"
        )
        with ledger.transaction() as connection:
            found = connection.execute(text(f"{options} AND table_name <> 'backout_schema'")).all()
            collations = connection.execute(text(columns)).scalars().all()
        assert [tuple(row) for row in found] == [("InnoDB", "utf8mb4_nopad_bin")] * len(metadata.tables)
        assert set(collations) == {"utf8mb4_nopad_bin"}
        assert schema.differences(ledger) == []

    def test_they_do_not_matter_to_what_is_stored(self, latin_url: str) -> None:
        """R14: letters that the server's default and the URL's character set do not have are kept."""
        ledger = migrated(latin_url)
        run_id = create_run(ledger, subject_id="Łódź 🙂", input={"name": "Łódź 🙂"})
        assert read_run(ledger, run_id).subject_id == "Łódź 🙂"

    def test_a_lax_server_is_made_strict(self, mariadb_url: str) -> None:
        """What does not fit is refused and not cut off, whatever the server's mode."""
        ledger = migrated(f"{mariadb_url}&sql_mode=ANSI_QUOTES")
        with pytest.raises(DataError, match="too long"), ledger.transaction() as connection:
            put_run(connection, state=RunState.RUNNING, pipeline="x" * 201)
        create_run(ledger)

    @on_mariadb
    def test_isolation_is_ours(self, ledger: Ledger) -> None:
        """Transactions read what is committed, and lock rows but not the gaps between them."""
        with ledger.transaction() as connection:
            assert connection.execute(text("SELECT @@tx_isolation")).scalar_one() == "READ-COMMITTED"

    def test_the_name_of_mysql_in_the_url_is_as_good(self, mysql_url: str) -> None:
        """MariaDB under a `mysql+pymysql` URL gets the collation that it knows, and runs go through."""
        ledger = migrated(mysql_url)
        assert ledger.dialect.name == "mysql"
        assert schema.differences(ledger) == []
        claimed = claim(ledger, key_of(create_run(ledger, source_event_id="A")))
        create_run(ledger, source_event_id="a")
        assert succeed(ledger, claimed, output={"number": 2**70})
        assert read_run(ledger, claimed.key.run_id).output == {"number": 2**70}


def migrated(url: str) -> Ledger:
    ledger = Ledger(url)
    schema.upgrade(ledger)
    return ledger


class TestErrors:
    def test_a_lock_that_is_not_given_is_asked_for_again(self, mariadb_url: str) -> None:
        """Work that has waited for a row as long as the server lets it is run again, and then done once."""
        ledger = migrated(mariadb_url)
        run_id, errors = create_run(ledger), []
        add_one = update(run).where(run.c.id == run_id).values(attempt_count=run.c.attempt_count + 1)
        with ExitStack() as holding:
            holding.enter_context(ledger.transaction()).execute(add_one)

            def work() -> None:
                with ledger.transaction() as connection:
                    connection.execute(text("SET SESSION innodb_lock_wait_timeout = 1"))
                    try:
                        connection.execute(add_one)
                    except DBAPIError as error:
                        errors.append(error)
                        holding.close()
                        raise

            ledger.repeat(work)
        (error,) = errors
        assert may_repeat(error)
        assert is_outage(error)
        assert read_run(ledger, run_id).attempt_count == 2

    @on_mariadb
    @pytest.mark.parametrize(
        "statement", ["SELECT nothing FROM backout_run", "SELECT nothing()", "SELECT 1 FROM nowhere"]
    )
    def test_a_mistake_is_no_outage(self, ledger: Ledger, statement: str) -> None:
        """Nobody waits for ever for a column that is not there, which the driver calls an operational error."""
        with pytest.raises(DBAPIError) as caught:
            ledger.read_patiently(lambda connection: connection.execute(text(statement)), what="a mistake")
        assert not is_outage(caught.value)

    def test_one_out_of_connecting_does_not_show_the_password(self, mariadb_url: str) -> None:
        """The operator learns which user of which database was refused."""
        ledger = Ledger(mariadb_url.replace("//root@", f"//stranger:{SECRET}@"))
        with pytest.raises(LedgerUnavailable, match="stranger") as caught:
            read_run(ledger, new_run_id())
        assert "stranger:***@" in str(caught.value)
        assert SECRET not in "".join(traceback.format_exception(caught.value))

    def test_an_outcome_waits_for_a_server_that_was_killed(
        self, own_mariadb: MariaDB, caplog: pytest.LogCaptureFixture
    ) -> None:
        """R14: what a step returned while the server was away is recorded when it is back, once."""
        ledger = migrated(own_mariadb.create_database("killed"))
        claimed = claim(ledger, key_of(create_run(ledger)))
        own_mariadb.kill()
        with Beside() as beside:
            recording = beside.start(
                lambda: ledger.persist(
                    lambda: succeed(ledger, claimed, output=1), recognise=lambda _: None, what="the outcome"
                )
            )
            wait_until(lambda: "the ledger is away" in caplog.text, TIMEOUT_SECONDS, "it waits")
            own_mariadb.restart()
            assert recording.result(TIMEOUT_SECONDS) is True
        assert read_events(ledger, claimed.key.run_id).count("step_succeeded") == 1
        ledger.dispose()
