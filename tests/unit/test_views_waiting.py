"""What waits for a worker, and when that is a warning."""

import pytest

from backout.events import Event
from backout.states import Direction, RunState, StepState
from backout.views.clock import Clock
from backout.views.marks import Tone
from backout.views.waiting import find_waits, say_wait
from tests.support.pictures import at, done, entry_record, picture, step_record


@pytest.mark.parametrize(
    ("seconds", "tone", "told"),
    [
        (62, Tone.ACTIVE, "charge_card waits for a worker since 05:20:02, 1 min ago."),
        (
            63,
            Tone.WARNING,
            "charge_card waits for a worker since 05:20:02, 1 min 1 s ago: no worker has taken it within 1 min. "
            "Look whether a worker is running, and what else it has to do for so long.",
        ),
    ],
)
def test_step_that_nobody_takes_is_a_warning_after_a_minute(seconds: float, tone: Tone, told: str) -> None:
    """Since it became due, however often its message was sent again."""
    row = step_record("charge_card", StepState.READY, sends=3, dispatched_at=at(50))
    entries = [
        entry_record(Event.STEP_READY, row, seconds=2),
        entry_record(Event.MESSAGE_RESENT, row, seconds=50),
    ]
    waiting = picture(RunState.RUNNING, [*done("check_address"), row], entries=entries, seconds=seconds)
    [wait] = find_waits(waiting)
    assert wait.tone is tone
    assert say_wait(waiting, wait, Clock(now=waiting.now)) == told


def test_retry_and_undo_wait_for_a_worker_when_they_are_due() -> None:
    """An attempt that is scheduled waits for its time first."""
    rows = [
        step_record("charge_card", StepState.RETRY_SCHEDULED, next_retry_at=at(20)),
        step_record("book_courier", StepState.RETRY_SCHEDULED, next_retry_at=at(40)),
        step_record("reserve_stock", StepState.READY, Direction.COMPENSATION),
    ]
    waiting = picture(RunState.ROLLING_BACK, rows, seconds=30)
    told = [say_wait(waiting, wait, Clock(now=waiting.now)) for wait in find_waits(waiting)]
    assert told == [
        "charge_card waits for a worker since 05:20:20, 10 s ago.",
        "undo reserve_stock waits for a worker since 05:20:01, 29 s ago.",
    ]


@pytest.mark.parametrize("state", [RunState.PAUSED, RunState.IN_REVIEW, RunState.PARKED, RunState.CANCELLED])
def test_run_that_a_person_has_stopped_waits_for_no_worker(state: RunState) -> None:
    """Nothing is claimed in it."""
    assert find_waits(picture(state, [step_record("charge_card", StepState.READY)])) == []
