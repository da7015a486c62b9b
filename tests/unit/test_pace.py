"""Whether a worker goes on with the next step at once is decided without a worker."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from backout import Pipeline, step
from backout.identifiers import TaskId, new_run_id, new_task_id
from backout.ledger.records import StepKey
from backout.pipelines.message import KILL_GRACE_SECONDS, StepMessage
from backout.states import Direction
from backout.tasks.pace import LEAST_GRACE_SECONDS, Time, has_same_options, is_plain

MINUTE = 60.0
FRESH = Time(
    burst_seconds=1.0,
    used_seconds=0.0,
    usual_seconds=0.0,
    limit_seconds=MINUTE + KILL_GRACE_SECONDS,
    timeout_seconds=MINUTE,
)


@step(name="look_up", effect="read", timeout=timedelta(minutes=1))
def look_up(order: str) -> str:
    return order


PIPELINE = Pipeline("paced", [look_up])


def message(**options: object) -> StepMessage:
    key = StepKey(run_id=new_run_id(), round=1, position=0, direction=Direction.FORWARD)
    made = StepMessage.of(PIPELINE.plan, key, task_id=TaskId(new_task_id()))
    return replace(made, options=options)


@pytest.mark.parametrize(
    ("change", "is_enough"),
    [
        pytest.param({}, True, id="a burst that has just begun"),
        pytest.param({"used_seconds": 0.99}, True, id="not yet over"),
        pytest.param({"used_seconds": 1.0}, False, id="over"),
        pytest.param({"burst_seconds": 0.0}, False, id="turned off"),
        pytest.param({"used_seconds": 0.5, "usual_seconds": 0.4}, True, id="a step that fits"),
        pytest.param({"used_seconds": 0.5, "usual_seconds": 0.5}, False, id="a step that usually takes too long"),
        pytest.param({"limit_seconds": None}, True, id="Celery kills nothing"),
        pytest.param({"timeout_seconds": MINUTE + LEAST_GRACE_SECONDS}, True, id="the kill comes late enough"),
        pytest.param({"timeout_seconds": MINUTE + LEAST_GRACE_SECONDS + 1}, False, id="the kill comes too early"),
        pytest.param({"timeout_seconds": 5.0}, True, id="a shorter timeout"),
    ],
)
def test_time_for_the_next_step(change: dict[str, float | None], is_enough: bool) -> None:
    """A burst is short, and Celery's limit of its first message must not cut a later step short."""
    assert replace(FRESH, **change).is_enough is is_enough  # type: ignore[arg-type]  # all fields are numbers


@pytest.mark.parametrize("options", [{}, {"queue": "q"}, {"queue": "q", "priority": 3}, {"routing_key": "r"}])
def test_message_that_only_says_where_is_plain(options: dict[str, object]) -> None:
    """Where it goes can be compared."""
    assert is_plain(message(**options))


@pytest.mark.parametrize("options", [{"expires": 5}, {"headers": {"a": 1}}, {"countdown": 3}, {"queue": "q", "eta": 1}])
def test_message_that_asks_for_more_is_not_plain(options: dict[str, object]) -> None:
    """What Celery does with a message, a burst does not do."""
    assert not is_plain(message(**options))


def test_message_with_a_countdown_is_not_plain() -> None:
    """A retry waits."""
    assert not is_plain(message().later(2.0))


def test_same_options_are_the_same_queue_and_priority() -> None:
    """Options that do not route do not count."""
    assert has_same_options({}, {})
    assert has_same_options({"queue": "q", "expires": 1}, {"queue": "q"})
    assert not has_same_options({"queue": "q"}, {})
    assert not has_same_options({"priority": 1}, {"priority": 2})
