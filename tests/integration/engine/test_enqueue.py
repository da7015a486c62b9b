"""One source event, one run (R9); and runs that are written inside the caller's own transaction."""

from __future__ import annotations

import json
import uuid

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from backout import RunHandle, RunState, UnknownRun
from backout.ledger.models import run
from tests.support.apps import pipelines
from tests.support.apps.enqueue import GATE
from tests.support.apps.pipelines import Job
from tests.support.ledgers import on_each_stack
from tests.support.stack import Stack
from tests.support.waiting import wait_until

PROCESSES = 2


@on_each_stack
def test_two_processes_with_one_event_get_one_run(stack: Stack) -> None:
    """Two processes that enqueue the same source event at the same instant get one run, and it runs once (R9)."""
    event = uuid.uuid4().hex
    names = [f"{event[:8]}-{number}" for number in range(PROCESSES)]
    for name in names:
        stack.world.arm(f"{GATE} {name}", f"hold {name}")
    processes = [stack.enqueue_elsewhere("order", None, event, name) for name in names]
    for name in names:
        wait_until(lambda name=name: stack.world.is_reached(name), 20, "the process is about to enqueue")  # type: ignore[misc]
    for name in names:
        stack.world.open(name)
    said = [json.loads(process.communicate()[0]) for process in processes]
    assert {one["id"] for one in said} == {said[0]["id"]}
    assert sorted(one["was_created"] for one in said) == [False, True]
    handle = stack.find(pipelines.ORDER, event)
    assert handle.id == said[0]["id"]
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.world.calls(handle.id) == ["goods", "money", "parcel"]


def test_second_enqueue_of_an_event_returns_the_first_run(stack: Stack) -> None:
    """An event that comes again later, with other input, gets the handle of the run that it has."""
    event = uuid.uuid4().hex
    first, before = stack.run(pipelines.ORDER, event=event)
    second = stack.start(pipelines.ORDER, {"money": ["fail"]}, event=event)
    assert first.was_created
    assert not second.was_created
    assert second.id == first.id
    assert second.status() == before


def test_run_is_found_again_by_its_event_and_by_its_id(stack: Stack) -> None:
    """An application that has kept the event, or the id, gets the handle of the run; another pipeline does not."""
    event = uuid.uuid4().hex
    first, _ = stack.run(pipelines.ORDER, event=event)
    with stack.as_current():
        by_event, by_id = pipelines.ORDER.find_run(event), pipelines.ORDER.get_run(first.id)
        assert by_event == by_id
        assert by_id.status().state is RunState.SUCCEEDED
        assert pipelines.SUMMED.find_run(event) is None
        for pipeline, run_id in (
            (pipelines.SUMMED, first.id),
            (pipelines.ORDER, str(uuid.uuid4())),
            (pipelines.ORDER, "x"),
        ):
            with pytest.raises(UnknownRun):
                pipeline.get_run(run_id)


def test_one_event_may_start_one_run_of_each_pipeline(stack: Stack) -> None:
    """A source event is unique within its pipeline only."""
    event = uuid.uuid4().hex
    first, _ = stack.run(pipelines.ORDER, event=event)
    second, _ = stack.run(pipelines.SUMMED, event=event)
    assert first.id != second.id
    assert second.was_created


def count_runs(stack: Stack, handle: RunHandle) -> int:
    with stack.engine.connect() as connection:
        return len(connection.execute(select(run.c.id).where(run.c.id == handle.id)).all())


def assert_never_was(stack: Stack, handle: RunHandle) -> None:
    """Fail if anything is known of a run, or a worker has heard of it."""
    assert count_runs(stack, handle) == 0
    with pytest.raises(UnknownRun):
        handle.status()
    # A message of it would have been delivered before those of a later run.
    stack.run(pipelines.ORDER)
    assert stack.count_deliveries(handle.id) == 0
    assert [row for row in stack.refusals() if row.run_id == handle.id] == []


def assert_runs_once(stack: Stack, handle: RunHandle) -> None:
    """Fail unless the run is recorded, and its message was sent without the sweeper's help."""
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.count_deliveries(handle.id) == 1
    assert stack.world.calls(handle.id) == ["goods", "money", "parcel"]


