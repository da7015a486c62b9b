"""The Celery events that workers send of what happens to runs, where task events are on."""

from __future__ import annotations

from typing import Any

import pytest
from celery.events.state import State
from flower.events import EventsState

from backout.events import Lifecycle, read_lifecycle
from backout.tasks.announce import EVENT_PREFIX
from tests.integration.engine.conftest import OpenStack
from tests.support.apps import pipelines
from tests.support.events import SECONDS, Watcher, watching
from tests.support.stack import Stack
from tests.support.waiting import wait_until

SECRET = "refused because of 4111-1111-1111-1111"
OWN_FIELDS = {"run_id", "pipeline", "step", "direction", "attempt", "entry_id"}
CELERYS_FIELDS = {"type", "hostname", "utcoffset", "pid", "clock", "timestamp", "local_received"}


def of_run(watcher: Watcher, run_id: str) -> list[dict[str, Any]]:
    found = [event for event in list(watcher.events) if event.get("run_id") == run_id]
    return sorted(found, key=lambda event: (event["entry_id"], event["clock"]))


def is_told(watcher: Watcher, run_id: str, kind: str) -> bool:
    return any(event["type"] == kind for event in of_run(watcher, run_id))


def test_worker_with_task_events_tells_monitors(postgres_stack: Stack) -> None:
    """Every lifecycle event of a run is a Celery event of its own type, with ids and names and nothing else."""
    with watching(postgres_stack) as watcher:
        handle, _ = postgres_stack.run(pipelines.ORDER, {"money": [f"fail:{SECRET}"]})
        wait_until(lambda: is_told(watcher, handle.id, "backout-run-rolled-back"), SECONDS, "the end is told")
    events = of_run(watcher, handle.id)
    meant = [event.name.value for entry in handle.entries() for event in read_lifecycle(entry)]
    assert [event["type"] for event in events] == [f"{EVENT_PREFIX}{name.replace('_', '-')}" for name in meant]
    assert {frozenset(event) - CELERYS_FIELDS for event in events} == {frozenset(OWN_FIELDS)}
    assert SECRET not in str(events)
    assert {event["pipeline"] for event in events} == {"order"}


def test_events_name_the_worker(postgres_stack: Stack) -> None:
    """A monitor groups them with what else comes from the worker."""
    with watching(postgres_stack) as watcher:
        handle, _ = postgres_stack.run(pipelines.SUMMED)
        wait_until(lambda: is_told(watcher, handle.id, "backout-run-succeeded"), SECONDS, "the end is told")
    (told,) = [event for event in of_run(watcher, handle.id) if event["type"] == "backout-run-succeeded"]
    (done, *_) = [event for event in watcher.events if event["type"] == "task-succeeded"]
    assert told["hostname"] == done["hostname"]


def test_worker_that_is_started_with_the_option_alone_tells_monitors(new_stack: OpenStack) -> None:
    """`-E` is known to the worker only; the children of its pool and its sweeper are told."""
    stack = new_stack(settings={"worker_send_task_events": False, "task_send_sent_event": False})
    stack.start_worker("-E")
    with watching(stack) as watcher:
        handle, _ = stack.run(pipelines.SUMMED)
        wait_until(lambda: is_told(watcher, handle.id, "backout-run-succeeded"), SECONDS, "the end is told")
    # The process that enqueues is no worker, and has not switched on the events of what it sends.
    assert not is_told(watcher, handle.id, "backout-run-created")


def test_worker_without_task_events_sends_none(new_stack: OpenStack) -> None:
    """Who has not asked for events pays for none."""
    stack = new_stack(settings={"worker_send_task_events": False, "task_send_sent_event": False})
    stack.start_worker()
    with watching(stack) as watcher:
        handle, _ = stack.run(pipelines.SUMMED)
        stack.wait_until_idle()
    assert of_run(watcher, handle.id) == []


@pytest.mark.parametrize("name", Lifecycle)
@pytest.mark.parametrize("monitor", [State, EventsState])
def test_monitors_pass_over_events_that_they_do_not_know(monitor: type[Any], name: Lifecycle) -> None:
    """Neither Celery's own state of a cluster nor Flower's makes a task or a worker of them."""
    state = monitor()
    state.event(
        {
            "type": f"{EVENT_PREFIX}{name.value.replace('_', '-')}",
            "hostname": "worker@host",
            "timestamp": 1.0,
            "local_received": 1.0,
            "clock": 1,
            "pid": 1,
            "utcoffset": 0,
            **dict.fromkeys(OWN_FIELDS),
        }
    )
    assert (len(state.tasks), len(state.workers)) == (0, 0)
