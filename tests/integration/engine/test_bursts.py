"""Bursts: the worker that has recorded a step runs the next one at once, and everything else is as with messages."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import pytest

import backout
from backout import RunHandle, RunState
from backout.events import Event
from backout.faultpoints import FaultPoint
from tests.integration.engine.conftest import OpenStack
from tests.support.apps import pipelines
from tests.support.events import SECONDS, watching
from tests.support.history import assert_entries_explain
from tests.support.ledgers import ENGINE_DATABASES
from tests.support.stack import Stack
from tests.support.waiting import wait_until

LONG_BURSTS = {"backout_burst_seconds": 15}
ROOMS = list(pipelines.LONG_NAMES)
UNDONE_ROOMS = [f"undo {room}" for room in reversed(ROOMS)]


def in_bursts(handle: RunHandle) -> list[tuple[str | None, bool]]:
    """Return the attempts of a run in order: the name of the step, and whether it had no message of its own."""
    started = [entry for entry in handle.entries() if entry.event is Event.ATTEMPT_STARTED]
    return [(entry.step, bool(entry.detail and entry.detail.get("burst"))) for entry in started]


@pytest.fixture(scope="module", params=ENGINE_DATABASES)
def on_each(request: pytest.FixtureRequest, open_stack: OpenStack) -> Stack:
    """A stack whose bursts end only where they must; a test of what the ledger writes runs once on each database."""
    stack = open_stack(request.param, settings=LONG_BURSTS)
    stack.start_worker("--task-events")
    return stack


@pytest.fixture(scope="module")
def bursting(open_stack: OpenStack) -> Stack:
    """The same on PostgreSQL, for what does not depend on the database."""
    stack = open_stack("postgresql", settings=LONG_BURSTS)
    stack.start_worker("--task-events")
    return stack


@pytest.fixture(scope="module")
def plain(open_stack: OpenStack) -> Stack:
    """A stack without bursts."""
    stack = open_stack("postgresql", settings={"backout_burst_seconds": 0})
    stack.start_worker()
    return stack


def test_one_message_carries_a_whole_run(on_each: Stack) -> None:
    """Only the first step has a message; every attempt is in the ledger as always."""
    handle, record = on_each.run(pipelines.LONG)
    assert record.state is RunState.SUCCEEDED
    assert in_bursts(handle) == [(ROOMS[0], False), *((room, True) for room in ROOMS[1:])]
    assert on_each.world.calls(handle.id) == ROOMS
    assert record.attempt_count == len(ROOMS)
    assert_entries_explain(handle)


def test_one_message_carries_a_whole_rollback(on_each: Stack) -> None:
    """The way back goes on in the same burst, in reverse start order (R5)."""
    handle, record = on_each.run(pipelines.LONG, {ROOMS[-1]: ["fail"]})
    assert record.state is RunState.ROLLED_BACK
    assert [is_in_burst for _, is_in_burst in in_bursts(handle)] == [False, *[True] * 15]
    assert on_each.world.calls(handle.id) == [*ROOMS, *UNDONE_ROOMS]
    assert_entries_explain(handle)


def test_outcome_and_next_claim_are_one_commit(on_each: Stack) -> None:
    """There is no moment at which a step is recorded and the next one is nobody's: both have one time."""
    handle, _ = on_each.run(pipelines.ORDER)
    entries = {(entry.event, entry.step): entry.at for entry in handle.entries()}
    assert (Event.STEP_READY, "money") not in entries
    if "sqlite" not in on_each.ledger_url:
        assert entries[Event.STEP_SUCCEEDED, "goods"] == entries[Event.ATTEMPT_STARTED, "money"]


def test_undo_and_next_claim_are_one_commit(on_each: Stack) -> None:
    """R4: there is no moment at which a step is undone and the next compensation is nobody's."""
    handle, _ = on_each.run(pipelines.ORDER, {"parcel": ["fail"]})
    assert_undone_in_one_commit(handle, Event.ATTEMPT_STARTED, has_clock="sqlite" not in on_each.ledger_url)


