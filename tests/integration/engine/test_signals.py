"""What receivers of signals hear of runs that real workers run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery.utils.dispatch import Signal
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.orm import Session

from backout import RunState
from backout.events import LifecycleEvent, read_lifecycle
from backout.signals import any_event, run_created
from backout.tasks.runtime import runtime_of
from backout.tasks.sweeper import sweep_once
from tests.integration.engine.conftest import OpenStack
from tests.support.apps import names, pipelines
from tests.support.apps.pipelines import Job
from tests.support.stack import SETTLE_SECONDS, Stack
from tests.support.waiting import wait_until

LISTENING = "tests.support.apps.listening"


@pytest.fixture(scope="module")
def listening_stack(open_stack: OpenStack) -> Iterator[Stack]:
    """A stack whose worker has receivers connected."""
    stack = open_stack("postgresql")
    stack.start_worker(app=LISTENING)
    yield stack
    for worker in stack.workers:
        worker.kill()


def heard(stack: Stack, run_id: str) -> list[dict[str, Any]]:
    path = stack.world.folder / names.HEARD
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line for line in lines if line["run"] == run_id]


def told(stack: Stack, run_id: str) -> list[str]:
    return [line["name"] + (f" {line['step']}" if line["step"] else "") for line in heard(stack, run_id)]


def wait_for(stack: Stack, run_id: str, name: str) -> list[str]:
    wait_until(lambda: name in told(stack, run_id), SETTLE_SECONDS, f"{name} is heard of {run_id}")
    return told(stack, run_id)


@pytest.fixture
def received() -> Iterator[list[LifecycleEvent]]:
    """What this process hears, while the test runs."""
    events: list[LifecycleEvent] = []

    def hear(sender: str, event: LifecycleEvent, **_: Any) -> None:
        events.append(event)

    any_event.connect(hear, weak=False)
    yield events
    any_event.disconnect(hear)


def test_run_that_succeeds_is_told_in_order_and_once(listening_stack: Stack) -> None:
    """Each step and attempt is told when it starts and when it has ended, and a receiver that raises harms nobody."""
    handle, run = listening_stack.run(pipelines.ORDER)
    assert run.state is RunState.SUCCEEDED
    steps = [
        f"{name} {step}"
        for step in ("goods", "money", "parcel")
        for name in ("step_started", "attempt_started", "attempt_succeeded", "step_succeeded")
    ]
    assert wait_for(listening_stack, handle.id, "run_succeeded") == ["run_started", *steps, "run_succeeded"]
    assert {line["sender"] for line in heard(listening_stack, handle.id)} == {"order"}


def test_signals_tell_what_the_entries_say(listening_stack: Stack) -> None:
    """A failure with retries and a rollback is told event for event as the entries mean it."""
    handle, run = listening_stack.run(pipelines.ORDER, {"goods": ["error", "ok"], "money": ["fail"]})
    assert run.state is RunState.ROLLED_BACK
    wait_for(listening_stack, handle.id, "run_rolled_back")
    meant = [(event.name.value, event.step) for entry in handle.entries() for event in read_lifecycle(entry)]
    pairs = [(line["name"], line["step"]) for line in heard(listening_stack, handle.id)]
    assert meant[0] == ("run_created", None)  # told by the process that enqueued
    assert pairs == meant[1:]
    assert ("rollback_step_succeeded", "goods") in pairs


def test_review_is_told(listening_stack: Stack) -> None:
    """Whoever must page a person hears of it."""
    handle, _ = listening_stack.run(pipelines.REVIEWING, {"money_review": ["fail"]})
    assert wait_for(listening_stack, handle.id, "review_opened")[-3:] == [
        "attempt_failed money_review",
        "step_failed money_review",
        "review_opened",
    ]


def test_sweeper_tells_what_it_repairs(new_stack: OpenStack, received: list[LifecycleEvent]) -> None:
    """An attempt whose whole worker was killed is told as lost, by the sweeper that found it."""
    stack = new_stack("postgresql", settings={"backout_sweeper": False, "backout_lease_seconds": 1.0})
    worker = stack.start_worker()
    handle = stack.start(pipelines.ORDER, {"goods": ["hold:killed", "ok"]})
    wait_until(lambda: stack.world.is_reached("killed"), SETTLE_SECONDS, "the step runs")
    worker.kill()
    received.clear()

    def swept() -> bool:
        sweep_once(runtime_of(stack.app))
        return any(event.name.value == "attempt_lost" for event in received)

    wait_until(swept, SETTLE_SECONDS, "the sweeper ends the attempt")
    assert [(event.name.value, event.step, event.run_id) for event in received] == [
        ("attempt_lost", "goods", handle.id)
    ]


def test_child_that_is_killed_is_told_by_whoever_finds_it(listening_stack: Stack) -> None:
    """A process that dies tells nothing; its attempt is told as lost by the one that takes it over."""
    handle, run = listening_stack.run(pipelines.ORDER, {"goods": ["die", "ok"]})
    assert run.state is RunState.SUCCEEDED
    lines = wait_for(listening_stack, handle.id, "run_succeeded")
    assert lines.count("attempt_lost goods") == 1
    assert lines.count("step_succeeded goods") == 1


# Enqueueing


def test_enqueue_tells_that_the_run_is_there(postgres_stack: Stack, received: list[LifecycleEvent]) -> None:
    """After the commit, and only what this process did: the worker tells the rest."""
    with postgres_stack.as_current():
        handle = pipelines.ORDER.enqueue(Job())
    assert [(event.name.value, event.run_id, event.pipeline) for event in received] == [
        ("run_created", handle.id, "order")
    ]


def test_enqueue_in_the_callers_session_is_told_after_its_commit(
    postgres_stack: Stack, received: list[LifecycleEvent]
) -> None:
    """What is rolled back is never told."""
    with postgres_stack.as_current(), Session(postgres_stack.engine) as session:
        pipelines.ORDER.enqueue(Job(), session=session)
        session.rollback()
        handle = pipelines.ORDER.enqueue(Job(), session=session)
        assert received == []
        session.commit()
        assert [event.run_id for event in received] == [handle.id]


def test_second_enqueue_of_a_source_event_tells_nothing(postgres_stack: Stack, received: list[LifecycleEvent]) -> None:
    """One run is created once (R9)."""
    with postgres_stack.as_current():
        for _ in range(2):
            pipelines.ORDER.enqueue(Job(), source_event_id="told-once")
    assert len(received) == 1


def test_receiver_may_ask_for_one_pipeline(postgres_stack: Stack) -> None:
    """The sender is the pipeline's name."""
    runs: list[str] = []

    def hear(sender: str, event: LifecycleEvent, **_: Any) -> None:
        runs.append(event.run_id)

    run_created.connect(hear, sender="summed", weak=False)
    try:
        with postgres_stack.as_current():
            pipelines.ORDER.enqueue(Job())
            handle = pipelines.SUMMED.enqueue(Job())
    finally:
        run_created.disconnect(hear, sender="summed")
    assert runs == [handle.id]


