"""Many inputs at once, with real workers: each run runs, once, and is told of as one alone is."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Cursor
from sqlalchemy.orm import Session

from backout import LifecycleEvent, RunState
from backout.faultpoints import FaultPoint, SimulatedDeath, armed
from backout.signals import any_event
from backout.tasks.runtime import runtime_of
from tests.integration.engine.conftest import OpenStack
from tests.support.apps import pipelines
from tests.support.apps.pipelines import Job
from tests.support.ledgers import on_each_stack
from tests.support.stack import Stack

MANY = 20


@pytest.fixture
def received() -> Iterator[list[LifecycleEvent]]:
    """What this process hears, while the test runs."""
    events: list[LifecycleEvent] = []

    def hear(sender: str, event: LifecycleEvent, **_: Any) -> None:
        events.append(event)

    any_event.connect(hear, weak=False)
    yield events
    any_event.disconnect(hear)


@on_each_stack
def test_each_run_runs_once(stack: Stack) -> None:
    """The runs of many inputs go the way of one that is enqueued alone, each with its own input."""
    with stack.as_current():
        jobs = [Job(customer=f"c-{number}", script={"money": ["fail"]} if number % 2 else {}) for number in range(MANY)]
        result = pipelines.ORDER.enqueue_many(jobs)
    assert (result.created, result.refused, result.unsent) == (MANY, (), 0)
    for number, handle in enumerate(result):
        run = stack.settle(handle)
        assert run.state is (RunState.ROLLED_BACK if number % 2 else RunState.SUCCEEDED)
        assert run.subject_id == f"c-{number}"
        assert stack.count_deliveries(handle.id) == 1


def test_callers_session_starts_all_of_them(stack: Stack) -> None:
    """Messages go out with the commit of the caller's session, and not before."""
    with stack.as_current(), Session(stack.engine) as session:
        result = pipelines.ORDER.enqueue_many([Job() for _ in range(MANY)], session=session)
        assert stack.messages() == []
        session.commit()
    for handle in result:
        assert stack.settle(handle).state is RunState.SUCCEEDED
        assert stack.count_deliveries(handle.id) == 1


def test_messages_are_those_of_runs_that_are_enqueued_alone(new_stack: OpenStack) -> None:
    """Flower, routes and workers see no difference."""
    stack = new_stack()
    alone = stack.start(pipelines.ORDER)
    with stack.as_current():
        (handle,) = pipelines.ORDER.enqueue_many([Job()])
    first, second = (stack.messages(run_id=run_id)[0] for run_id in (alone.id, handle.id))
    headers, properties = (
        [json.loads(json.dumps(part).replace(alone.id, handle.id)) for part in parts]
        for parts in ((first.headers, second.headers), (first.properties, second.properties))
    )
    assert headers[0] == headers[1]
    assert properties[0].keys() == properties[1].keys()
    assert properties[0]["delivery_info"] == properties[1]["delivery_info"]


def die() -> None:
    raise SimulatedDeath


def test_process_that_dies_after_its_commit_leaves_them_to_the_sweeper(stack: Stack) -> None:
    """R4: what was committed and not sent is sent by the sweeper, and calling again makes nothing twice (R9)."""
    event = uuid.uuid4().hex
    pairs = [(Job(), f"{event}-{number}") for number in range(3)]
    with stack.as_current():
        with armed({FaultPoint.ENQUEUE_COMMITTED: die}), pytest.raises(SimulatedDeath):
            pipelines.ORDER.enqueue_many(pairs[:2], source_event_ids="pairs")
        result = pipelines.ORDER.enqueue_many(pairs, source_event_ids="pairs")
    assert [handle.was_created for handle in result] == [False, False, True]
    for handle in result:
        assert stack.settle(handle).state is RunState.SUCCEEDED
        assert stack.world.calls(handle.id) == ["goods", "money", "parcel"]


def test_each_run_is_told_of(postgres_stack: Stack, received: list[LifecycleEvent]) -> None:
    """Receivers hear of each run that is new, and of no other, after the commit."""
    event = uuid.uuid4().hex
    with postgres_stack.as_current(), Session(postgres_stack.engine) as session:
        pairs = [(Job(), f"{event}-{number % 3}") for number in range(4)]
        result = pipelines.ORDER.enqueue_many(pairs, source_event_ids="pairs", session=session)
        assert received == []
        session.commit()
    told = [(event.name.value, event.run_id) for event in received]
    assert sorted(told) == sorted(("run_created", handle.id) for handle in result if handle.was_created)


def test_telling_of_many_costs_one_query(
    postgres_stack: Stack, received: list[LifecycleEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not one for each."""
    statements: list[object] = []
    # Its schema is verified at the first use.
    assert runtime_of(postgres_stack.app).ledger is not None
    execute = Cursor.execute

    def note(self: Any, query: Any, *values: Any, **options: Any) -> Any:
        statements.append(query)
        return execute(self, query, *values, **options)

    monkeypatch.setattr(Cursor, "execute", note)
    with postgres_stack.as_current():
        pipelines.ORDER.enqueue_many([Job() for _ in range(MANY)])
    assert len(received) == MANY
    assert len(statements) == 2
