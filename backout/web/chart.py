"""The picture of a run's timeline: a lane for each step, with a bar for each attempt. Decisions are made in `views`."""

from __future__ import annotations

from collections.abc import Iterator

from backout.states import Direction
from backout.views.axis import Label
from backout.views.chart import Bar, Chart, ChartRow, say_row
from backout.views.spans import SpanKind
from backout.web.host import Places
from backout.web.html import Child, Html, break_name, element

_HEIGHT = 26
_AXIS_HEIGHT = 38
_HEIGHTS = {SpanKind.ATTEMPT: 14, SpanKind.WAIT: 4, SpanKind.CROWD: 8}
_BASELINES = {"times": 14, "lengths": 32}
_SPILL = 6
"""Behind a name of two lines the lane is higher than its drawing: what lies behind the bars fills it."""
_SIGN_BASELINE = 18
_SIGN_GAP = 5
_LEGEND = "A wide bar is an attempt, with the sign of how it ended; a thin one is time in which the step waited."
_LEGEND_OF_BREAKS = " ⋯ is time in which nothing ran, drawn short."


def draw_chart(chart: Chart, places: Places) -> list[Html]:
    """Return the picture, for the eye only: the tables behind it say the same.

    Lengths across are in percent, so that it is as wide as the page leaves it room; lengths downwards are in pixels.
    """
    lanes: list[Child] = [_draw_lane("", _draw_axis(chart), kind="axis")]
    before = Direction.FORWARD
    for row in chart.rows:
        if row.direction is not before:
            lanes.append(element("p", "Rollback", class_="part"))
            before = row.direction
        kind = "" if row.bars else "empty"
        lanes.append(_draw_lane(_draw_name(row), _draw_track(row, chart, places), kind=kind))
    legend = f"{_LEGEND}{_LEGEND_OF_BREAKS if chart.breaks else ''} Times are UTC."
    drawn = element("figure", lanes, element("figcaption", legend), class_="chart", aria_hidden="true")
    return [drawn, *([element("p", chart.left_out, class_="soft")] if chart.left_out else [])]


def _draw_lane(name: Child, track: Html, *, kind: str = "") -> Html:
    return element("div", element("div", name, class_="who"), track, class_=f"lane {kind}".strip())


def _draw_name(row: ChartRow) -> Child:
    sign = element("span", row.mark.sign, class_=f"sign tone-{row.mark.tone.value}")
    return [sign, element("span", break_name(say_row(row)), class_="step", title=say_row(row))]


def _draw_axis(chart: Chart) -> Html:
    labels = [
        _draw_label(label, _BASELINES[which])
        for which, listed in (("times", chart.times), ("lengths", chart.lengths))
        for label in listed
    ]
    return _draw_svg(_AXIS_HEIGHT, _draw_ground(chart, _AXIS_HEIGHT), labels)


def _draw_label(label: Label, baseline: int) -> Html:
    kind = "label" if label.fits_narrow else "label spare"
    return element("text", label.words, x=_say(label.place), y=baseline, text_anchor=label.anchor.value, class_=kind)


def _draw_track(row: ChartRow, chart: Chart, places: Places) -> Html:
    return _draw_svg(_HEIGHT, _draw_ground(chart, _HEIGHT), [_draw_bar(bar, places) for bar in row.bars])


def _draw_ground(chart: Chart, height: int) -> Iterator[Html]:
    """Yield what every lane has behind its bars: the stretches that are drawn short, and lines at the times."""
    for one in chart.breaks:
        title = element("title", one.words)
        yield element("g", title, _draw_rectangle(one.first, one.last, -_SPILL, height + 2 * _SPILL), class_="gap")
    for label in chart.times:
        place, kind = _say(label.place), "grid" if label.fits_narrow else "grid spare"
        yield element("line", x1=place, x2=place, y1=-_SPILL, y2=height + _SPILL, class_=kind)


def _draw_bar(bar: Bar, places: Places) -> Html:
    span = bar.span
    height = _HEIGHTS[span.kind]
    drawn = element(
        "g",
        element("title", span.words),
        _draw_rectangle(bar.first, bar.last, (_HEIGHT - height) // 2, height),
        _draw_sign(bar) if bar.has_sign else None,
        class_=f"bar {span.kind.value} tone-{span.mark.tone.value}",
    )
    url = places.task(span.task_id) if span.task_id is not None else None
    # Not reached with the keyboard: whoever uses one has the same link in the table.
    return element("a", drawn, href=url, tabindex=-1) if url is not None else drawn


def _draw_sign(bar: Bar) -> Html:
    kind = None if bar.sign_fits_narrow else "spare"
    return element("text", bar.span.mark.sign, x=_say(bar.last), y=_SIGN_BASELINE, dx=_SIGN_GAP, class_=kind)


def _draw_rectangle(first: float, last: float, top: int, height: int) -> Html:
    return element("rect", x=_say(first), width=_say(last - first), y=top, height=height)


def _draw_svg(height: int, *children: Child) -> Html:
    return element("svg", *children, width="100%", height=height)


def _say(share: float) -> str:
    return f"{share * 100:.2f}%"