def assert_undone_in_one_commit(handle: RunHandle, following: Event, *, has_clock: bool = True) -> None:
    """Check that the second step was undone, and what came next for the first one, at one time."""
    back = [
        entry for entry in handle.entries() if entry.event is Event.STEP_UNDONE or entry.direction == "compensation"
    ]
    told = [(entry.event, entry.step) for entry in back]
    ended = told.index((Event.STEP_SUCCEEDED, "money"))
    assert told[ended : ended + 3] == [
        (Event.STEP_SUCCEEDED, "money"),
        (Event.STEP_UNDONE, "money"),
        (following, "goods"),
    ]
    if has_clock:
        assert len({entry.at for entry in back[ended : ended + 3]}) == 1


def test_each_step_is_a_celery_task_of_its_own(bursting: Stack) -> None:
    """Monitors see each step received, started and succeeded under its own id, with its name, parent and root."""
    with watching(bursting) as watcher:
        handle, _ = bursting.run(pipelines.LONG, {ROOMS[2]: ["fail"]})
        rows = {row.task_id: row for row in handle.steps()}
        wait_until(lambda: ended_tasks(watcher.events) >= rows.keys(), SECONDS, "all ends are told")
    told = [event for event in list(watcher.events) if event.get("uuid") in rows]
    for task_id, row in rows.items():
        own = [event for event in told if event["uuid"] == task_id]
        is_failed = row.state.value == "failed"
        names = [event["type"] for event in own if event["type"] != "task-sent"]
        assert names == ["task-received", "task-started", "task-failed" if is_failed else "task-succeeded"]
        received = next(event for event in own if event["type"] == "task-received")
        assert received["name"].endswith(row.step) or received["name"].endswith(f"undo_{row.step}")
        assert received["root_id"] == handle.id
        assert row.run_id in received["kwargs"]
    assert len({event["hostname"] for event in told if event["type"] != "task-sent"}) == 1
    second = next(event for event in told if event["type"] == "task-received" and event["uuid"] != handle.id)
    assert second["parent_id"] == handle.id


def ended_tasks(events: list[dict[str, Any]]) -> set[str]:
    """Return the ids of the tasks whose end was told."""
    return {event["uuid"] for event in list(events) if event["type"] in ("task-succeeded", "task-failed")}


def test_the_log_reads_as_always(bursting: Stack) -> None:
    """Each step is received and succeeds in the worker's log, whoever has received it."""
    handle, _ = bursting.run(pipelines.ORDER)
    bursting.wait_until_idle()
    log = bursting.workers[0].log_path.read_text()
    for row in handle.steps():
        assert f"[{row.task_id}] received" in log
        assert f"[{row.task_id}] succeeded in" in log


def test_retry_in_a_burst_gets_a_message(bursting: Stack) -> None:
    """An attempt that has to wait is sent as always; after it a new burst begins."""
    handle, record = bursting.run(pipelines.LONG, {ROOMS[3]: ["error", "ok"]})
    assert record.state is RunState.SUCCEEDED
    assert in_bursts(handle) == [
        (ROOMS[0], False),
        *((room, True) for room in ROOMS[1:4]),
        (ROOMS[3], False),
        *((room, True) for room in ROOMS[4:]),
    ]


def test_message_is_acknowledged_after_the_last_step(bursting: Stack) -> None:
    """R1: while a step of the burst runs, the message that began it is not acknowledged."""
    handle = bursting.start(pipelines.ORDER, {"parcel": ["hold:last"]})
    wait_until(lambda: bursting.world.is_reached("last"), 15, "the last step runs")
    (held,) = bursting.unacknowledged(run_id=handle.id)
    assert held.task.endswith("goods")
    bursting.world.open("last")
    assert bursting.settle(handle).state is RunState.SUCCEEDED
    wait_until(lambda: not bursting.unacknowledged(run_id=handle.id), 10, "it is acknowledged")


