"""Waiting for a condition with a deadline: the only place in the tests that sleeps."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

POLL_SECONDS = 0.02
PATIENCE = float(os.environ.get("BACKOUT_TEST_PATIENCE", "4"))
"""How much longer than a test expects it is waited before it fails: on a busy machine everything takes its time."""


def wait_until(condition: Callable[[], Found | None], timeout_seconds: float, what: str) -> Found:
    """Return the first true value of `condition`; fail with `what` was awaited if none comes in time.

    The condition is tried at least once, and a last time at the deadline.
    """
    deadline = time.monotonic() + timeout_seconds * PATIENCE
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_seconds * PATIENCE:g} seconds in vain: {what}; last seen: {found!r}")
        time.sleep(POLL_SECONDS)
    return found
