"""The arithmetic of statistics and its words."""

from __future__ import annotations

import pytest

from backout.views.statistics import find_percentile, say_rate, say_share
from backout.views.words import say_up_to


def test_percentile_is_the_nearest_rank() -> None:
    """The least value that so many of a hundred do not exceed; always one that was measured."""
    hundred = [float(number) for number in range(1, 101)]
    assert (find_percentile(hundred, 50), find_percentile(hundred, 95)) == (50.0, 95.0)
    assert (find_percentile([1.0, 2.0, 9.0], 50), find_percentile([1.0, 2.0, 9.0], 95)) == (2.0, 9.0)
    assert find_percentile([3.0], 50) == 3.0
    assert find_percentile([], 50) is None


@pytest.mark.parametrize(
    ("count", "seconds", "said"),
    [
        (7200, 3600, "120.0 a minute"),
        (60, 3600, "1.0 a minute"),
        (59, 3600, "59.0 an hour"),
        (3, 86_400, "3.0 a day"),
        (90_000_000, 3600, "1,500,000.0 a minute"),
    ],
)
def test_rate_is_said_in_a_unit_of_which_there_is_one(count: int, seconds: float, said: str) -> None:
    """Nobody thinks in 0.002 a minute."""
    assert say_rate(count, seconds) == said


def test_share_is_never_rounded_to_all_or_nothing() -> None:
    """One failure in a million is not none."""
    assert [say_share(part) for part in (0.0, 1.0, 0.973, 0.5)] == ["0 %", "100 %", "97.3 %", "50 %"]
    assert (say_share(1e-6), say_share(1 - 1e-6)) == ("<0.1 %", ">99.9 %")
    assert say_share(None) == "–"


def test_number_that_was_not_counted_to_its_end_says_so() -> None:
    """One more than the bound is more than the bound."""
    assert (say_up_to(10_000, 10_000), say_up_to(10_001, 10_000)) == ("10,000", "10,000+")
    assert say_up_to(1_234_567, None) == "1,234,567"
