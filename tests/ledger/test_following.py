"""Who follows the entries of all runs gets each one, in whatever order their transactions commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import Connection, insert, select

from backout.events import Event
from backout.identifiers import new_run_id
from backout.ledger import following
from backout.ledger.dialects import now
from backout.ledger.models import entry
from backout.ledger.session import Ledger
from backout.pipelines import follow
from backout.pipelines.follow import Follower
from tests.support.ledgers import LONG_AGO, claim, create_run, key_of, on_servers, start_run, succeed
from tests.support.threads import Beside
from tests.support.waiting import wait_until


def write(connection: Connection, **values: object) -> int:
    """Write an entry; return its id."""
    fields = {"at": now(), "run_id": new_run_id(), "event": Event.RUN_PARKED.value, "actor": "tests", **values}
    created = connection.execute(insert(entry).values(**fields)).inserted_primary_key
    assert created is not None
    found: int = created.id
    return found


def write_now(ledger: Ledger, **values: object) -> int:
    with ledger.transaction() as connection:
        return write(connection, **values)


def roll_back(ledger: Ledger) -> None:
    """Write an entry that is never committed."""
    with ledger.transaction() as connection:
        write(connection)
        connection.get_transaction().rollback()  # type: ignore[union-attr] # it has one


@contextmanager
def open_transaction(ledger: Ledger) -> Iterator[tuple[ExitStack, Connection]]:
    """A transaction that ends when the test closes it, or with the block."""
    with ExitStack() as ending:
        yield ending, ending.enter_context(ledger.transaction())


def start(ledger: Ledger, after_id: int | None = 0, pipeline: str | None = None) -> Follower:
    return Follower(ledger, after_id=after_id, pipeline=pipeline)


def take_all(follower: Follower) -> list[int]:
    """Return the ids of all that is there now."""
    return [one.entry.id for one in iter(lambda: follower.take(timeout_seconds=0), None)]


@on_servers
class TestATransactionThatCommitsLate:
    """On SQLite there is one writer at a time, so ids are committed in their order."""

    def test_its_entry_comes_after_those_that_were_faster(self, ledger: Ledger) -> None:
        """Entry 5 is written, entry 6 is written and committed, the reader has 6; then 5 commits: it must come."""
        follower = start(ledger, after_id=write_now(ledger))
        with open_transaction(ledger) as (ending, slow):
            late = write(slow)
            fast = write_now(ledger)
            assert late < fast
            assert take_all(follower) == [fast]
            ending.close()
        assert take_all(follower) == [late]
        assert take_all(follower) == []

    def test_the_cursor_stays_in_front_of_it(self, ledger: Ledger) -> None:
        """A reader that starts again at the cursor it kept misses nothing; what came after is told once more."""
        known = write_now(ledger)
        follower = start(ledger, after_id=known)
        with open_transaction(ledger) as (ending, slow):
            late = write(slow)
            fast = write_now(ledger)
            assert take_all(follower) == [fast]
            assert follower.cursor == late - 1
            ending.close()
        assert take_all(start(ledger, after_id=follower.cursor)) == [late, fast]
        take_all(follower)
        assert follower.cursor == fast

    def test_it_is_seen_by_who_began_to_follow_while_it_was_open(self, ledger: Ledger) -> None:
        """From now on means: whatever is committed from now on."""
        write_now(ledger)
        with open_transaction(ledger) as (ending, slow):
            late = write(slow)
            write_now(ledger)
            follower = start(ledger, after_id=None)
            assert take_all(follower) == []
            ending.close()
        assert take_all(follower) == [late]

    def test_many_of_them_come_as_they_commit(self, ledger: Ledger) -> None:
        """A hole that is filled in part stays a hole where it is not."""
        follower = start(ledger, after_id=write_now(ledger))
        with open_transaction(ledger) as (ending_one, one), open_transaction(ledger) as (ending_other, other):
            first, second, third = write(one), write(other), write(one)
            fast = write_now(ledger)
            assert take_all(follower) == [fast]
            ending_other.close()
            assert take_all(follower) == [second]
            ending_one.close()
            assert take_all(follower) == [first, third]

    def test_one_that_is_rolled_back_holds_nobody_up(self, ledger: Ledger) -> None:
        """Its id never comes; the entries after it come at once."""
        follower = start(ledger, after_id=write_now(ledger))
        roll_back(ledger)
        fast = write_now(ledger)
        assert take_all(follower) == [fast]

    def test_the_cursor_moves_on_when_it_is_too_old(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        """After five minutes an id that never came is given up."""
        monkeypatch.setattr(follow, "LATE", timedelta(seconds=1))
        follower = start(ledger, after_id=write_now(ledger))
        with open_transaction(ledger) as (_, slow):
            late = write(slow)
            fast = write_now(ledger)
            assert take_all(follower) == [fast]
            assert follower.cursor == late - 1
            wait_until(lambda: take_all(follower) == [] and follower.cursor == fast, 10, "the hole is given up")


class TestFollowing:
    def test_everything_comes_once_in_order(self, ledger: Ledger) -> None:
        """Entries of all runs, each with the pipeline of its run."""
        known = write_now(ledger)
        claimed = start_run(ledger)
        create_run(ledger, pipeline="newsletter")
        succeed(ledger, claimed)
        follower = start(ledger, after_id=known)
        found = list(iter(lambda: follower.take(timeout_seconds=0), None))
        assert [one.entry.id for one in found] == sorted(all_ids(ledger))[1:]
        assert {one.pipeline for one in found} == {"fulfil_order", "newsletter"}
        assert follower.cursor == found[-1].entry.id

    def test_batches_are_joined(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        """More entries than one look takes are no end."""
        monkeypatch.setattr(follow, "BATCH", 3)
        for _ in range(5):
            create_run(ledger)
        assert take_all(start(ledger)) == sorted(all_ids(ledger))

    def test_one_pipeline_may_be_asked_for(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        """The others' entries are passed over, also where they fill whole batches."""
        monkeypatch.setattr(follow, "BATCH", 2)
        known = write_now(ledger)
        for _ in range(3):
            create_run(ledger, pipeline="newsletter")
        wanted = create_run(ledger)
        follower = start(ledger, after_id=known, pipeline="fulfil_order")
        found = list(iter(lambda: follower.take(timeout_seconds=0), None))
        assert {one.entry.run_id for one in found} == {wanted}
        assert len(found) == 2
        assert follower.cursor == max(all_ids(ledger))

    def test_cursor_waits_for_what_was_read_and_not_taken(self, ledger: Ledger) -> None:
        """An entry counts when the next one is asked for, not when it was read in a batch."""
        known = write_now(ledger)
        create_run(ledger)
        first, second = sorted(all_ids(ledger))[1:]
        follower = start(ledger, after_id=known)
        assert follower.take(timeout_seconds=0) is not None
        assert follower.cursor == first
        assert take_all(start(ledger, after_id=follower.cursor)) == [second]

    def test_old_holes_are_no_holes(self, ledger: Ledger) -> None:
        """What retention has removed is not looked for."""
        known = write_now(ledger, at=LONG_AGO)
        roll_back(ledger)
        newest = write_now(ledger, at=LONG_AGO)
        follower = start(ledger, after_id=known)
        assert take_all(follower) == [newest]
        assert follower.cursor == newest

    def test_who_follows_from_now_on_gets_nothing_older(self, ledger: Ledger) -> None:
        """An empty ledger is no exception."""
        empty = start(ledger, after_id=None)
        run_id = create_run(ledger)
        begun = start(ledger, after_id=None)
        claim(ledger, key_of(run_id))
        ids = sorted(all_ids(ledger))
        assert take_all(empty) == ids
        assert take_all(begun) == ids[2:]

    def test_message_without_a_run_is_followed_too(self, ledger: Ledger) -> None:
        """It belongs to no pipeline."""
        refused = write_now(ledger, run_id=None, event=Event.MESSAGE_REFUSED.value)
        assert take_all(start(ledger)) == [refused]
        assert take_all(start(ledger, pipeline="fulfil_order")) == []

    def test_it_waits_for_what_comes(self, ledger: Ledger) -> None:
        """An entry that is committed while somebody waits ends the wait."""
        follower = start(ledger)
        with Beside() as beside:
            waiting = beside.start(lambda: follower.take(timeout_seconds=30))
            written = write_now(ledger)
            found = waiting.result(30)
        assert found is not None
        assert found.entry.id == written


class TestLastIds:
    def test_each_run_has_its_own(self, ledger: Ledger) -> None:
        """Where runs stand; one without entries stands nowhere."""
        one, other = create_run(ledger), create_run(ledger)
        found = ledger.read(lambda connection: following.find_last_ids(connection, [one, other, new_run_id()]))
        assert sorted(found) == sorted([one, other])
        assert found[one] < found[other] == max(all_ids(ledger))


def all_ids(ledger: Ledger) -> list[int]:
    return ledger.read(lambda connection: list(connection.execute(select(entry.c.id)).scalars()))
