"""The delays between attempts and which errors are tried again, for any settings."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backout.pipelines.contract import Backoff, RetryRule
from backout.pipelines.definition import Retry
from tests.support.definitions import refused

delays = st.floats(min_value=0, max_value=1e9)
chances = st.floats(min_value=0, max_value=1)
retries = st.integers(min_value=1, max_value=10_001)
rules = st.builds(
    RetryRule,
    limit=st.integers(0, 10_000),
    delay_seconds=delays,
    backoff=st.sampled_from(Backoff),
    max_delay_seconds=st.floats(min_value=0.001, max_value=1e9),
    jitter=chances,
)
names = st.sampled_from(["builtins.OSError", "builtins.ValueError", "shop.Declined", "shop.Busy"])


def rule(backoff: Backoff, *, delay: float = 2.0, limit: float = 1e9, jitter: float = 0.0) -> RetryRule:
    return RetryRule(limit=5, delay_seconds=delay, backoff=backoff, max_delay_seconds=limit, jitter=jitter)


@given(rules, retries, chances)
def test_a_delay_is_a_time_that_one_can_wait(rule: RetryRule, retry: int, chance: float) -> None:
    """Never negative, never infinite, never no number, whatever the settings and however late the retry."""
    delay = rule.delay_before_retry(retry, chance)
    assert math.isfinite(delay)
    assert delay >= 0


@given(rules, retries, chances)
def test_chance_moves_a_delay_by_no_more_than_the_jitter(rule: RetryRule, retry: int, chance: float) -> None:
    """The jitter is the part of the delay by which chance moves it, up or down."""
    middle = rule.delay_before_retry(retry, 0.5)
    moved = rule.delay_before_retry(retry, chance)
    # A float near the middle has no more than about sixteen digits.
    assert abs(moved - middle) <= middle * (rule.jitter + 1e-12)


@given(rules, retries, chances)
def test_no_delay_grows_beyond_the_maximum(rule: RetryRule, retry: int, chance: float) -> None:
    """Whatever chance adds, the maximum holds."""
    assert rule.delay_before_retry(retry, chance) <= rule.max_delay_seconds


@given(rules, retries)
def test_delays_never_shrink_from_one_retry_to_the_next(rule: RetryRule, retry: int) -> None:
    """Whatever the growth, a later retry does not come after a shorter delay."""
    assert rule.delay_before_retry(retry, 0.5) <= rule.delay_before_retry(retry + 1, 0.5)


@given(rules, retries, chances, chances)
def test_a_larger_chance_is_a_longer_delay(rule: RetryRule, retry: int, one: float, other: float) -> None:
    """Delays are spread evenly: chance 0 is the shortest, 1 the longest."""
    low, high = sorted((one, other))
    assert rule.delay_before_retry(retry, low) <= rule.delay_before_retry(retry, high) * (1 + 1e-9)


def test_the_three_ways_to_grow() -> None:
    """Constant stays, linear adds, exponential doubles; the first retry always waits the delay itself."""
    grown = {backoff: [rule(backoff).delay_before_retry(retry, 0.5) for retry in (1, 2, 3, 4)] for backoff in Backoff}
    assert grown == {
        Backoff.CONSTANT: [2, 2, 2, 2],
        Backoff.LINEAR: [2, 4, 6, 8],
        Backoff.EXPONENTIAL: [2, 4, 8, 16],
    }


def test_the_edges_of_the_jitter() -> None:
    """A jitter of a quarter makes 10 seconds to anything from 7.5 to 12.5."""
    jittered = rule(Backoff.CONSTANT, delay=10, jitter=0.25)
    assert [jittered.delay_before_retry(1, chance) for chance in (0, 0.5, 1)] == [7.5, 10, 12.5]


def test_no_delay_is_no_delay() -> None:
    """A delay of 0 tries again at once, however often."""
    assert rule(Backoff.EXPONENTIAL, delay=0).delay_before_retry(10_000, 1.0) == 0


@given(st.lists(names, min_size=1, max_size=4), st.sets(names), st.sets(names))
def test_which_errors_are_tried_again(found: list[str], on: set[str], never_on: set[str]) -> None:
    """`never_on` is stronger than `on`; without `on` every error is covered."""
    covering = RetryRule(
        limit=1,
        delay_seconds=1,
        backoff=Backoff.CONSTANT,
        max_delay_seconds=1,
        jitter=0,
        on=tuple(sorted(on)),
        never_on=tuple(sorted(never_on)),
    )
    expected = not never_on & set(found) and (not on or bool(on & set(found)))
    assert covering.covers(tuple(found)) is expected


def test_types_are_stored_by_their_dotted_names() -> None:
    """A stored plan names classes, so that a process which does not have them can still read it."""
    stored = Retry(on=(ConnectionError,), never_on=(TimeoutError, UnicodeDecodeError)).rule()
    assert stored.on == ("builtins.ConnectionError",)
    assert stored.never_on == ("builtins.TimeoutError", "builtins.UnicodeDecodeError")


def test_the_defaults_are_those_of_the_contract() -> None:
    """Five retries from 10 seconds on, doubling up to an hour, moved by a tenth."""
    assert Retry().rule() == RetryRule(
        limit=5,
        delay_seconds=10,
        backoff=Backoff.EXPONENTIAL,
        max_delay_seconds=3600,
        jitter=0.1,
    )


class TestRetry:
    @pytest.mark.parametrize(
        ("keywords", "remedy"),
        [
            ({"limit": -1}, "0 to 10,000"),
            ({"limit": 10_001}, "0 to 10,000"),
            ({"limit": 2.5}, "0 to 10,000"),
            ({"limit": True}, "0 to 10,000"),
            ({"limit": None}, "0 to 10,000"),
            ({"delay": -1}, "timedelta"),
            ({"delay": float("nan")}, "timedelta"),
            ({"max_delay": 0}, "timedelta"),
            ({"backoff": "quadratic"}, "constant, linear, exponential"),
            ({"jitter": -0.1}, "0 to 1"),
            ({"jitter": 1.1}, "0 to 1"),
            ({"on": ConnectionError}, "on=(ConnectionError,)"),
            ({"on": ["ConnectionError"]}, "on=(ConnectionError,)"),
            ({"never_on": (5,)}, "never_on=(ConnectionError,)"),
        ],
    )
    def test_a_value_that_cannot_be_used_is_refused(self, keywords: dict[str, Any], remedy: str) -> None:
        """Each with what to write instead."""
        assert remedy in refused(lambda: Retry(**keywords)).remedy

    @pytest.mark.parametrize("delay", [0, 0.0, timedelta(0), 5, timedelta(seconds=5)])
    def test_a_delay_is_a_duration_or_seconds_and_may_be_none_at_all(self, delay: Any) -> None:
        """Zero tries again at once."""
        expected = 5 if delay else 0
        assert Retry(delay=delay).rule().delay_seconds == expected
