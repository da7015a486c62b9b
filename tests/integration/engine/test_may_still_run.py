"""An attempt that nobody hears of may still run: nothing is asked or undone before its time is up (R5, R8)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from backout import Direction, RunHandle, RunState
from backout.events import Event
from backout.faultpoints import FaultPoint
from backout.ledger.records import EntryRecord
from tests.integration.engine.conftest import OpenStack
from tests.support.apps import pipelines
from tests.support.history import assert_entries_explain
from tests.support.stack import COMPENSATION, Stack
from tests.support.waiting import wait_until


@contextmanager
def frozen(stack: Stack, handle: RunHandle, gate: str) -> Iterator[None]:
    """Freeze the process that stands at a gate, as a network that is cut would hide it; let it go on at the end."""
    wait_until(lambda: stack.world.is_reached(gate), 15, "the first attempt runs")
    pid = stack.world.lines(handle.id)[-1].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        stack.world.open(gate)
        # Celery may have killed it meanwhile, long after its time.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


MUST_BE_OVER_SECONDS = 1 + 30 + 5
"""The timeout of the steps below, what Celery lets a process live beyond it, and some grace."""


def first(handle: RunHandle, event: Event) -> EntryRecord:
    return next(entry for entry in handle.entries() if entry.event is event)


def test_nothing_is_asked_or_undone_before_the_attempt_must_be_over(new_stack: OpenStack) -> None:
    """Asked too early, the bank could say "not done" a moment before it is; undone too early, an undo would miss it."""
    stack = new_stack()
    stack.start_worker("--concurrency", "4", "--pool", "prefork")
    asking = stack.start(pipelines.SLOW, {"money_slow": ["hold:slow", "ok"]})
    undoing = stack.start(pipelines.LOSING, {"money_lost": ["hold:lost", "fail"]})
    with frozen(stack, asking, "slow"), frozen(stack, undoing, "lost"):
        assert stack.settle(asking, MUST_BE_OVER_SECONDS + 60).state is RunState.SUCCEEDED, stack.story(asking)
        assert stack.settle(undoing, 60).state is RunState.ROLLED_BACK, stack.story(undoing)
    assert waited(asking, Direction.RECONCILE) >= MUST_BE_OVER_SECONDS
    assert waited(undoing, COMPENSATION) >= MUST_BE_OVER_SECONDS
    assert "may run until then" in (first(asking, Event.WAIT_STARTED).reason or "")
    assert first(undoing, Event.WAIT_ENDED).direction is COMPENSATION
    assert stack.world.calls(asking.id) == ["goods", "money_slow"]
    assert stack.world.effects(undoing.id)[-2:] == ["undo money_lost", "undo goods"]
    for handle in (asking, undoing):
        assert_entries_explain(handle)


def waited(handle: RunHandle, direction: Direction) -> float:
    """Return the seconds from the start of the second step's first attempt to the first one in a direction."""
    starts = [entry for entry in handle.entries() if entry.event is Event.ATTEMPT_STARTED]
    lost = next(entry for entry in starts if entry.position == 1)
    return (next(entry for entry in starts if entry.direction is direction).at - lost.at).total_seconds()


def test_attempt_that_is_held_up_too_long_does_not_begin(postgres_stack: Stack) -> None:
    """Between claim and call a process may stand still for as long as it likes: after that it calls nothing."""
    stack = postgres_stack
    gate = "claimed"
    handle = stack.start(pipelines.ASKED, faults={f"money_asked {FaultPoint.AFTER_CLAIM}": f"hold {gate}"})
    wait_until(lambda: [e for e in handle.entries() if e.event is Event.WAIT_STARTED], 20, "the question waits")
    stack.world.open(gate)
    run = stack.settle(handle)
    assert run.state is RunState.SUCCEEDED, stack.story(handle)
    assert stack.world.calls(handle.id) == ["goods", "money_asked", "parcel"]
    assert (first(handle, Event.LATE_RESULT).detail or {})["outcome"] == "NotCalled"
    assert_entries_explain(handle)


def test_late_answer_ends_the_wait(postgres_stack: Stack) -> None:
    """An attempt that answers after all is over: nobody waits for its deadline of ten minutes any more."""
    stack = postgres_stack
    gate = "patient"
    handle = stack.start(pipelines.ASKED, {"money_asked": [f"hold:{gate}", "ok"]})
    with frozen(stack, handle, gate):
        wait_until(lambda: [e for e in handle.entries() if e.event is Event.WAIT_STARTED], 20, "the question waits")
    run = stack.settle(handle)
    assert run.state is RunState.SUCCEEDED, stack.story(handle)
    events = [entry.event for entry in handle.entries()]
    assert events.index(Event.LATE_RESULT) < events.index(Event.WAIT_ENDED) < events.index(Event.QUESTION_ANSWERED)
    assert stack.world.calls(handle.id) == ["goods", "money_asked", "parcel"]
    assert_entries_explain(handle)
