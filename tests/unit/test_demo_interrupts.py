"""Ctrl-C during the demo is neither lost nor comes where it would leave a process behind."""

import signal

import pytest

from backout.cli.demo.interrupts import Interrupts


def test_press_raises_at_once() -> None:
    """Outside held blocks Ctrl-C is Python's own."""
    with Interrupts(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_press_that_was_swallowed_is_raised_again() -> None:
    """A KeyboardInterrupt that something has swallowed comes at the next look."""
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.raise_missed()


def test_press_waits_for_the_end_of_a_held_block() -> None:
    """What must not be left half-way is done to its end first."""
    seen: list[str] = []
    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt):
        press_while_held(interrupts, seen)
    assert seen == ["went on"]


def press_while_held(interrupts: Interrupts, seen: list[str]) -> None:
    with interrupts.held():
        signal.raise_signal(signal.SIGINT)
        seen.append("went on")


def test_handler_is_restored() -> None:
    """After the demo Ctrl-C is whose it was before."""
    before = signal.getsignal(signal.SIGINT)
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