@pytest.mark.parametrize(
    ("pipeline", "with_messages"),
    [
        pytest.param(pipelines.STUCK, ["goods", "stuck"], id="a rate limit"),
        pytest.param(pipelines.EARLY, ["goods", "money_early", "parcel"], id="an early acknowledgement"),
        pytest.param(pipelines.KEYED, ["keyed", "parcel"], id="a key of one's own, first"),
        pytest.param(pipelines.PUBLISHED, ["goods", "page", "parcel"], id="a question in between"),
    ],
)
def test_what_is_special_gets_a_message(bursting: Stack, pipeline: backout.Pipeline, with_messages: list[str]) -> None:
    """A burst holds plain steps only; whatever asks Celery or the ledger for more is sent as always."""
    handle, record = bursting.run(pipeline)
    assert record.state is RunState.SUCCEEDED
    sent = [step for step, is_in_burst in in_bursts(handle) if not is_in_burst]
    assert list(dict.fromkeys(sent)) == [step for step in with_messages if step in sent]
    assert set(special_of(pipeline)) <= set(sent)


def special_of(pipeline: backout.Pipeline) -> list[str]:
    return [step.name for step in pipeline.steps if step.name in ("stuck", "money_early", "keyed")]


def test_step_in_another_queue_is_sent_there(bursting: Stack) -> None:
    """A queue is chosen for a reason: other workers, another machine."""
    handle = bursting.start(pipelines.UNHEARD)
    wait_until(lambda: bursting.messages("nobody", run_id=handle.id), 15, "the message is sent")
    assert bursting.states(handle) == {"goods": "succeeded", "unheard": "ready"}


def test_step_that_a_route_sends_elsewhere_is_sent_there(new_stack: OpenStack) -> None:
    """Celery's `task_routes` are asked as they would be for a message."""
    stack = new_stack(settings={**LONG_BURSTS, "task_routes": {"*.money": {"queue": "nobody"}}})
    stack.start_worker()
    handle = stack.start(pipelines.ORDER)
    wait_until(lambda: stack.messages("nobody", run_id=handle.id), 15, "the message is sent")
    assert stack.states(handle) == {"goods": "succeeded", "money": "ready"}


def test_without_bursts_each_step_has_its_message(plain: Stack) -> None:
    """0 turns bursts off."""
    handle, record = plain.run(pipelines.LONG, {ROOMS[2]: ["fail"]})
    assert record.state is RunState.ROLLED_BACK
    assert {is_in_burst for _, is_in_burst in in_bursts(handle)} == {False}


def test_without_bursts_undo_and_the_next_one_ready_are_one_commit(plain: Stack) -> None:
    """R4: there is no moment at which a step is undone and nobody is to undo the one before it."""
    handle, _ = plain.run(pipelines.ORDER, {"parcel": ["fail"]})
    assert_undone_in_one_commit(handle, Event.STEP_READY)


def test_compensations_are_told_the_same_in_a_burst(bursting: Stack, plain: Stack) -> None:
    """A burst knows from the plan of the rollback what the message of a compensation would have to ask for."""
    script = {"money": ["error", "ok"], "parcel": ["fail:no courier in that area"]}
    (one, _), (other, _) = bursting.run(pipelines.ORDER, script), plain.run(pipelines.ORDER, script)
    assert in_bursts(one)[-3:] == [("parcel", True), ("money", True), ("goods", True)]
    for name in ("parcel", "money", "goods"):
        told = [started.world.told(f"{run.id} {name}") for started, run in ((bursting, one), (plain, other))]
        assert json.loads(json.dumps(told[0]).replace(one.id, other.id)) == told[1]


def test_a_burst_that_ends_on_the_way_back_sends_what_is_left(new_stack: OpenStack) -> None:
    """The next compensation is made ready, and a chain carries the rest; each is still the child of the one before."""
    stack = new_stack(settings={"backout_burst_seconds": 0.2})
    stack.start_worker("--task-events")
    with watching(stack) as watcher:
        handle = stack.start(pipelines.LONG, {ROOMS[-1]: ["fail"], UNDONE_ROOMS[2]: ["hold:slow"]})
        wait_until(lambda: stack.world.is_reached("slow"), 15, "the third undo runs")
        reached = time.monotonic()
        wait_until(lambda: time.monotonic() - reached > 0.3, 10, "the burst's time is up")
        stack.world.open("slow")
        assert stack.settle(handle).state is RunState.ROLLED_BACK
        tasks = [row.task_id for row in handle.steps()]
        watcher.wait_for(tasks[-1], "task-succeeded")
    assert stack.world.calls(handle.id) == [*ROOMS, *UNDONE_ROOMS]
    sent = [step for step, is_in_burst in in_bursts(handle)[len(ROOMS) :] if not is_in_burst]
    assert UNDONE_ROOMS[3].removeprefix("undo ") in sent
    parents = {event["uuid"]: event["parent_id"] for event in watcher.of_root(handle.id)}
    assert parents == dict(zip(tasks, [None, *tasks[:-1]], strict=True))
    assert_entries_explain(handle)


