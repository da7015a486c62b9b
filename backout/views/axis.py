"""The time axis of a run's picture: quiet stretches are drawn short, the rest to scale, with labels that fit. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Final, assert_never

from backout.views.words import say_seconds

MOST_BREAKS: Final = 8
BREAK_SHARE: Final = 0.05
"""Of the width of the picture, for each quiet stretch that is drawn short."""
LONGEST_QUIET_SHARE: Final = 0.2
"""A quiet stretch that would take more than this of what is drawn to scale is drawn short."""
SHORTEST_BREAK_SECONDS: Final = 0.5
_TICKS: Final = 6
_STEPS: Final = (
    *(0.001 * step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400, 604_800, 2_592_000),
)
_WIDE_CHARACTER: Final = 0.0115
"""Share of the picture that a character of a label takes on a page; on a phone more than twice of it."""
_NARROW_CHARACTER: Final = 0.026
_NEAR_END: Final = 0.15
"""So near the end of the picture a label stands beside its place, not around it."""
_SLACK: Final = 0.001


class Anchor(StrEnum):
    """Which end of a label stands at its place; the values are those of SVG."""

    START = "start"
    MIDDLE = "middle"
    END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Words at a place of the axis.

    Attributes:
        place: 0 to 1.
        fits_narrow: there is room for it on a phone, too.
    """

    place: float
    words: str
    anchor: Anchor
    fits_narrow: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """A quiet stretch that is drawn short.

    Attributes:
        first: where it begins, 0 to 1; `last` where it ends.
        words: how long it is: `⋯ 1 h 33 min`.
    """

    first: float
    last: float
    words: str


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of time and where it is drawn."""

    started_at: datetime
    ended_at: datetime
    first: float
    last: float
    is_break: bool

    def place(self, instant: datetime) -> float:
        length = (self.ended_at - self.started_at).total_seconds()
        share = (instant - self.started_at).total_seconds() / length if length else 0.0
        return self.first + share * (self.last - self.first)


@dataclass(frozen=True, slots=True)
class Axis:
    """Which instant is drawn where; the pieces follow each other without a gap."""

    pieces: tuple[_Piece, ...]

    def place(self, instant: datetime) -> float:
        """Return where an instant is drawn, 0 to 1; what lies outside stands at the end that is nearer."""
        starts = [piece.started_at for piece in self.pieces]
        piece = self.pieces[max(0, bisect_right(starts, instant) - 1)]
        return min(1.0, max(0.0, piece.place(instant)))

    @property
    def breaks(self) -> list[Break]:
        """The quiet stretches that are drawn short, in order."""
        return [
            Break(first=piece.first, last=piece.last, words=f"⋯ {_say_length(piece)}")
            for piece in self.pieces
            if piece.is_break
        ]

    def break_labels(self) -> list[Label]:
        """Return how long the short ones are, where there is room to say it; the longest first."""
        breaks = [piece for piece in self.pieces if piece.is_break]
        ordered = sorted(breaks, key=lambda piece: piece.started_at - piece.ended_at)
        return _choose([((piece.first + piece.last) / 2, f"⋯ {_say_length(piece)}") for piece in ordered])

    def time_labels(self) -> list[Label]:
        """Return the times, UTC: of both ends, and of round instants between where there is room."""
        start, end = self.pieces[0].started_at, self.pieces[-1].ended_at
        linear = [piece for piece in self.pieces if not piece.is_break]
        step = _find_step(sum((piece.ended_at - piece.started_at).total_seconds() for piece in linear))
        after_breaks = [one.ended_at for one, _ in pairwise(self.pieces) if one.is_break]
        instants = [start, end, *after_breaks, *(at for piece in linear for at in _round_instants(piece, step))]
        return _choose([(self.place(at), _say_instant(at, step, day_of=start)) for at in instants])


def make_axis(started_at: datetime, ended_at: datetime, busy: Iterable[tuple[datetime, datetime]]) -> Axis:
    """Return the axis from one instant to another.

    Args:
        started_at: its left end.
        ended_at: its right end, not before `started_at`.
        busy: when something ran, in any order; the rest is quiet.
    """
    broken = _choose_broken(started_at, ended_at, _find_quiet(started_at, ended_at, busy))
    bounds = [started_at, *(instant for stretch in broken for instant in stretch), ended_at]
    stretches = [(one, other, (one, other) in broken) for one, other in pairwise(bounds) if one < other]
    linear = sum((other - one).total_seconds() for one, other, is_break in stretches if not is_break)
    # With nothing to scale the breaks share the whole width.
    break_share = BREAK_SHARE if linear else 1 / max(1, len(broken))
    scale = (1 - break_share * len(broken)) / linear if linear else 0.0
    pieces, first = [], 0.0
    for one, other, is_break in stretches:
        last = first + (break_share if is_break else (other - one).total_seconds() * scale)
        pieces.append(_Piece(one, other, first, last, is_break))
        first = last
    return Axis(tuple(pieces) or (_Piece(started_at, ended_at, 0.0, 1.0, False),))


def _find_quiet(
    started_at: datetime, ended_at: datetime, busy: Iterable[tuple[datetime, datetime]]
) -> list[tuple[datetime, datetime]]:
    quiet, until = [], started_at
    for start, end in sorted(busy):
        if start > until:
            quiet.append((until, min(start, ended_at)))
        until = max(until, end)
    if until < ended_at:
        quiet.append((until, ended_at))
    return quiet


def _choose_broken(
    started_at: datetime, ended_at: datetime, quiet: Sequence[tuple[datetime, datetime]]
) -> list[tuple[datetime, datetime]]:
    """Return the quiet stretches that would leave too little room for the rest, in order; the longest go first."""
    if quiet == [(started_at, ended_at)]:
        return []
    left = (ended_at - started_at).total_seconds()
    chosen: list[tuple[datetime, datetime]] = []
    for start, end in sorted(quiet, key=lambda stretch: stretch[0] - stretch[1])[:MOST_BREAKS]:
        seconds = (end - start).total_seconds()
        if seconds < SHORTEST_BREAK_SECONDS or seconds <= left * LONGEST_QUIET_SHARE:
            break
        left -= seconds
        chosen.append((start, end))
    return sorted(chosen)


def _find_step(linear_seconds: float) -> float:
    return next((float(step) for step in _STEPS if step * _TICKS >= linear_seconds), float(_STEPS[-1]))


def _round_instants(piece: _Piece, step: float) -> list[datetime]:
    """Return the multiples of a step that lie in a piece, counted from midnight."""
    midnight = piece.started_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = int((piece.started_at - midnight).total_seconds() / step) + 1
    count = int((piece.ended_at - midnight).total_seconds() / step) - first + 1
    return [midnight + timedelta(seconds=(first + number) * step) for number in range(count)]


def _say_instant(instant: datetime, step: float, *, day_of: datetime) -> str:
    local = instant.astimezone(UTC)
    day = f"{local:%m-%d} " if local.date() != day_of.astimezone(UTC).date() else ""
    parts = f".{local.microsecond // 1000:03d}" if step < 1 else ""
    return f"{day}{local:%H:%M:%S}{parts}"


def _say_length(piece: _Piece) -> str:
    return say_seconds((piece.ended_at - piece.started_at).total_seconds())


def _choose(wanted: Sequence[tuple[float, str]]) -> list[Label]:
    """Return labels that do not touch each other, in the order of their places; the first that are wanted go first."""
    wide = _without_touching(wanted, _WIDE_CHARACTER)
    narrow = _without_touching(wide, _NARROW_CHARACTER)
    return [
        Label(place=place, words=words, anchor=_anchor(place), fits_narrow=(place, words) in narrow)
        for place, words in sorted(wide)
    ]


def _without_touching(wanted: Sequence[tuple[float, str]], character: float) -> list[tuple[float, str]]:
    kept: list[tuple[float, str]] = []
    taken: list[tuple[float, float]] = []
    for place, words in wanted:
        first, last = _extent(place, words, character)
        is_inside = first >= -_SLACK and last <= 1 + _SLACK
        is_new = all(words != other for _, other in kept)
        if is_inside and is_new and all(last < other_first or first > other_last for other_first, other_last in taken):
            kept.append((place, words))
            taken.append((first, last))
    return kept


def _extent(place: float, words: str, character: float) -> tuple[float, float]:
    width = (len(words) + 1) * character
    match _anchor(place):
        case Anchor.START:
            return place, place + width
        case Anchor.MIDDLE:
            return place - width / 2, place + width / 2
        case Anchor.END:
            return place - width, place
        case _ as never:
            assert_never(never)


def _anchor(place: float) -> Anchor:
    return Anchor.START if place < _NEAR_END else Anchor.END if place > 1 - _NEAR_END else Anchor.MIDDLE
