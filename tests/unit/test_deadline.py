"""The end of an attempt whose time is up, with a real timer."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType

import pytest

from backout import StepTimedOut
from backout.tasks.deadline import time_limit
from tests.support.threads import Beside
from tests.support.waiting import wait_until

SHORT_SECONDS = 0.05
LONG_SECONDS = 60.0


@pytest.fixture(autouse=True)
def own_timer() -> Iterator[None]:
    """Give the process's only timer and its signal back as they were."""
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def timed_out() -> StepTimedOut:
    return StepTimedOut(step="charge_card", timeout_seconds=SHORT_SECONDS)


def outlast(seconds: float) -> None:
    """Go on for some time, as a step that hangs in Python code."""
    ends_at = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > ends_at, seconds + 30, "the time has passed")


def user_handler(_number: int, _frame: FrameType | None) -> None:
    """Do nothing, on behalf of user code."""


def remaining_seconds() -> float:
    return signal.getitimer(signal.ITIMER_REAL)[0]


def test_main_thread_is_interrupted_when_its_time_is_up() -> None:
    """A prefork child or a solo worker leaves a step that hangs."""
    started = time.monotonic()
    with pytest.raises(StepTimedOut, match="charge_card did not answer"), time_limit(SHORT_SECONDS, timed_out):
        outlast(30)
    assert SHORT_SECONDS <= time.monotonic() - started < 20


def test_function_that_swallows_its_timeout_is_interrupted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that catches everything and tries once more does not outlive its time for long."""
    monkeypatch.setattr("backout.tasks.deadline.AGAIN_SECONDS", SHORT_SECONDS)
    swallowed = []

    def try_for_ever() -> None:
        for _ in range(3):
            with suppress(StepTimedOut):
                outlast(30)
            swallowed.append("again")
        outlast(30)

    with pytest.raises(StepTimedOut), time_limit(SHORT_SECONDS, timed_out):
        try_for_ever()
    assert len(swallowed) == 3


@pytest.mark.parametrize("error", [None, ValueError("broken"), KeyboardInterrupt()])
def test_nothing_is_left_behind_when_the_block_ends_in_time(error: BaseException | None) -> None:
    """Whatever ends the block, the timer is off and the signal belongs to its owner again."""
    signal.signal(signal.SIGALRM, user_handler)
    try:
        with time_limit(LONG_SECONDS, timed_out):
            assert 0 < remaining_seconds() <= LONG_SECONDS
            if error is not None:
                raise error
    except (ValueError, KeyboardInterrupt) as caught:
        assert caught is error  # noqa: PT017 - that it is passed on is the half of it
    assert remaining_seconds() == 0
    assert signal.getsignal(signal.SIGALRM) is user_handler


def test_nothing_is_left_behind_when_time_is_up() -> None:
    """A step that was interrupted leaves no timer for the next one."""
    signal.signal(signal.SIGALRM, user_handler)
    with pytest.raises(StepTimedOut), time_limit(SHORT_SECONDS, timed_out):
        outlast(30)
    assert remaining_seconds() == 0
    assert signal.getsignal(signal.SIGALRM) is user_handler


def test_thread_is_not_interrupted() -> None:
    """A thread of a pool cannot be interrupted: the block goes on, and no timer of the process is set."""

    def work() -> tuple[float, str]:
        with time_limit(SHORT_SECONDS, timed_out):
            timer = remaining_seconds()
            outlast(2 * SHORT_SECONDS)
            return timer, "answered late"

    with Beside() as beside:
        assert beside.start(work).result(30) == (0.0, "answered late")


def test_timer_of_the_users_own_is_respected() -> None:
    """User code around a step that uses the process's only timer keeps it; the ledger's deadline holds all the same."""
    signal.signal(signal.SIGALRM, user_handler)
    signal.setitimer(signal.ITIMER_REAL, LONG_SECONDS)
    with time_limit(SHORT_SECONDS, timed_out):
        outlast(2 * SHORT_SECONDS)
        assert signal.getsignal(signal.SIGALRM) is user_handler
    assert SHORT_SECONDS < remaining_seconds() < LONG_SECONDS


def test_one_step_after_the_other_has_its_own_limit() -> None:
    """A worker runs many steps in one process; each is timed anew."""
    for _ in range(3):
        with pytest.raises(StepTimedOut), time_limit(SHORT_SECONDS, timed_out):
            outlast(30)
        with time_limit(LONG_SECONDS, timed_out):
            pass
    assert remaining_seconds() == 0
