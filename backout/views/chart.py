"""The timeline of a run as a picture: rows in the order of the timeline, and where each bar stands. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from backout.ledger.records import StepRecord
from backout.states import Direction
from backout.views.axis import Axis, Break, Label, make_axis
from backout.views.clock import Clock
from backout.views.entries import say_step
from backout.views.marks import Mark
from backout.views.picture import RunPicture
from backout.views.spans import Span, SpanKind, tell_spans
from backout.views.timeline import TimelineLine, find_window
from backout.views.words import say_count

MOST_ROWS: Final = 60
SHORTEST_BAR: Final = 0.006
"""Share of the width: an attempt of a millisecond in a run of a day is seen all the same."""
_SIGN_SHARE: Final = 0.03
_NARROW_SIGN_SHARE: Final = 0.07
"""Share of the width that the sign behind a bar takes, on a page and on a phone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One span, drawn.

    Attributes:
        first: where it begins, 0 to 1; `last` where it ends.
        has_sign: there is room behind it for the sign of how it ended; `sign_fits_narrow`: on a phone, too.
    """

    span: Span
    first: float
    last: float
    has_sign: bool
    sign_fits_narrow: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartRow:
    """One step in one direction; without bars when nothing has happened to it."""

    name: str
    direction: Direction
    mark: Mark
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The picture.

    Attributes:
        rows: forward in the order of the plan, then the rollback in its order.
        times: labels of the axis, UTC.
        lengths: labels of the stretches that are drawn short.
        left_out: a sentence about the rows that are not drawn; empty when all are.
    """

    rows: tuple[ChartRow, ...]
    breaks: tuple[Break, ...]
    times: tuple[Label, ...]
    lengths: tuple[Label, ...]
    left_out: str = ""


def tell_chart(
    picture: RunPicture, forward: Sequence[TimelineLine], back: Sequence[TimelineLine], clock: Clock
) -> Chart | None:
    """Return the picture of the timeline's lines, of very many those around where the run stands.

    Returns:
        `None` when nothing has happened yet that could be drawn.
    """
    directed = [(line, Direction.FORWARD) for line in forward] + [(line, Direction.COMPENSATION) for line in back]
    first, last = find_window([line.has_begun for line, _ in directed], MOST_ROWS)
    shown = [(line, direction, _tell_row(picture, line, direction, clock)) for line, direction in directed[first:last]]
    axis = _make_axis(picture, [span for _, _, spans in shown for span in spans])
    if axis is None:
        return None
    hidden = len(directed) - len(shown)
    return Chart(
        rows=tuple(
            ChartRow(name=line.name, direction=direction, mark=line.mark, bars=tuple(_draw_bars(spans, axis)))
            for line, direction, spans in shown
        ),
        breaks=tuple(axis.breaks),
        times=tuple(axis.time_labels()),
        lengths=tuple(axis.break_labels()),
        left_out=f"{say_count(hidden, 'row')} of {len(directed):,} not drawn: far from where it stands."
        if hidden
        else "",
    )


def say_row(row: ChartRow) -> str:
    """Return what a row is called: `charge_card`, `undo charge_card`."""
    return say_step(row.name, row.direction)


def _tell_row(picture: RunPicture, line: TimelineLine, direction: Direction, clock: Clock) -> list[Span]:
    """Return the spans of all rounds of a step, and of the questions that were asked about it."""
    if line.row is None:
        return []
    about = [row for row in picture.steps if row.position == line.row.position and _belongs(row, direction)]
    return [span for row in about for span in tell_spans(picture, row, clock)]


def _belongs(row: StepRecord, direction: Direction) -> bool:
    return row.direction is direction or (row.direction.is_question and direction is Direction.FORWARD)


def _make_axis(picture: RunPicture, spans: Sequence[Span]) -> Axis | None:
    if not spans:
        return None
    started_at = min(picture.run.created_at, *(span.started_at for span in spans))
    ended_at = max(span.ended_at for span in spans)
    if not picture.run.state.is_final:
        ended_at = max(ended_at, picture.now)
    busy = [(span.started_at, span.ended_at) for span in spans if span.kind is SpanKind.ATTEMPT]
    return make_axis(started_at, ended_at, busy)


def _draw_bars(spans: Sequence[Span], axis: Axis) -> Iterator[Bar]:
    starts = sorted(axis.place(span.started_at) for span in spans if span.kind is SpanKind.ATTEMPT)
    for span in spans:
        first, last = axis.place(span.started_at), axis.place(span.ended_at)
        if span.kind is not SpanKind.WAIT:
            first = min(first, 1 - SHORTEST_BAR)
            last = max(last, first + SHORTEST_BAR)
        following = next((start for start in starts if start > first), None)
        room = 1.0 if following is None else following - last
        is_told = span.kind is SpanKind.ATTEMPT or (span.kind is SpanKind.WAIT and span.is_open)
        yield Bar(
            span=span,
            first=first,
            last=last,
            has_sign=is_told and room >= _SIGN_SHARE,
            sign_fits_narrow=is_told and room >= _NARROW_SIGN_SHARE,
        )
