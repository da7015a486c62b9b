"""The time axis: what is drawn to scale, what is drawn short, and which labels have room."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backout.views.axis import BREAK_SHARE, MOST_BREAKS, Anchor, Axis, Label, make_axis
from tests.support.pictures import STARTED_AT, at


def axis_of(seconds: float, *busy: tuple[float, float]) -> Axis:
    return make_axis(at(0), at(seconds), [(at(first), at(last)) for first, last in busy])


def words_of(labels: list[Label]) -> list[str]:
    return [label.words for label in labels]


def test_without_a_long_quiet_stretch_all_is_to_scale() -> None:
    """Round times are named, and both ends."""
    axis = axis_of(20, (0, 8), (9, 20))
    assert axis.breaks == []
    assert [axis.place(at(seconds)) for seconds in (-5, 0, 5, 20, 99)] == [0, 0, 0.25, 1, 1]
    assert [(label.place, label.words, label.anchor, label.fits_narrow) for label in axis.time_labels()] == [
        (0.0, "05:20:00", Anchor.START, True),
        (0.25, "05:20:05", Anchor.MIDDLE, False),
        (0.5, "05:20:10", Anchor.MIDDLE, True),
        (0.75, "05:20:15", Anchor.MIDDLE, False),
        (1.0, "05:20:20", Anchor.END, True),
    ]


def test_long_quiet_stretch_is_drawn_short() -> None:
    """An operator who comes back 93 minutes later does not squeeze the rest into a line; short ones stay to scale."""
    axis = axis_of(5_600, (0, 4), (5, 10), (5_590, 5_600))
    [one] = axis.breaks
    assert (one.first, one.last, one.words) == (0.475, 0.525, "⋯ 1 h 33 min")
    places = [axis.place(at(seconds)) for seconds in (4, 5, 10, 2_800, 5_590, 5_595, 5_600)]
    assert places == pytest.approx([0.19, 0.2375, 0.475, 0.5, 0.525, 0.7625, 1])
    assert words_of(axis.break_labels()) == ["⋯ 1 h 33 min"]
    assert words_of(axis.time_labels()) == ["05:20:00", "05:20:05", "06:53:10", "06:53:15", "06:53:20"]


def test_times_of_another_day_name_it_and_short_ones_their_parts() -> None:
    """So that a label alone says when."""
    assert words_of(axis_of(86_400, (0, 9), (86_391, 86_400)).time_labels())[-1] == "11-23 05:20:00"
    assert words_of(axis_of(0.25, (0, 0.25)).time_labels())[:2] == ["05:20:00.000", "05:20:00.100"]


def test_nothing_that_ran_leaves_nothing_to_be_drawn_short() -> None:
    """A run that waits for its first worker; and one that has only been enqueued just now."""
    assert axis_of(3_600).breaks == []
    assert axis_of(3_600).place(at(1_800)) == 0.5
    assert axis_of(0).place(at(0)) == 0
    assert words_of(axis_of(0).time_labels()) == ["05:20:00.000"]


def test_attempts_of_no_length_between_pauses_keep_their_order() -> None:
    """With nothing to scale the pauses share the width."""
    axis = axis_of(30, (0, 0), (10, 10), (30, 30))
    assert [axis.place(at(seconds)) for seconds in (0, 10, 30)] == [0, 0.5, 1]


@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**5)), max_size=60),
    st.lists(st.integers(0, 10**7), max_size=20),
)
def test_any_axis_keeps_the_order_of_time(busy: list[tuple[int, int]], instants: list[int]) -> None:
    """Places lie in the picture and never run backwards; few stretches are short; labels do not touch each other."""
    spans: list[tuple[datetime, datetime]] = [(at(first), at(first + length)) for first, length in busy]
    end = max([STARTED_AT + timedelta(seconds=1), *(last for _, last in spans)])
    axis = make_axis(STARTED_AT, end, spans)
    places = [axis.place(at(seconds)) for seconds in sorted(instants)]
    assert places == sorted(places)
    assert all(0 <= place <= 1 for place in places)
    assert len(axis.breaks) <= MOST_BREAKS
    assert sum(one.last - one.first for one in axis.breaks) <= MOST_BREAKS * BREAK_SHARE + 1e-9 or not any(
        first < last for first, last in spans
    )
    for labels in (axis.time_labels(), axis.break_labels()):
        assert len(labels) <= 12
        kept = [label.place for label in labels]
        assert kept == sorted(kept)
        assert all(later - earlier > 0.04 for earlier, later in pairwise(kept))
