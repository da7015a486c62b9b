"""Entries partitioned by month, on PostgreSQL: the same ledger to everybody who reads or writes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from threading import Event as Flag
from typing import Any

import pytest
from sqlalchemy import make_url, text

from backout.errors import ConfigurationError
from backout.events import Event
from backout.identifiers import RunId
from backout.ledger import following, queries, schema
from backout.ledger.partitioning import add_partitions, drop_partitions, partition_entries
from backout.ledger.partitions import Partitioning, list_partitions, months_from, read_partitioning
from backout.ledger.purging import foresee_purge, purge_ledger
from backout.ledger.retention import Purged, Wanted
from backout.ledger.session import Ledger
from tests.support.ledgers import LONG_AGO, create_run, key_of, read_events, start_run, succeed, try_claim
from tests.support.old_runs import A_DAY, OPEN, count_rows, find_ids, put_entries, put_old_run
from tests.support.threads import TIMEOUT_SECONDS, Beside
from tests.support.waiting import wait_until

CUTOFF = LONG_AGO + 400 * A_DAY


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[Ledger]:
    """A migrated ledger of the test's own."""
    opened = Ledger(postgres_url, pool_size=10)
    schema.upgrade(opened)
    yield opened
    opened.dispose()


@pytest.fixture
def parted(ledger: Ledger) -> Ledger:
    """The same, partitioned."""
    partition_entries(ledger)
    return ledger


def read(ledger: Ledger) -> Partitioning:
    found = read_partitioning(ledger)
    assert found is not None
    return found


def run_sql(ledger: Ledger, *statements: str) -> None:
    with ledger.transaction() as connection:
        for statement in statements:
            connection.execute(text(statement))


def make_month(ledger: Ledger, start: str, end: str) -> None:
    """Make an old partition, as if the ledger had been partitioned then."""
    run_sql(
        ledger,
        f"CREATE TABLE backout_entry_{start[:7].replace('-', '_')} PARTITION OF backout_entry "
        f"FOR VALUES FROM ('{start} 00:00Z') TO ('{end} 00:00Z')",
    )