def test_a_burst_that_lasts_too_long_ends(new_stack: OpenStack) -> None:
    """When its time is up the next step gets a message, behind those that wait."""
    stack = new_stack(settings={"backout_burst_seconds": 0.2})
    stack.start_worker()
    handle = stack.start(pipelines.LONG, {ROOMS[1]: ["hold:slow"]})
    wait_until(lambda: stack.world.is_reached("slow"), 15, "the second step runs")
    reached = time.monotonic()
    wait_until(lambda: time.monotonic() - reached > 0.3, 10, "the burst's time is up")
    stack.world.open("slow")
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert dict(in_bursts(handle))[ROOMS[2]] is False


def test_person_who_pauses_the_run_stops_the_burst(bursting: Stack) -> None:
    """R13: what was decided while a step ran holds for the next one."""
    handle = bursting.start(pipelines.ORDER, {"goods": ["hold:pause"]})
    wait_until(lambda: bursting.world.is_reached("pause"), 15, "the first step runs")
    with bursting.as_current():
        backout.pause(handle, actor="ada", reason="the courier is on strike")
    bursting.world.open("pause")
    wait_until(lambda: bursting.states(handle).get("goods") == "succeeded", 15, "the first step is recorded")
    assert handle.status().state is RunState.PAUSED
    assert bursting.states(handle) == {"goods": "succeeded", "money": "ready"}
    with bursting.as_current():
        backout.resume(handle, actor="ada", reason="the strike is over")
    assert bursting.settle(handle).state is RunState.SUCCEEDED
    assert bursting.world.calls(handle.id) == ["goods", "money", "parcel"]


def test_person_who_pauses_a_rollback_stops_the_burst(bursting: Stack) -> None:
    """R13: what was decided while a compensation ran holds for the next one; what was undone is recorded."""
    handle = bursting.start(pipelines.ORDER, {"parcel": ["fail"], "undo money": ["hold:pause back"]})
    wait_until(lambda: bursting.world.is_reached("pause back"), 15, "the compensation runs")
    with bursting.as_current():
        backout.pause(handle, actor="ada", reason="the bank is closed")
    bursting.world.open("pause back")
    wait_until(lambda: bursting.states(handle).get("money") == "undone", 15, "the compensation is recorded")
    assert handle.status().state is RunState.PAUSED
    assert "undo goods" not in bursting.world.calls(handle.id)
    with bursting.as_current():
        backout.continue_rollback(handle, actor="ada", reason="the bank is open")
    assert bursting.settle(handle).state is RunState.ROLLED_BACK
    assert bursting.world.calls(handle.id)[-1] == "undo goods"
    assert_entries_explain(handle)


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_worker_that_shall_stop_begins_no_other_step(new_stack: OpenStack, pool: str) -> None:
    """On SIGTERM the running step is finished and recorded; the next one gets a message."""
    stack = new_stack(settings=LONG_BURSTS)
    worker = stack.start_worker("--pool", pool, "--concurrency", "2")
    handle = stack.start(pipelines.LONG, {ROOMS[1]: ["hold:warm"]})
    wait_until(lambda: stack.world.is_reached("warm"), 15, "the second step runs")
    worker.send(signal.SIGTERM)
    wait_until(lambda: "Warm shutdown" in worker.log, 15, "the worker shuts down")
    stack.world.open("warm")
    assert worker.wait_until_ended() == 0
    # A pool without an event loop may still take up a message that comes at this moment.
    assert not any(is_in_burst for room, is_in_burst in in_bursts(handle) if room not in ROOMS[:2])
    stack.start_worker()
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.world.calls(handle.id) == ROOMS
    assert_entries_explain(handle)


