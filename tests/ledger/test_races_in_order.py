"""Races in a fixed order, on servers: one transaction holds its lock while the other is seen to wait for it."""

from __future__ import annotations

import uuid
from concurrent.futures import Future
from typing import Any

from sqlalchemy import Connection, text

from backout.identifiers import RunId, new_claim_token
from backout.ledger import due, queries, transitions
from backout.ledger.records import Claim
from backout.ledger.session import Ledger
from backout.states import StepState
from tests.support.ledgers import (
    LONG_AGO,
    RESEND_SECONDS,
    create_run,
    describe_run,
    doubt,
    key_of,
    on_servers,
    read_events,
    read_step,
    release,
    set_step,
    start_run,
    succeed,
    try_claim,
)
from tests.support.threads import TIMEOUT_SECONDS, Beside
from tests.support.waiting import wait_until

pytestmark = on_servers

WAITING = {
    "postgresql": text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ),
    # InnoDB shows what it showed before to whoever asks again within a tenth of a second.
    "mariadb": text(
        "SELECT SLEEP(0.2) + count(*) FROM information_schema.innodb_trx JOIN information_schema.processlist "
        "ON id = trx_mysql_thread_id WHERE trx_state = 'LOCK WAIT' AND db = DATABASE()"
    ),
}


def wait_for_the_lock(ledger: Ledger, future: Future[Any]) -> None:
    """Wait until the other thread's statement stands in the queue for a lock."""
    waiting = WAITING[ledger.dialect.name]
    wait_until(
        lambda: ledger.read(lambda connection: connection.execute(waiting).scalar_one()) == 1,
        TIMEOUT_SECONDS,
        "the other transaction waits for a lock",
    )
    assert not future.done()


class TestTwoEnqueuesOfOneSourceEvent:
    def test_the_second_gets_the_first_ones_run(self, ledger: Ledger) -> None:
        """R9: the second waits for the first's commit, creates nothing, and then sees the first's run."""
        first = describe_run(source_event_id="form-1")
        with Beside() as beside:
            with ledger.transaction() as connection:
                assert transitions.create_run(connection, first, resend_seconds=RESEND_SECONDS)
                second = beside.start(lambda: enqueue(ledger))
                wait_for_the_lock(ledger, second)
            assert second.result(TIMEOUT_SECONDS) == (first.id, False)

    def test_the_second_creates_the_run_if_the_first_rolls_back(self, ledger: Ledger) -> None:
        """R9: a source event is not lost with the transaction that saw it first."""
        first = describe_run(source_event_id="form-1")
        with Beside() as beside:
            with ledger.transaction() as connection:
                assert transitions.create_run(connection, first, resend_seconds=RESEND_SECONDS)
                second = beside.start(lambda: enqueue(ledger))
                wait_for_the_lock(ledger, second)
                connection.get_transaction().rollback()  # type: ignore[union-attr]
            run_id, was_created = second.result(TIMEOUT_SECONDS)
        assert was_created
        assert run_id not in (None, first.id)

    def test_another_source_event_does_not_wait(self, ledger: Ledger) -> None:
        """Enqueues of different events do not hold each other up."""
        # Names that no test before has removed: beside a row that was just deleted, InnoDB waits for the neighbour too.
        first, second = (f"form-{uuid.uuid4().hex}" for _ in range(2))
        with ledger.transaction() as connection, Beside() as beside:
            transitions.create_run(connection, describe_run(source_event_id=first), resend_seconds=RESEND_SECONDS)
            assert beside.start(lambda: enqueue(ledger, second)).result(TIMEOUT_SECONDS)[1]


def enqueue(ledger: Ledger, source_event_id: str = "form-1") -> tuple[RunId | None, bool]:
    new = describe_run(source_event_id=source_event_id)
    with ledger.transaction() as connection:
        was_created = transitions.create_run(connection, new, resend_seconds=RESEND_SECONDS)
        return queries.find_first_run_of_event(connection, new.pipeline, source_event_id), was_created


class TestAClaimThatWaits:
    def test_it_finds_the_row_taken_when_the_first_commits(self, ledger: Ledger) -> None:
        """R3: the guard is looked at again after the wait, with the row as it is then."""
        key = key_of(create_run(ledger))
        with Beside() as beside:
            with ledger.transaction() as connection:
                first = transitions.claim_step(
                    connection, key, token=new_claim_token(), lease_seconds=60, worker="worker-1", attempt=1
                )
                second = beside.start(lambda: try_claim(ledger, key))
                wait_for_the_lock(ledger, second)
            assert second.result(TIMEOUT_SECONDS) is None
        assert first is not None
        assert read_step(ledger, key).claim_token == first.token
        assert read_events(ledger, key.run_id).count("run_started") == 1

    def test_it_gets_the_row_when_the_first_rolls_back(self, ledger: Ledger) -> None:
        """R4: a claim that was never committed holds nobody up."""
        key = key_of(create_run(ledger))
        with Beside() as beside:
            with ledger.transaction() as connection:
                transitions.claim_step(
                    connection, key, token=new_claim_token(), lease_seconds=60, worker="worker-1", attempt=1
                )
                second = beside.start(lambda: try_claim(ledger, key))
                wait_for_the_lock(ledger, second)
                connection.get_transaction().rollback()  # type: ignore[union-attr]
            claimed = second.result(TIMEOUT_SECONDS)
        assert claimed is not None
        assert claimed.attempt == 1
        assert read_events(ledger, key.run_id).count("attempt_started") == 1