class TestPartitioning:
    def test_nothing_is_lost_and_ids_go_on(self, ledger: Ledger) -> None:
        """The entries that there are stay where they are; new ones have higher ids and come in order."""
        claimed = start_run(ledger)
        before = ledger.read(lambda connection: queries.list_entries(connection, claimed.key.run_id))
        partition_entries(ledger)
        assert succeed(ledger, claimed, output=1, next_name="charge")
        after = ledger.read(lambda connection: queries.list_entries(connection, claimed.key.run_id))
        assert after[: len(before)] == before
        assert [entry.id for entry in after] == sorted({entry.id for entry in after})
        assert len(after) > len(before)

    def test_there_is_a_partition_for_each_month_to_come(self, ledger: Ledger) -> None:
        """And one for all that was before, and one for what nobody has thought of."""
        partition_entries(ledger, months_ahead=2)
        found = read(ledger)
        following_months = months_from(found.now, 4)[1:]
        assert [part.starts_at for part in found.partitions] == [None, *following_months[:2], None]
        assert [part.ends_at for part in found.partitions] == [*following_months, None]
        assert found.partitions[-1].is_default

    def test_the_schema_is_the_right_one_before_and_after(self, ledger: Ledger) -> None:
        """`backout ledger verify` accepts both forms, and a worker starts on both."""
        assert (schema.differences(ledger), read(ledger).is_partitioned) == ([], False)
        partition_entries(ledger)
        assert (schema.differences(ledger), read(ledger).is_partitioned) == ([], True)
        assert schema.verify(ledger) == schema.expected_revision()
        assert schema.upgrade(ledger) == (schema.REVISION, schema.REVISION)

    def test_a_second_call_changes_nothing(self, parted: Ledger) -> None:
        """It can be part of a script that runs often."""
        before = read(parted).partitions
        partition_entries(parted)
        assert read(parted).partitions == before

    def test_who_writes_meanwhile_waits_and_goes_on(self, ledger: Ledger) -> None:
        """No claim fails and no entry is lost, also on connections that have prepared their statements before."""
        stop, walked = Flag(), list[RunId]()

        def walk() -> None:
            while not stop.is_set():
                claimed = start_run(ledger)
                assert succeed(ledger, claimed, output=1, next_name="charge")
                walked.append(claimed.key.run_id)

        with Beside() as beside, Beside() as another:
            works = [beside.start(walk), another.start(walk)]
            try:
                partition_entries(ledger, lock_seconds=TIMEOUT_SECONDS)
                enough = len(walked) + 5
                wait_until(lambda: len(walked) >= enough or any(work.done() for work in works), 60, "both go on")
            finally:
                stop.set()
            for work in works:
                work.result(TIMEOUT_SECONDS)
        assert read(ledger).is_partitioned
        events = {tuple(read_events(ledger, run_id)) for run_id in walked}
        assert len(events) == 1

    def test_who_holds_the_table_is_not_waited_for_long(self, ledger: Ledger) -> None:
        """Writers would stand behind us; whoever asked is told, and nothing has changed."""
        run_id = create_run(ledger)
        with ledger.transaction() as connection:
            connection.execute(text("SELECT count(*) FROM backout_entry"))
            with pytest.raises(ConfigurationError, match="try again later"):
                partition_entries(ledger, lock_seconds=0.1)
        assert not read(ledger).is_partitioned
        assert try_claim(ledger, key_of(run_id)) is not None
        partition_entries(ledger)
        assert read(ledger).is_partitioned

    def test_rights_and_owner_are_kept(self, ledger: Ledger) -> None:
        """A role that may only read entries still may, and still may not write."""
        role = ledger.read(lambda connection: f"reader_{connection.scalar(text('SELECT current_database()'))}")
        run_sql(ledger, f'CREATE ROLE "{role}"', f'GRANT SELECT ON backout_entry TO "{role}"')
        rights = text(
            "SELECT relowner, array_to_string(relacl, ' ') FROM pg_class WHERE oid = 'backout_entry'::regclass"
        )
        before = ledger.read(lambda connection: connection.execute(rights).one())
        try:
            partition_entries(ledger)
            assert ledger.read(lambda connection: connection.execute(rights).one()) == before
        finally:
            run_sql(ledger, f'REVOKE ALL ON ALL TABLES IN SCHEMA public FROM "{role}"', f'DROP ROLE "{role}"')

    @pytest.mark.parametrize(
        ("made", "said"),
        [
            ("CREATE VIEW shop_history AS SELECT * FROM backout_entry", "view shop_history"),
            ("CREATE INDEX shop_actors ON backout_entry (actor)", "index shop_actors"),
            ("CREATE TABLE shop_note (entry_id bigint REFERENCES backout_entry (id))", "table shop_note"),
            ("GRANT SELECT (actor) ON backout_entry TO PUBLIC", "column actor"),
            ("CREATE POLICY mine ON backout_entry USING (true)", "policy mine"),
            (
                "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;"
                "CREATE TRIGGER shop_tells AFTER INSERT ON backout_entry FOR EACH ROW EXECUTE FUNCTION tell()",
                "trigger shop_tells",
            ),
        ],
    )
    def test_what_would_be_lost_stops_it(self, ledger: Ledger, made: str, said: str) -> None:
        """Whatever an application has hung on the table is named, and nothing is changed."""
        run_sql(ledger, made)
        assert [said in sentence for sentence in read(ledger).obstacles] == [True]
        with pytest.raises(ConfigurationError, match=said):
            partition_entries(ledger)
        assert not read(ledger).is_partitioned

    def test_an_entry_of_the_future_stops_it(self, ledger: Ledger) -> None:
        """A clock was wrong: nothing is changed, and the error says how to find it."""
        with ledger.transaction() as connection:
            put_entries(connection, None, at=datetime(2999, 1, 1, tzinfo=UTC))
        with pytest.raises(ConfigurationError, match="SELECT id, at FROM backout_entry"):
            partition_entries(ledger)
        assert not read(ledger).is_partitioned


class TestReadersAndWriters:
    def test_a_follower_sees_all_entries_in_order(self, ledger: Ledger) -> None:
        """Cursors that were kept before it are good after it: ids are one sequence over all partitions."""
        run_id = create_run(ledger)
        first = ledger.read(lambda connection: following.list_entries_after(connection, 0, limit=100))
        partition_entries(ledger)
        make_entries_of_three_months(ledger, run_id)
        rest = ledger.read(lambda connection: following.list_entries_after(connection, first[-1].entry.id, limit=100))
        ids = [found.entry.id for found in rest]
        assert ids == sorted(ids)
        assert len(ids) == 3
        assert {found.pipeline for found in rest} == {"fulfil_order"}

    def test_an_entry_of_any_time_has_a_place(self, parted: Ledger) -> None:
        """An INSERT never fails for want of a partition."""
        make_entries_of_three_months(parted, create_run(parted))
        with parted.transaction() as connection:
            for at in (datetime(1970, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)):
                put_entries(connection, None, at=at)


