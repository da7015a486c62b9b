"""Following what happens from Python: one run, or all."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

import backout
from backout import EntryRecord, RunState, UnknownRun, WaitTimedOut, read_lifecycle
from backout.identifiers import new_run_id
from backout.ledger.models import entry
from backout.pipelines.follow import Follower
from backout.tasks.runtime import runtime_of
from tests.support.apps import pipelines
from tests.support.stack import SETTLE_SECONDS, Stack
from tests.support.waiting import wait_until


def test_run_is_watched_to_its_end(stack: Stack) -> None:
    """Each entry comes once, in order, the last one too; then the loop ends by itself."""
    handle = stack.start(pipelines.ORDER, {"money": ["error", "ok"]})
    watched = list(handle.watch(timeout=SETTLE_SECONDS))
    assert handle.status().state is RunState.SUCCEEDED
    assert [one.id for one in watched] == [one.id for one in handle.entries()]


def test_run_that_waits_for_a_person_ends_the_loop(postgres_stack: Stack) -> None:
    """Settled is enough: the engine does nothing more by itself."""
    handle = postgres_stack.start(pipelines.PARKING, {"money_park": ["fail"]})
    *_, last = (event for one in handle.watch(timeout=SETTLE_SECONDS) for event in read_lifecycle(one))
    assert last.name == "run_parked"


def test_watching_goes_on_after_a_known_entry(postgres_stack: Stack) -> None:
    """Who was interrupted need not see everything again."""
    handle, _ = postgres_stack.run(pipelines.SUMMED)
    known = handle.entries()[3]
    assert [one.id for one in handle.watch(after_id=known.id)] == [one.id for one in handle.entries()[4:]]


def test_time_that_is_up_ends_the_loop_with_an_error(postgres_stack: Stack) -> None:
    """What was committed by then has come before."""
    handle = postgres_stack.start(pipelines.ORDER, {"goods": ["hold:watched"]})
    wait_until(lambda: postgres_stack.world.is_reached("watched"), SETTLE_SECONDS, "the step runs")
    entries: list[EntryRecord] = []
    with pytest.raises(WaitTimedOut, match="still running after 0 s"):
        entries += handle.watch(timeout=0)
    for one in handle.watch(timeout=SETTLE_SECONDS):
        entries.append(one)
        postgres_stack.world.open("watched")
    assert entries[-1].event == "run_succeeded"


def test_unknown_run_is_an_error(postgres_stack: Stack) -> None:
    """A caller's transaction that was rolled back leaves a handle without a run."""
    handle = postgres_stack.handle(pipelines.ORDER, new_run_id())
    with pytest.raises(UnknownRun):
        next(iter(handle.watch()))


def test_all_runs_are_followed(stack: Stack) -> None:
    """From now on, of one pipeline; at the cursor another process goes on."""
    with stack.engine.connect() as connection:
        newest = connection.execute(select(func.coalesce(func.max(entry.c.id), 0))).scalar_one()
    with stack.as_current():
        entries = backout.follow(pipeline="summed", timeout=1.0)
        runs = {stack.start(pipelines.SUMMED).id for _ in range(2)}
        stack.start(pipelines.ORDER)
        seen = list(entries)
    names = [event.name.value for one in seen for event in read_lifecycle(one) if event.run_id in runs]
    assert names.count("run_created") == names.count("run_succeeded") == 2
    rest = Follower(runtime_of(stack.app).ledger, after_id=entries.cursor, pipeline="summed")
    # In front of a number that is missing the cursor waits: what came after it may come again, and nothing else does.
    # Such a number may be older than the beginning, left by a test that rolled back.
    again = []
    while (followed := rest.take(timeout_seconds=0)) is not None:
        again.append(followed.entry.id)
    assert {number for number in again if number > newest} <= {one.id for one in seen}
