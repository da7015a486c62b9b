"""How pipelines are doing, in a terminal: for each its numbers, what is open, and its steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from backout.cli.render.snake import Snake
from backout.cli.render.tones import STYLES
from backout.states import Direction, RunState
from backout.views.clock import Clock
from backout.views.marks import RUN_MARKS
from backout.views.statistics import (
    COUNTED_TO,
    PipelineStatistics,
    Statistics,
    explain_statistics,
    say_rate,
    say_share,
)
from backout.views.words import clean, say_count, say_seconds, say_up_to

_ENDINGS: Final = (RunState.SUCCEEDED, RunState.ROLLED_BACK, RunState.FAILED, RunState.CANCELLED)
_HEADINGS: Final = ("step", "attempts", "failed", "retries", "p50", "p95")


def draw_pipelines(found: Statistics, clock: Clock) -> RenderableType:
    """Return all pipelines, and what the numbers mean."""
    if not found.pipelines:
        return Text("The ledger has no runs yet.")
    parts: list[RenderableType] = [Text(f"Since {clock.say_instant(found.since)}", style="dim")]
    for one in found.pipelines:
        parts += [Text(), *_draw_pipeline(one, found.seconds, clock)]
    return Group(*parts, Text(), *(Text(sentence, style="dim") for sentence in explain_statistics(found)))


def _draw_pipeline(one: PipelineStatistics, seconds: float, clock: Clock) -> Iterator[RenderableType]:
    yield Text(clean(one.name), style="bold")
    yield Text(f"  enqueued {_say(one.enqueued, seconds)}; finished {_say(one.finished, seconds)}")
    if one.finished:
        ended = [_draw_ending(one, state) for state in _ENDINGS if one.runs.get(state)]
        yield Text("  of the finished: ").append_text(Text(", ").join(ended))
    for state in one.open_runs:
        mark = RUN_MARKS[state.state]
        shown = Text(f"  {mark.sign} {say_up_to(state.runs, COUNTED_TO)} {mark.word}", style=STYLES[mark.tone])
        yield shown.append(f", the oldest {state.oldest}, {clock.say_rough_age(state.oldest_at)}", style="default")
    if one.reviews is not None:
        asked = say_count(one.reviews.reviews, "open review")
        waits = f"  {asked}, the oldest #{one.reviews.oldest_id}, {clock.say_rough_age(one.reviews.oldest_at)}"
        yield Text(waits, style="bold magenta")
    if one.steps:
        yield _draw_steps(one)


def _say(count: int, seconds: float) -> str:
    return f"{say_count(count, 'run')} ({say_rate(count, seconds)})" if count else "none"


def _draw_ending(one: PipelineStatistics, state: RunState) -> Text:
    mark = RUN_MARKS[state]
    return Text(
        f"{mark.sign} {say_share(one.share(state))} {mark.word} ({one.runs.get(state, 0):,})", STYLES[mark.tone]
    )


def _draw_steps(one: PipelineStatistics) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "step" else "right", no_wrap=heading != "step")
    for step in one.steps:
        undoing = " (undone)" if step.direction is Direction.COMPENSATION else ""
        took = ("" if seconds is None else say_seconds(seconds) for seconds in (step.p50_seconds, step.p95_seconds))
        counts = (f"{count:,}" for count in (step.attempts, step.failures, step.retries))
        table.add_row(Snake(clean(step.step + undoing)), *counts, *took)
    table.caption = f"  of the newest {one.sampled_runs:,} of {say_count(one.enqueued, 'run')}"
    return table
