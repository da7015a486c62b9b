"""What the ledger says about how its installation is doing, for `backout doctor`."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Connection, insert

from backout.jsontext import JsonValue
from backout.ledger import health, queries
from backout.ledger.health import Health, UntakenStep
from backout.ledger.models import review
from backout.ledger.session import Ledger
from backout.states import ReviewReason, RunState, StepState
from tests.support.ledgers import (
    LATER,
    LONG_AGO,
    claim,
    create_run,
    key_of,
    on_mariadb,
    on_postgresql,
    on_sqlite,
    put_run,
    put_step,
    set_step,
)


def look(ledger: Ledger, *, overdue_seconds: float = 15.0, most_sends: int = 3) -> Health:
    return ledger.read(
        lambda connection: health.read_health(connection, overdue_seconds=overdue_seconds, most_sends=most_sends)
    )


def ask_person(connection: Connection, *, decided: bool = False, late: bool = False) -> None:
    run_id = put_run(connection, state=RunState.IN_REVIEW)
    connection.execute(
        insert(review).values(
            run_id=run_id,
            round=1,
            reason=ReviewReason.MAY_HAVE_DUPLICATED.value,
            evidence={},
            opened_at=LONG_AGO,
            deadline_at=LONG_AGO if late else LATER,
            decision="done" if decided else None,
            decided_at=LONG_AGO if decided else None,
        )
    )


def test_an_empty_ledger_is_healthy(ledger: Ledger) -> None:
    """Nothing waits, nothing is late."""
    assert look(ledger) == Health(
        runs={},
        overdue_rows=0,
        overdue_seconds=0.0,
        untaken=(),
        silent_runs=0,
        silent_examples=(),
        reviews=0,
        review_seconds=0.0,
        late_reviews=0,
    )


def test_a_run_under_way_is_neither_overdue_nor_silent(ledger: Ledger) -> None:
    """From enqueue on a row is marked for the sweeper, also while an attempt runs."""
    first, second = create_run(ledger), create_run(ledger)
    claim(ledger, key_of(second))
    found = look(ledger)
    assert found.runs == {RunState.PENDING: 1, RunState.RUNNING: 1}
    assert (found.overdue_rows, found.silent_runs) == (0, 0), first


def test_rows_are_overdue_some_time_after_the_sweeper_should_have_come(ledger: Ledger) -> None:
    """A row whose time has just come is not overdue yet; the age is that of the oldest."""
    now = ledger.read(queries.read_clock)
    for seconds in (5, 60, 3600):
        set_step(ledger, key_of(create_run(ledger)), sweep_at=now - timedelta(seconds=seconds))
    found = look(ledger)
    assert found.overdue_rows == 2
    assert found.overdue_seconds == pytest.approx(3600, abs=30)


def test_a_message_that_was_sent_again_and_again_is_not_taken_up(ledger: Ledger) -> None:
    """Rows of one step are counted together."""
    for sends in (2, 4, 6):
        set_step(ledger, key_of(create_run(ledger)), sends=sends)
    untaken = look(ledger).untaken
    assert untaken == (UntakenStep(pipeline="fulfil_order", step="reserve", rows=2, sends=6),)


@pytest.mark.parametrize(("state", "is_silent"), [(StepState.READY, False), (StepState.SUCCEEDED, True)])
def test_a_run_that_nothing_will_move_is_silent(ledger: Ledger, state: StepState, is_silent: bool) -> None:
    """R4: a run under way has a row that the sweeper looks at."""
    with ledger.transaction() as connection:
        run_id = put_run(connection, state=RunState.RUNNING)
        put_step(connection, key_of(run_id), state=state)
        put_run(connection, state=RunState.SUCCEEDED)
        put_run(connection, state=RunState.IN_REVIEW)
    found = look(ledger)
    assert (found.silent_runs, found.silent_examples) == ((1, (run_id,)) if is_silent else (0, ()))


def test_open_reviews_are_counted_with_their_age(ledger: Ledger) -> None:
    """A decided review is no question any more."""
    with ledger.transaction() as connection:
        ask_person(connection)
        ask_person(connection, late=True)
        ask_person(connection, decided=True)
    found = look(ledger)
    assert (found.reviews, found.late_reviews) == (2, 1)
    assert found.review_seconds > timedelta(days=365).total_seconds()


def test_open_plans_are_those_of_runs_that_are_not_final_each_once(ledger: Ledger) -> None:
    """A worker needs the tasks of these plans, also after a deploy."""
    plans: dict[str, JsonValue] = {
        name: {"format": 1, "pipeline": name, "steps": []} for name in ("open", "asked", "closed")
    }
    with ledger.transaction() as connection:
        for name, state in [
            ("open", RunState.RUNNING),
            ("open", RunState.RUNNING),
            ("asked", RunState.IN_REVIEW),
            ("closed", RunState.SUCCEEDED),
        ]:
            put_run(connection, state=state, plan=plans[name], definition_digest=name)
    found = ledger.read(health.list_open_plans)
    assert sorted(found, key=str) == sorted([plans["open"], plans["asked"]], key=str)


@on_postgresql
def test_postgresql_tells_its_durability(ledger: Ledger) -> None:
    """The settings are those of this session."""
    with ledger.transaction() as connection:
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
        facts = health.read_database(connection)
    assert facts.name == "postgresql"
    assert facts.version
    assert (facts.most_connections or 0) > 0
    settings = {setting.name: setting for setting in facts.durability}
    assert set(settings) == {"fsync", "full_page_writes", "synchronous_commit"}
    assert not settings["synchronous_commit"].is_safe
    assert "synchronous_commit = on" in settings["synchronous_commit"].remedy


@on_mariadb
def test_mariadb_tells_its_durability(ledger: Ledger) -> None:
    """The settings are the server's; those of the tests' own server do not wait for the disk."""
    facts = ledger.read(health.read_database)
    assert facts.name == "mariadb"
    assert facts.version.startswith("1")
    assert (facts.most_connections or 0) > 0
    settings = {setting.name: setting for setting in facts.durability}
    assert set(settings) == {"innodb_flush_log_at_trx_commit", "innodb_doublewrite", "sync_binlog"}
    flush = settings["innodb_flush_log_at_trx_commit"]
    assert flush.is_safe is (flush.value in ("1", "3"))
    assert flush.remedy.startswith("innodb_flush_log_at_trx_commit = 1")


@on_sqlite
def test_sqlite_tells_its_durability(ledger: Ledger) -> None:
    """A ledger's own connections write each commit to disk."""
    facts = ledger.read(health.read_database)
    assert facts.most_connections is None
    assert {setting.name: setting.value for setting in facts.durability} == {"synchronous": "2", "journal_mode": "wal"}
    assert all(setting.is_safe for setting in facts.durability)
