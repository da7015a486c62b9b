"""The timeline of a run in a terminal: the plan forward, and the rollback in its order."""

from __future__ import annotations

from collections.abc import Sequence

from backout.cli.render.lines import Line, Lines
from backout.cli.render.tones import draw_note
from backout.views.clock import Clock
from backout.views.picture import RunPicture
from backout.views.timeline import TimelineLine, tell_rollback, tell_steps

HEADINGS = ("attempts", "started", "took")


def draw_steps(picture: RunPicture, clock: Clock) -> Lines:
    """Return the forward steps in the order of the plan, with their attempts, ids and errors."""
    return _draw("Steps", tell_steps(picture, clock), picture, clock)


def draw_rollback(picture: RunPicture, clock: Clock) -> Lines | None:
    """Return the compensations in the order of undoing, each with its recovery action; `None` without a rollback."""
    lines = tell_rollback(picture, clock)
    return _draw("Rollback", lines, picture, clock) if lines else None


def _draw(title: str, lines: Sequence[TimelineLine], picture: RunPicture, clock: Clock) -> Lines:
    return Lines(title=title, headings=HEADINGS, lines=[_draw_line(line, picture, clock) for line in lines])


def _draw_line(line: TimelineLine, picture: RunPicture, clock: Clock) -> Line:
    cells: tuple[str, ...] = ()
    if line.started_at is not None:
        cells = (line.attempts, clock.say_time(line.started_at, day_of=picture.run.created_at), line.took)
    return Line(mark=line.mark, name=line.name, cells=cells, notes=tuple(map(draw_note, line.notes)))
