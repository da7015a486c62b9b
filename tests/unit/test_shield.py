"""Signals around a ledger transaction, with real signals."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from backout.tasks.deadline import time_limit
from backout.tasks.shield import SIGNALS, TIME_IS_UP, shield
from tests.support.threads import Beside
from tests.support.waiting import wait_until


class Stopped(Exception):
    """What a handler raises, as Celery's do."""


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """Give every signal back the handler that it had before the test."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def seen() -> list[int]:
    """The signals that were delivered, in order, after `handle` was installed for them."""
    return []


def handle(seen: list[int], *numbers: int) -> None:
    for number in numbers:
        signal.signal(number, lambda delivered, _frame: seen.append(delivered))


def raise_stopped(_number: int, _frame: object) -> None:
    raise Stopped


def send(*numbers: int) -> None:
    """Send this process real signals; their handlers have run when this returns."""
    for number in numbers:
        signal.raise_signal(number)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: signal.Signals(number).name)
def test_signal_is_deferred_and_delivered_after_the_block(number: int, seen: list[int]) -> None:
    """Nothing comes out of COMMIT but the database's own answer; the signal is not lost."""
    handle(seen, number)
    with shield():
        send(number)
        assert seen == []
    assert seen == [number]


def test_signal_from_another_process_is_deferred_as_well(seen: list[int]) -> None:
    """Where a signal comes from makes no difference."""
    handle(seen, signal.SIGTERM)
    with shield():
        child = os.spawnlp(os.P_NOWAIT, "kill", "kill", "-TERM", str(os.getpid()))
        assert os.waitpid(child, 0)[1] == 0
        assert seen == []
    assert seen == [signal.SIGTERM]


def test_handlers_exception_comes_out_after_the_block() -> None:
    """A shutdown that Celery raises from its handler is raised when the outcome is recorded."""
    signal.signal(signal.SIGTERM, raise_stopped)
    recorded = []

    def record() -> None:
        with shield():
            send(signal.SIGTERM)
            recorded.append("outcome")

    with pytest.raises(Stopped):
        record()
    assert recorded == ["outcome"]


def test_signal_that_comes_twice_is_delivered_once(seen: list[int]) -> None:
    """As the operating system does with a signal that is pending already."""
    handle(seen, signal.SIGUSR1)
    with shield():
        send(signal.SIGUSR1, signal.SIGUSR1)
    assert seen == [signal.SIGUSR1]


def test_different_signals_are_delivered_in_the_order_in_which_they_came(seen: list[int]) -> None:
    """A warm shutdown that was followed by a cold one is handled in this order."""
    handle(seen, signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1)
    with shield():
        send(signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1)
    assert seen == [signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1]


@pytest.mark.parametrize("order", [(signal.SIGUSR1, signal.SIGTERM), (signal.SIGTERM, signal.SIGUSR1)])
def test_signals_beside_one_whose_handler_raises_are_delivered_all_the_same(
    order: tuple[int, int], seen: list[int]
) -> None:
    """A time limit that raises does not swallow the shutdown that came with it."""
    signal.signal(signal.SIGUSR1, raise_stopped)
    handle(seen, signal.SIGTERM)
    with pytest.raises(Stopped), shield():
        send(*order)
    assert seen == [signal.SIGTERM]


def test_time_is_up_is_forgotten_once_the_outcome_is_recorded(seen: list[int]) -> None:
    """A time limit that ran out during the commit must not fail what has succeeded; a shutdown still comes."""
    handle(seen, *SIGNALS)
    with shield(forget=TIME_IS_UP):
        send(signal.SIGUSR1, signal.SIGALRM, signal.SIGTERM)
    assert seen == [signal.SIGTERM]


def test_time_is_up_is_delivered_when_the_block_failed(seen: list[int]) -> None:
    """Nothing was recorded, so the signal has not lost its meaning."""
    handle(seen, signal.SIGUSR1)

    def fail_to_record() -> None:
        with shield(forget=TIME_IS_UP):
            send(signal.SIGUSR1)
            raise ValueError("no commit")

    with pytest.raises(ValueError, match="no commit"):
        fail_to_record()
    assert seen == [signal.SIGUSR1]


def test_nested_shields_deliver_when_the_outermost_ends(seen: list[int]) -> None:
    """A ledger write inside a shielded block does not open it."""
    handle(seen, signal.SIGTERM)
    with shield():
        with shield():
            send(signal.SIGTERM)
        assert seen == []
        send(signal.SIGTERM)
    assert seen == [signal.SIGTERM]


def test_original_handler_works_before_between_and_after(seen: list[int]) -> None:
    """Outside of a shield a signal is handled at once, as its owner wanted."""
    handle(seen, signal.SIGTERM)
    send(signal.SIGTERM)
    for _ in range(2):
        with shield():
            pass
        send(signal.SIGTERM)
    assert len(seen) == 3


def test_handler_installed_later_is_deferred_too(seen: list[int]) -> None:
    """Celery and user code install their handlers when they like: each shield looks again."""
    with shield():
        pass
    handle(seen, signal.SIGTERM)
    with shield():
        send(signal.SIGTERM)
        assert seen == []
    assert seen == [signal.SIGTERM]


@pytest.mark.parametrize("disposition", [signal.SIG_IGN, signal.SIG_DFL])
def test_signal_that_nobody_handles_is_left_alone(disposition: signal.Handlers) -> None:
    """A process that ignores a signal, or leaves it to the system, goes on doing so."""
    signal.signal(signal.SIGUSR1, disposition)
    with shield():
        pass
    assert signal.getsignal(signal.SIGUSR1) is disposition


def test_thread_has_no_shield_and_needs_none(seen: list[int]) -> None:
    """Python runs handlers in the main thread only: a shield in a thread changes no handler and defers nothing."""
    handle(seen, signal.SIGTERM)
    handler = signal.getsignal(signal.SIGTERM)
    inside, leave = threading.Event(), threading.Event()

    def hold_shield() -> None:
        with shield():
            inside.set()
            assert leave.wait(30)

    with Beside() as beside:
        held = beside.start(hold_shield)
        try:
            assert inside.wait(30)
            send(signal.SIGTERM)
            assert seen == [signal.SIGTERM]
        finally:
            leave.set()
        held.result(30)
    assert signal.getsignal(signal.SIGTERM) is handler


def test_time_limit_that_runs_out_during_a_write_ends_the_step_after_it() -> None:
    """A step that records an id just when its time is up keeps the id, and ends then."""
    done = []

    def record_slowly() -> None:
        with shield():
            wait_until(lambda: signal.getitimer(signal.ITIMER_REAL)[0] > 1, 30, "the time limit has run out")
            done.append("in the shield")
        done.append("after it")

    with pytest.raises(Stopped), time_limit(0.05, Stopped):
        record_slowly()
    assert done == ["in the shield"]