def make_entries_of_three_months(ledger: Ledger, run_id: RunId) -> None:
    with ledger.transaction() as connection:
        for ahead in months_from(read(ledger).now, 3):
            put_entries(connection, run_id, at=ahead, events=[Event.STEP_READY])


class TestMonthsToCome:
    def test_what_is_there_is_not_made_again(self, parted: Ledger) -> None:
        """Each month once; a line of cron has nothing to do most of the time."""
        assert add_partitions(parted) == []
        names = add_partitions(parted, months_ahead=5)
        assert len(names) == 2
        assert add_partitions(parted, months_ahead=5) == []

    def test_what_has_come_into_the_default_is_moved(self, parted: Ledger) -> None:
        """Nobody has made partitions for a while: the entries keep their ids and get their month."""
        month = months_from(read(parted).now, 5)[4]
        with parted.transaction() as connection:
            put_entries(connection, None, at=month + timedelta(days=3))
        before = rows_of(parted, "backout_entry")
        [name] = add_partitions(parted, months_ahead=4)
        assert rows_of(parted, "backout_entry") == before
        assert rows_of(parted, name) == before
        assert rows_of(parted, "backout_entry_default") == []

    def test_a_wrong_clock_makes_no_partitions(self, parted: Ledger) -> None:
        """What is far away stays in the default."""
        with parted.transaction() as connection:
            put_entries(connection, None, at=datetime(2999, 1, 1, tzinfo=UTC))
        assert add_partitions(parted) == []
        assert len(rows_of(parted, "backout_entry_default")) == 2

    def test_without_a_default_it_makes_months_all_the_same(self, parted: Ledger) -> None:
        """Somebody has dropped it: then an INSERT may fail, and months to come matter even more."""
        run_sql(parted, "DROP TABLE backout_entry_default")
        assert len(add_partitions(parted, months_ahead=4)) == 1

    def test_one_table_of_all_is_left_as_it_is(self, ledger: Ledger) -> None:
        """Nobody asked for partitions."""
        assert add_partitions(ledger) == []
        assert not read(ledger).is_partitioned


def rows_of(ledger: Ledger, table: str) -> list[Any]:
    return ledger.read(lambda connection: list(connection.execute(text(f"SELECT * FROM {table} ORDER BY id")).all()))


@pytest.fixture
def aged(parted: Ledger) -> Ledger:
    """A ledger that was partitioned long ago: with partitions of the months in which the old runs were."""
    first, *_ = read(parted).partitions
    assert first.ends_at is not None
    run_sql(parted, f"ALTER TABLE backout_entry DETACH PARTITION {first.name}", f"DROP TABLE {first.name}")
    make_month(parted, "2020-01-01", "2020-02-01")
    make_month(parted, "2020-02-01", "2020-03-01")
    start, end = months_from(LONG_AGO + 60 * A_DAY, 1)[0], first.ends_at
    make_month(parted, f"{start:%Y-%m-%d}", f"{end:%Y-%m-%d}")
    return parted