def test_cold_shutdown_between_two_steps_gives_the_claim_back(new_stack: OpenStack) -> None:
    """A step that was claimed with the outcome before it, and not begun, runs on the next worker; nobody is asked."""
    stack = new_stack(settings=LONG_BURSTS)
    worker = stack.start_worker()
    committed = f"goods {FaultPoint.AFTER_COMMIT}"
    handle = stack.start(pipelines.ONCE, faults={committed: "hold between"})
    wait_until(lambda: stack.world.is_reached("between"), 15, "the first step is committed")
    worker.send(signal.SIGQUIT)
    stack.world.open("between")
    worker.wait_until_ended()
    assert stack.states(handle) == {"goods": "succeeded", "money_once": "ready"}
    stack.start_worker()
    assert stack.settle(handle).state is RunState.SUCCEEDED
    assert stack.world.calls(handle.id) == ["goods", "money_once", "parcel"]
    assert_entries_explain(handle)


def test_child_killed_in_a_burst_is_noticed_at_once(new_stack: OpenStack) -> None:
    """The message that began the burst comes back; a later step of it is not left to its lease of an hour."""
    stack = new_stack(settings={**LONG_BURSTS, "backout_lease_seconds": 3600, "backout_resend_seconds": 3600})
    stack.start_worker()
    handle = stack.start(pipelines.LONG, faults={f"{ROOMS[5]} inside": "kill child"})
    assert stack.settle(handle).state is RunState.SUCCEEDED, stack.story(handle)
    assert stack.world.effects(handle.id) == ROOMS
    assert stack.world.calls(handle.id).count(ROOMS[5]) == 2
    assert_entries_explain(handle)


def test_rate_limit_given_while_the_worker_runs_ends_bursts_into_the_task(new_stack: OpenStack) -> None:
    """`celery control rate_limit` is told to the pool's children, which Celery itself does not."""
    stack = new_stack(settings=LONG_BURSTS)
    stack.start_worker()
    task = f"{pipelines.__name__}.money"
    _, before = stack.run(pipelines.ORDER), stack.app.control.rate_limit(task, "1000/s", reply=True)
    assert before
    wait_until(lambda: dict(in_bursts(stack.run(pipelines.ORDER)[0]))["money"] is False, 20, "the limit is heeded")
    stack.app.control.rate_limit(task, 0, reply=True)
    wait_until(lambda: dict(in_bursts(stack.run(pipelines.ORDER)[0]))["money"] is True, 20, "the limit is gone")


def test_events_that_a_monitor_turns_on_are_sent_from_bursts(new_stack: OpenStack) -> None:
    """Flower turns them on when it comes: the pool's children learn of it."""
    stack = new_stack(settings={**LONG_BURSTS, "worker_send_task_events": False, "task_send_sent_event": False})
    stack.start_worker()
    with watching(stack) as watcher:
        stack.app.control.enable_events(reply=True)

        def is_told() -> bool:
            handle, _ = stack.run(pipelines.ORDER)
            stack.wait_until_idle()
            return any(event.get("uuid") == handle.steps()[-1].task_id for event in list(watcher.events))

        wait_until(is_told, 20, "the last step of a burst is told")


def test_soft_time_limit_of_the_worker_turns_bursts_off(new_stack: OpenStack) -> None:
    """It is counted from the message, and would interrupt a later step."""
    stack = new_stack(settings=LONG_BURSTS)
    stack.start_worker("--soft-time-limit", "60")
    handle, record = stack.run(pipelines.ORDER)
    assert record.state is RunState.SUCCEEDED
    assert {is_in_burst for _, is_in_burst in in_bursts(handle)} == {False}


@pytest.mark.parametrize("pool", ["threads", "solo", "gevent"])
def test_every_pool_runs_bursts(new_stack: OpenStack, pool: str) -> None:
    """A burst is the thread's, the greenlet's or the process's own."""
    stack = new_stack(settings=LONG_BURSTS)
    stack.start_worker("--pool", pool, "--concurrency", "4")
    handles = [stack.start(pipelines.LONG, {ROOMS[-1]: ["fail"]} if number % 2 else {}) for number in range(6)]
    for number, handle in enumerate(handles):
        assert stack.settle(handle).state is (RunState.ROLLED_BACK if number % 2 else RunState.SUCCEEDED)
        assert sum(not is_in_burst for _, is_in_burst in in_bursts(handle)) == 1
        assert_entries_explain(handle)