class TestAnOutcomeThatWaits:
    def test_it_is_refused_when_the_sweeper_was_first(self, ledger: Ledger) -> None:
        """R3: the sweeper takes the attempt for lost just before it answers; the answer is late."""
        claimed = start_run(ledger)
        with Beside() as beside:
            with ledger.transaction() as connection:
                assert transitions.doubt_step(
                    connection, claimed.key, token=claimed.token, reason="expired", operator_state="in_doubt"
                )
                late = beside.start(lambda: succeed(ledger, claimed, output=1, next_name="charge"))
                wait_for_the_lock(ledger, late)
            assert late.result(TIMEOUT_SECONDS) is False
        assert read_step(ledger, claimed.key).state is StepState.IN_DOUBT
        assert "step_succeeded" not in read_events(ledger, claimed.key.run_id)

    def test_the_sweeper_is_refused_when_the_outcome_was_first(self, ledger: Ledger) -> None:
        """R14: an outcome that is about to be committed is not taken for lost."""
        claimed = start_run(ledger)
        with Beside() as beside:
            with ledger.transaction() as connection:
                assert transitions.fail_step(connection, claimed, error={"type": "x"}, reason="x")
                sweeping = beside.start(lambda: doubt(ledger, claimed))
                wait_for_the_lock(ledger, sweeping)
            assert sweeping.result(TIMEOUT_SECONDS) is False
        assert read_step(ledger, claimed.key).state is StepState.FAILED

    def test_a_heartbeat_that_waits_does_not_bring_the_claim_back(self, ledger: Ledger) -> None:
        """R3: the beat of an attempt that was taken for lost meanwhile changes nothing."""
        claimed = start_run(ledger)
        with Beside() as beside:
            with ledger.transaction() as connection:
                transitions.release_claim(connection, claimed.key, token=claimed.token, reason="expired")
                beat = beside.start(lambda: beat_once(ledger, claimed))
                wait_for_the_lock(ledger, beat)
            assert beat.result(TIMEOUT_SECONDS) is False


def beat_once(ledger: Ledger, claimed: Claim) -> bool:
    with ledger.change() as connection:
        return transitions.extend_claim(connection, claimed, lease_seconds=60)


def never_wait(connection: Connection) -> None:
    """Let a statement fail that waits for a lock, where a wait in this thread would never end."""
    if connection.dialect.name == "postgresql":  # MariaDB gives up by itself.
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))


class TestTheSweeper:
    def test_rows_in_another_sweepers_hands_are_passed_over(self, ledger: Ledger) -> None:
        """R12: a second sweeper takes what the first has left, and does not wait for it."""
        keys = [key_of(create_run(ledger)) for _ in range(4)]
        for key in keys:
            set_step(ledger, key, sweep_at=LONG_AGO)
        with ledger.transaction() as one, ledger.transaction() as other:
            never_wait(other)
            first = {row.key for row in due.take_due_steps(one, limit=2)}
            second = {row.key for row in due.take_due_steps(other, limit=10)}
        assert len(first) == 2
        assert first | second == set(keys)
        assert not first & second

    def test_a_row_that_is_being_recorded_is_passed_over(self, ledger: Ledger) -> None:
        """R3: the sweeper does not wait behind an outcome, and does not see the row as it was before."""
        claimed = start_run(ledger)
        set_step(ledger, claimed.key, claim_expires_at=LONG_AGO, sweep_at=LONG_AGO)
        with ledger.transaction() as one, ledger.transaction() as other:
            never_wait(other)
            assert transitions.fail_step(one, claimed, error={"type": "x"}, reason="x")
            assert due.take_due_steps(other, limit=10) == []

    def test_a_claimed_row_is_no_longer_due_for_whoever_waited(self, ledger: Ledger) -> None:
        """R12: a worker's claim waits for the sweeper that has the row in hand, and then still gets it."""
        key = key_of(create_run(ledger))
        set_step(ledger, key, sweep_at=LONG_AGO)
        with Beside() as beside:
            with ledger.transaction() as connection:
                assert len(due.take_due_steps(connection, limit=1)) == 1
                claiming = beside.start(lambda: try_claim(ledger, key))
                wait_for_the_lock(ledger, claiming)
            claimed = claiming.result(TIMEOUT_SECONDS)
        assert claimed is not None
        assert release(ledger, claimed)