class TestPurge:
    ALL = Wanted(finished_before=CUTOFF)

    def test_a_month_without_runs_is_dropped(self, aged: Ledger) -> None:
        """Its entries are not removed one by one; the count is the same as foreseen."""
        for number in range(3):
            put_old_run(aged, number)
        with aged.transaction() as connection:
            put_entries(connection, None)
        foreseen = sum(foresee_purge(aged, self.ALL), Purged())
        purged = sum(purge_ledger(aged, self.ALL, batch=2), Purged())
        assert purged.partitions == 2
        assert (purged.runs, purged.steps, purged.reviews) == (foreseen.runs, foreseen.steps, foreseen.reviews)
        assert purged.entries + purged.stray_entries == foreseen.entries + foreseen.stray_entries == 8
        assert count_rows(aged) == {"run": 0, "step": 0, "entry": 0, "review": 0}
        assert "backout_entry_2020_01" not in names_of(aged)

    def test_a_month_with_a_run_that_stays_is_kept_with_its_entries_only(self, aged: Ledger) -> None:
        """Of the others nothing is left either: what is in the way of dropping goes row by row."""
        kept = put_old_run(aged, 1, review=OPEN)
        put_old_run(aged, 2)
        put_old_run(aged, 3, at=LONG_AGO + 40 * A_DAY)
        purged = sum(purge_ledger(aged, self.ALL), Purged())
        assert purged.partitions == 1
        assert find_ids(aged) == [kept]
        assert count_rows(aged) == {"run": 1, "step": 1, "entry": 2, "review": 1}
        assert "backout_entry_2020_01" in names_of(aged)

    def test_a_run_that_began_in_an_old_month_and_ended_in_a_young_one_keeps_all(self, aged: Ledger) -> None:
        """Age counts from the end, and none of its entries goes before it."""
        run_id = put_old_run(aged, 1, finished_at=CUTOFF)
        with aged.transaction() as connection:
            put_entries(connection, run_id, at=CUTOFF)
        assert sum(purge_ledger(aged, self.ALL), Purged()).runs == 0
        assert count_rows(aged)["entry"] == 4

    @pytest.mark.parametrize("narrow", [{"limit": 100}, {"pipeline": "fulfil_order"}])
    def test_narrowed_it_drops_nothing(self, aged: Ledger, narrow: dict[str, Any]) -> None:
        """Entries of no run would go with a partition, and were not asked for."""
        put_old_run(aged, 1)
        wanted = Wanted(finished_before=CUTOFF, pipeline=narrow.get("pipeline"))
        purged = sum(purge_ledger(aged, wanted, limit=narrow.get("limit")), Purged())
        assert (purged.runs, purged.entries, purged.partitions) == (1, 2, 0)

    def test_a_partition_that_is_held_is_emptied_instead(self, aged: Ledger) -> None:
        """A backup that reads it is not waited for: the rows go, the partition another time."""
        put_old_run(aged, 1)
        with aged.transaction() as connection:
            connection.execute(text("SELECT count(*) FROM backout_entry"))
            purged = sum(purge_ledger(aged, self.ALL, lock_seconds=0.1), Purged())
        assert (purged.runs, purged.partitions, purged.stray_entries) == (1, 0, 2)
        assert count_rows(aged)["entry"] == 0
        assert [name for name, _ in drop_partitions(aged, before=CUTOFF)] == [
            "backout_entry_2020_01",
            "backout_entry_2020_02",
        ]

    def test_a_partition_of_another_role_is_emptied_instead(self, aged: Ledger, postgres_url: str) -> None:
        """Who may remove rows and owns no table purges all the same."""
        put_old_run(aged, 1)
        role = f"cleaner_{uuid.uuid4().hex}"
        run_sql(aged, f"CREATE ROLE {role}", f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        url = make_url(postgres_url).update_query_dict({"options": f"-c role={role}"})
        other = Ledger(url.render_as_string(hide_password=False))
        try:
            purged = sum(purge_ledger(other, self.ALL), Purged())
        finally:
            other.dispose()
            run_sql(aged, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
        assert (purged.runs, purged.partitions, purged.stray_entries) == (1, 0, 2)
        assert count_rows(aged)["entry"] == 0

    def test_a_transaction_that_was_open_all_the_time_keeps_its_partition(self, aged: Ledger) -> None:
        """Its run is not seen before it commits; who drops waits for it, and counts again."""
        committing = Flag()

        def enqueue_slowly(begun: Callable[[], None]) -> None:
            with aged.transaction() as connection:
                put_entries(connection, None)
                begun()
                committing.wait(TIMEOUT_SECONDS)

        begun = Flag()
        with Beside() as beside, Beside() as dropping:
            slow = beside.start(lambda: enqueue_slowly(begun.set))
            assert begun.wait(TIMEOUT_SECONDS)
            drop = dropping.start(lambda: list(drop_partitions(aged, before=LONG_AGO + 32 * A_DAY, lock_seconds=30)))
            wait_for_lock(aged)
            committing.set()
            slow.result(TIMEOUT_SECONDS)
            assert drop.result(TIMEOUT_SECONDS) == []
        assert count_rows(aged)["entry"] == 2


def wait_for_lock(ledger: Ledger) -> None:
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    wait_until(
        lambda: ledger.read(lambda connection: connection.execute(waiting).scalar_one()) == 1,
        TIMEOUT_SECONDS,
        "somebody waits for a lock",
    )


def names_of(ledger: Ledger) -> list[str]:
    return [partition.name for partition in ledger.read(list_partitions)]


def test_other_databases_have_none(sqlite_url: str) -> None:
    """Whoever asks there is told so."""
    ledger = Ledger(sqlite_url)
    schema.upgrade(ledger)
    assert read_partitioning(ledger) is None
    ledger.dispose()
