"""The picture of one run: the sentence, the facts, what a person is asked, the timeline, the rollback."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from backout.cli.render.entries import draw_entries, draw_tracebacks
from backout.cli.render.facts import draw_facts, draw_review
from backout.cli.render.timeline import draw_rollback, draw_steps
from backout.cli.render.tones import STYLES, draw_mark
from backout.views.clock import Clock
from backout.views.marks import RUN_MARKS
from backout.views.picture import RunPicture
from backout.views.story import tell_story


def draw_run(picture: RunPicture, clock: Clock, *, with_entries: bool = False) -> RenderableType:
    """Return everything about a run, most important first."""
    parts: list[RenderableType] = [draw_story(picture), draw_facts(picture, clock), Text()]
    review = picture.open_review()
    if review is not None:
        parts += [draw_review(review, clock), Text()]
    parts += _draw_timeline(picture, clock)
    if with_entries:
        parts += [Text(), draw_entries(picture, clock)]
        tracebacks = draw_tracebacks(picture)
        parts += [Text(), tracebacks] if tracebacks is not None else []
    parts += [Text(), Text(f"  times in {clock.zone_name(picture.run.created_at)}", style="dim")]
    return Group(*parts)


def draw_progress(picture: RunPicture, clock: Clock) -> RenderableType:
    """Return the part that changes while a run is followed: the sentence and the timeline."""
    return Group(draw_story(picture), *_draw_timeline(picture, clock))


def draw_story(picture: RunPicture) -> Panel:
    """Return the sentence in a frame that carries the state."""
    mark = RUN_MARKS[picture.run.state]
    return Panel(
        Text(tell_story(picture), style="bold"),
        title=draw_mark(mark),
        title_align="left",
        border_style=STYLES[mark.tone],
    )


def _draw_timeline(picture: RunPicture, clock: Clock) -> list[RenderableType]:
    parts: list[RenderableType] = [draw_steps(picture, clock)]
    rollback = draw_rollback(picture, clock)
    if rollback is not None:
        parts += [Text(), rollback]
    return parts
