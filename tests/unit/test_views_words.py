"""Lengths of time, counts, ids and other people's text, as people are shown them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from backout.views.clock import Clock
from backout.views.words import clean, clip, join_words, say_count, say_seconds, say_setting, say_was, shorten_ids

NOW = datetime(2025, 11, 22, 5, 20, 0, tzinfo=UTC)
EARLY = timezone(timedelta(hours=1), "CET")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3.0, "0 ms"),
        (0.0121, "12 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (184, "3 min 4 s"),
        (3_600, "1 h"),
        (3_605, "1 h"),
        (2 * 86_400 + 5 * 3_600, "2 d 5 h"),
    ],
)
def test_length_of_time_is_said_in_its_two_largest_units(seconds: float, words: str) -> None:
    """Nobody counts the seconds of a day."""
    assert say_seconds(seconds) == words


@pytest.mark.parametrize(("seconds", "words"), [(0.5, "0.5 s"), (2.0, "2 s"), (600.0, "10 min"), (90.0, "1 min 30 s")])
def test_setting_is_said_as_it_was_written(seconds: float, words: str) -> None:
    """A timeout of two seconds is not `2.0 s`."""
    assert say_setting(seconds) == words


def test_counts_agree_with_their_nouns() -> None:
    """One step was undone, two were kept."""
    assert say_count(1, "step") == "1 step"
    assert say_count(1_200, "run") == "1,200 runs"
    assert say_was(1, "undone", "step") == "1 step was undone"
    assert say_was(2, "kept") == "2 were kept"


@pytest.mark.parametrize(
    ("parts", "words"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_lists_are_read_aloud(parts: list[str], words: str) -> None:
    """The last two are joined by a word."""
    assert join_words(parts) == words


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [bold]text[/bold]", "plain [bold]text[/bold]"),
        ("two\nlines\tand tabs", "two lines and tabs"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("abc\u202edef", "abc\\u202edef"),
        ("half \ud800 pair", "half \\ud800 pair"),
        ("Zürich, 東京", "Zürich, 東京"),
    ],
)
def test_text_from_outside_cannot_steer_the_terminal(text: str, shown: str) -> None:
    """An error message with escape sequences is shown as what it is."""
    assert clean(text) == shown


def test_long_text_is_cut_and_has_no_full_stop() -> None:
    """It goes into another sentence."""
    assert clip("It is over. ") == "It is over"
    assert clip("x" * 200, 20) == "x" * 19 + "…"


def test_ids_are_as_short_as_they_can_be_told_apart() -> None:
    """The millisecond is always shown; runs of one millisecond show more."""
    lonely = "019aa9c0-d900-7aa5-9931-e0eb6d687b25"
    twins = ["019aa9c0-e111-7a00-9931-e0eb6d687b25", "019aa9c0-e111-7b00-9931-e0eb6d687b25"]
    assert shorten_ids([lonely, *twins]) == ["019aa9c0-d900", "019aa9c0-e111-7a", "019aa9c0-e111-7b"]
    assert shorten_ids([lonely, lonely]) == ["019aa9c0-d900", "019aa9c0-d900"]


def test_instants_carry_the_name_of_their_zone() -> None:
    """At 3 a.m. nobody should have to guess which 3 a.m."""
    clock = Clock(now=NOW, zone=EARLY)
    assert clock.say_instant(NOW) == "2025-11-22 06:20:00 CET"
    assert Clock(now=NOW).say_instant(NOW) == "2025-11-22 05:20:00 UTC"
    assert clock.zone_name(NOW) == "CET"


def test_time_of_day_has_the_date_where_it_is_another_day() -> None:
    """The day is the reader's, not UTC's."""
    clock = Clock(now=NOW, zone=EARLY)
    late = datetime(2025, 11, 22, 23, 30, tzinfo=UTC)
    assert clock.say_time(NOW, day_of=NOW) == "06:20:00"
    assert clock.say_time(late, day_of=NOW) == "11-23 00:30:00"


def test_what_is_due_is_said_from_the_ledgers_time() -> None:
    """Before and after."""
    clock = Clock(now=NOW)
    assert clock.say_due(NOW + timedelta(seconds=8)) == "due in 8.0 s"
    assert clock.say_due(NOW - timedelta(seconds=75)) == "due 1 min 15 s ago"
    assert clock.say_rough_age(NOW - timedelta(seconds=75)) == "1 min ago"
