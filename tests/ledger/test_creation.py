"""Many runs that are recorded at once: the same rows as one by one, and one run for each source event."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from backout.identifiers import RunId, new_run_id, new_task_id
from backout.ledger import known_runs, queries, transitions
from backout.ledger.models import entry, run, step
from backout.ledger.session import Ledger
from backout.ledger.transitions import NewRun
from tests.ledger.test_cursors import Owner, everything
from tests.ledger.test_documents import DOCUMENTS
from tests.ledger.test_text import ALIKE
from tests.support.ledgers import RESEND_SECONDS, create_run, describe_run, read_events, read_run

MANY = 1_000


def create(ledger: Ledger, new: list[NewRun]) -> set[RunId]:
    with ledger.transaction() as connection:
        return transitions.create_runs(connection, new, resend_seconds=RESEND_SECONDS)


def count(connection: Connection) -> tuple[int, int, int]:
    runs, steps, entries = (
        connection.execute(select(func.count()).select_from(table)).scalar_one() for table in (run, step, entry)
    )
    return runs, steps, entries


@pytest.mark.parametrize("deadline", [None, 90.5])
@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_rows_are_those_of_a_run_that_is_recorded_alone(ledger: Ledger, document: Any, deadline: float | None) -> None:
    """Whatever its input, a run of many is recorded like one alone, column for column."""
    alone = describe_run(input=document, subject_id="50 % 'off' \\", deadline_seconds=deadline)
    among = [dataclasses.replace(alone, id=new_run_id(), task_id=new_task_id()) for _ in range(2)]
    with ledger.transaction() as connection:
        assert transitions.create_run(connection, alone, resend_seconds=RESEND_SECONDS)
    assert create(ledger, among) == {one.id for one in among}
    for one in among:
        assert everything(ledger, one.id) == everything(ledger, alone.id)
        assert read_run(ledger, one.id).input == document
    assert {instants(ledger, one.id) for one in (alone, *among)} == {instants(ledger, alone.id)}


def instants(ledger: Ledger, run_id: RunId) -> tuple[Any, ...]:
    """Return what lies between the instants of a run, in seconds."""
    record = read_run(ledger, run_id)
    (row,) = ledger.read(lambda connection: queries.list_steps(connection, run_id))
    assert row.dispatched_at is not None
    assert row.sweep_at is not None
    left = (record.deadline_at - record.created_at).total_seconds() if record.deadline_at else None
    return record.updated_at == record.created_at, left, round((row.sweep_at - row.dispatched_at).total_seconds(), 2)


def test_entries_of_each_run_are_in_order(ledger: Ledger) -> None:
    """R11: of each of a thousand runs it is told that it was created, and then that its first step is ready."""
    new = [describe_run() for _ in range(MANY)]
    assert create(ledger, new) == {one.id for one in new}
    assert ledger.read(count) == (MANY, MANY, 2 * MANY)
    for one in (new[0], new[MANY // 2], new[-1]):
        assert read_events(ledger, one.id) == ["run_created", "step_ready"]


def test_events_that_have_runs_get_no_second_ones(ledger: Ledger) -> None:
    """R9: those that are new are recorded all the same, and the first runs of the others are found."""
    first = create_run(ledger, source_event_id="form-2")
    new = [describe_run(source_event_id=f"form-{number}") for number in (3, 2, 1)]
    assert create(ledger, new) == {new[0].id, new[2].id}
    assert ledger.read(count) == (3, 3, 6)
    with ledger.transaction() as connection:
        found = known_runs.find_first_runs_of_events(connection, "fulfil_order", ["form-1", "form-2", "form-4"])
    assert found == {"form-1": new[2].id, "form-2": first}
    events = [f"form-{number}" for number in range(MANY)]
    known = ledger.read(lambda connection: known_runs.find_runs_of_events(connection, "fulfil_order", events))
    assert known == {**found, "form-3": new[0].id}
    ids = [new_run_id(), *known.values()]
    assert ledger.read(lambda connection: known_runs.find_known_ids(connection, ids)) == set(known.values())
    assert create(ledger, [dataclasses.replace(one, id=new_run_id()) for one in new]) == set()
    assert ledger.read(count) == (3, 3, 6)


def test_first_of_two_with_one_event_is_recorded(ledger: Ledger) -> None:
    """R9: an event that comes twice among many has one run, that of the one that came first."""
    new = [describe_run(source_event_id="form-1", input=number) for number in range(3)]
    assert create(ledger, new) == {new[0].id}
    assert read_run(ledger, new[0].id).input == 0


def test_events_that_look_alike_are_several(ledger: Ledger) -> None:
    """R9: by the exact text."""
    new = [describe_run(source_event_id=event) for event in ALIKE]
    assert create(ledger, new) == {one.id for one in new}
    with ledger.transaction() as connection:
        found = known_runs.find_first_runs_of_events(connection, "fulfil_order", ALIKE)
    assert found == {event: one.id for event, one in zip(ALIKE, new, strict=True)}


def test_what_does_not_fit_is_refused_and_nothing_is_cut_off(ledger: Ledger) -> None:
    """A text that is too long for its column, or a missing one, is an error and not a shorter text."""
    if ledger.dialect.name != "sqlite":  # which has no lengths
        with pytest.raises(DBAPIError):
            create(ledger, [describe_run(), describe_run(subject_id="x" * 256)])
    with pytest.raises(IntegrityError):
        create(ledger, [describe_run(pipeline=None)])
    assert ledger.read(count) == (0, 0, 0)


def test_transaction_that_is_rolled_back_leaves_nothing(ledger: Ledger) -> None:
    """They belong to the transaction in which they were recorded."""
    with ledger.transaction() as connection:
        transitions.create_runs(connection, [describe_run(), describe_run()], resend_seconds=RESEND_SECONDS)
        assert count(connection) == (2, 2, 4)
        connection.rollback()
    assert ledger.read(count) == (0, 0, 0)


def test_two_processes_with_the_same_events_have_one_run_each(ledger: Ledger) -> None:
    """R9: also where they come in another order, and neither waits for the other for ever."""
    answers: list[set[RunId]] = []
    events = [f"form-{number}" for number in range(200)]

    def enqueue(order: list[str]) -> None:
        new = [describe_run(source_event_id=event) for event in order]
        answers.append(ledger.repeat(lambda: create(ledger, new)))

    threads = [threading.Thread(target=enqueue, args=(order,)) for order in (events, events[::-1]) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(map(len, answers)) == len(events)
    assert ledger.read(count) == (len(events), len(events), 2 * len(events))


def test_cursor_of_somebody_else_records_the_same(ledger: Ledger) -> None:
    """Through the cursor of an ORM that is not SQLAlchemy the rows are the same, and one event has one run."""
    owner = Owner(ledger)
    new = [describe_run(source_event_id=f"100 % {n}", input=odd) for n, odd in enumerate(DOCUMENTS.values())]
    assert transitions.create_runs(owner.connection, new, resend_seconds=60) == {one.id for one in new}
    again = [dataclasses.replace(new[0], id=new_run_id()), describe_run(source_event_id="form")]
    assert transitions.create_runs(owner.connection, again, resend_seconds=60) == {again[1].id}
    events = [one.source_event_id or "" for one in again]
    found = known_runs.find_first_runs_of_events(owner.connection, "fulfil_order", events)
    assert found == {events[0]: new[0].id, events[1]: again[1].id}
    owner.driver.commit()
    owner.driver.close()
    with ledger.transaction() as connection:
        ours = [dataclasses.replace(one, id=new_run_id(), source_event_id=None) for one in new]
        transitions.create_runs(connection, ours, resend_seconds=60)
    for theirs, own in zip(new, ours, strict=True):
        assert without_event(everything(ledger, theirs.id)) == without_event(everything(ledger, own.id))


def without_event(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in ("source_event_id", "detail")} for row in rows]