@pytest.mark.parametrize("is_heard", [False, True])
def test_nothing_is_asked_where_nobody_listens(postgres_stack: Stack, is_heard: bool) -> None:
    """Telling costs one query, and none without receivers and Celery events."""
    statements: list[str] = []
    runtime = runtime_of(postgres_stack.app)
    thread = threading.get_ident()

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if threading.get_ident() == thread:
            statements.append(statement)

    def hear(**_: Any) -> None: ...

    runtime.announcer.task_events = False
    engine = runtime.ledger._engine
    sqlalchemy_event.listen(engine, "before_cursor_execute", count)
    if is_heard:
        any_event.connect(hear, weak=False)
    try:
        with postgres_stack.as_current():
            pipelines.ORDER.enqueue(Job())
    finally:
        any_event.disconnect(hear)
        sqlalchemy_event.remove(engine, "before_cursor_execute", count)
        runtime.announcer.task_events = None
    reads = [statement for statement in statements if statement.lstrip().startswith("SELECT")]
    assert len(reads) == is_heard


def test_receiver_that_raises_does_not_keep_others_from_hearing(
    postgres_stack: Stack, received: list[LifecycleEvent]
) -> None:
    """Celery logs what a receiver raises and calls the next one."""

    def stumble(**_: Any) -> None:
        raise RuntimeError("the receiver stumbled")

    run_created.connect(stumble, weak=False)
    try:
        with postgres_stack.as_current():
            assert pipelines.ORDER.enqueue(Job()).was_created
    finally:
        run_created.disconnect(stumble)
    assert len(received) == 1


def test_signals_are_celerys_own_kind() -> None:
    """Who has connected a receiver to `celery.signals` knows how it goes."""
    assert isinstance(any_event, Signal)