@on_each_stack
def test_commit_of_the_callers_connection_starts_the_run(stack: Stack) -> None:
    """A run enqueued on the caller's connection exists and is sent when the caller has committed."""
    with stack.as_current(), stack.engine.begin() as connection:
        handle = pipelines.ORDER.enqueue(Job(), connection=connection)
        assert stack.messages(run_id=handle.id) == []
    assert_runs_once(stack, handle)


def test_rollback_of_the_callers_connection_leaves_no_run(stack: Stack) -> None:
    """A run enqueued on the caller's connection was never there when the caller rolls back."""
    with stack.as_current(), stack.engine.connect() as connection:
        handle = pipelines.ORDER.enqueue(Job(), connection=connection)
        connection.rollback()
    assert_never_was(stack, handle)


@on_each_stack
def test_commit_of_the_callers_session_starts_the_run(stack: Stack) -> None:
    """A run enqueued through the caller's session exists and is sent when the session has committed."""
    with stack.as_current(), Session(stack.engine) as session:
        handle = pipelines.ORDER.enqueue(Job(), session=session)
        session.commit()
        assert_runs_once(stack, handle)


def test_commit_of_a_scoped_session_starts_the_run(stack: Stack) -> None:
    """A scoped session, as Flask-SQLAlchemy has one, works like a session."""
    session = scoped_session(sessionmaker(stack.engine))
    with stack.as_current():
        handle = pipelines.ORDER.enqueue(Job(), session=session)
        session.commit()
    session.remove()
    assert_runs_once(stack, handle)


def test_rollback_of_the_callers_session_leaves_no_run(stack: Stack) -> None:
    """A run enqueued through the caller's session was never there when the session rolls back."""
    with stack.as_current(), Session(stack.engine) as session:
        handle = pipelines.ORDER.enqueue(Job(), session=session)
        session.rollback()
        session.commit()
    assert_never_was(stack, handle)


def test_savepoint_of_a_session_that_is_rolled_back_leaves_no_run(postgres_stack: Stack) -> None:
    """What was enqueued inside a savepoint goes with it; what was enqueued outside it stays."""
    stack = postgres_stack
    with stack.as_current(), Session(stack.engine) as session:
        kept = pipelines.ORDER.enqueue(Job(), session=session)
        taken_back = enqueue_and_take_back(session)
        session.commit()
    assert_runs_once(stack, kept)
    assert_never_was(stack, taken_back)


def enqueue_and_take_back(session: Session) -> RunHandle:
    savepoint = session.begin_nested()
    handle = pipelines.ORDER.enqueue(Job(), session=session)
    savepoint.rollback()
    return handle


def test_savepoint_around_a_released_one_that_is_rolled_back_leaves_no_run(postgres_stack: Stack) -> None:
    """An outer savepoint takes back what was enqueued inside an inner one, also when that was released."""
    stack = postgres_stack
    with stack.as_current(), Session(stack.engine) as session:
        kept = pipelines.ORDER.enqueue(Job(), session=session)
        outer = session.begin_nested()
        with session.begin_nested():
            taken_back = pipelines.ORDER.enqueue(Job(), session=session)
        outer.rollback()
        session.commit()
    assert_runs_once(stack, kept)
    assert_never_was(stack, taken_back)


def test_savepoint_of_a_connection_that_is_rolled_back_leaves_no_run(postgres_stack: Stack) -> None:
    """The same holds for a savepoint of a connection: no run, and no message about it."""
    stack = postgres_stack
    with stack.as_current(), stack.engine.begin() as connection:
        kept = pipelines.ORDER.enqueue(Job(), connection=connection)
        savepoint = connection.begin_nested()
        taken_back = pipelines.ORDER.enqueue(Job(), connection=connection)
        savepoint.rollback()
    assert_runs_once(stack, kept)
    assert_never_was(stack, taken_back)


def test_savepoint_that_is_released_starts_the_run_with_the_commit(postgres_stack: Stack) -> None:
    """What was enqueued inside a savepoint that is released is sent with the outer commit, not before."""
    stack = postgres_stack
    with stack.as_current(), Session(stack.engine) as session:
        with session.begin_nested():
            handle = pipelines.ORDER.enqueue(Job(), session=session)
        assert stack.count_deliveries(handle.id) == 0
        session.commit()
    assert_runs_once(stack, handle)
