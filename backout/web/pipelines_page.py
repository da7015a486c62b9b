"""The pipelines: how much runs through each, how it ends, what is open and since when, and how long steps take."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from backout.identifiers import RunId
from backout.pipelines.engine import Engine
from backout.states import Direction, RunState
from backout.views.clock import Clock
from backout.views.marks import RUN_MARKS
from backout.views.statistics import (
    COUNTED_RUNS,
    COUNTED_TO,
    OpenRuns,
    PipelineStatistics,
    Statistics,
    StepStatistics,
    explain_statistics,
    read_statistics,
    say_rate,
    say_share,
)
from backout.views.words import say_count, say_seconds, say_up_to
from backout.web.host import Page, Permission, Places, Viewer
from backout.web.html import Child, Html, break_name, element
from backout.web.pieces import NOTHING, disclose, draw_age, draw_facts, draw_mark, draw_table, make_page, refuse_view

TITLE: Final = "Pipelines"
WINDOWS: Final[Mapping[str, tuple[str, timedelta]]] = {
    "hour": ("Last hour", timedelta(hours=1)),
    "day": ("Last day", timedelta(days=1)),
    "week": ("Last week", timedelta(weeks=1)),
}
"""Value of `window` in the query to its words and its length."""
USUAL_WINDOW: Final = "day"
ENDINGS: Final = (RunState.SUCCEEDED, RunState.ROLLED_BACK, RunState.FAILED, RunState.CANCELLED)
_STEP_HEADINGS: Final = ("Step", "Attempts", "Failed", "Retries", "p50", "p95")


def draw_pipelines(engine: Engine, query: Mapping[str, str], *, places: Places, viewer: Viewer) -> Page:
    """Return the pipelines of the ledger by name, with their numbers.

    Args:
        engine: whose ledger it is.
        query: `window`: `hour`, `day` (also where there is none, or another) or `week`, up to now.
        places: how the host addresses pages.
        viewer: who looks.
    """
    if not viewer.may(Permission.VIEW):
        return refuse_view()
    chosen = query.get("window", "")
    chosen = chosen if chosen in WINDOWS else USUAL_WINDOW
    found = read_statistics(engine.ledger, WINDOWS[chosen][1])
    drawn = [_draw_pipeline(one, found, places) for one in found.pipelines]
    return make_page(
        TITLE,
        _draw_windows(chosen, places),
        _say_shortened(found),
        drawn or element("p", "The ledger has no runs yet."),
        disclose("What the numbers mean", [element("p", sentence) for sentence in explain_statistics(found)]),
        element("nav", element("a", "All runs", href=places.runs({})), class_="pages", aria_label="More"),
        is_live=True,
    )


def _draw_windows(chosen: str, places: Places) -> Html:
    links = [
        element("a", words, href=places.pipelines({"window": name}), aria_current="true" if name == chosen else None)
        for name, (words, _) in WINDOWS.items()
    ]
    items = [element("li", link) for link in links]
    return element("nav", element("ul", items, class_="counts"), aria_label="Enqueued in the")


def _say_shortened(found: Statistics) -> Html | None:
    if not found.is_shortened:
        return None
    told = f"There were more runs than are counted. This is of the newest {COUNTED_RUNS:,}: those of the last "
    return element("p", told, say_seconds(found.seconds), ".", class_="soft")


def _draw_pipeline(one: PipelineStatistics, found: Statistics, places: Places) -> Html:
    clock = Clock(now=found.now)
    return element(
        "section",
        element("h2", element("a", break_name(one.name), href=places.runs({"pipeline": one.name}))),
        draw_facts(_tell(one, found.seconds, clock, places)),
        _draw_endings(one, places) if one.finished else None,
        _draw_open(one, clock, places) if one.open_runs else None,
        _draw_steps(one) if one.steps else None,
        class_="pipeline",
    )


def _tell(one: PipelineStatistics, seconds: float, clock: Clock, places: Places) -> list[tuple[str, Child]]:
    reviews = one.reviews
    waiting: Child = "none"
    if reviews is not None:
        oldest = element("a", "the oldest", href=places.review(reviews.oldest_id))
        waiting = [f"{reviews.reviews:,}, ", oldest, " ", draw_age(reviews.oldest_at, clock)]
    return [
        ("Enqueued", _say_throughput(one.enqueued, seconds)),
        ("Finished", _say_throughput(one.finished, seconds)),
        ("Open reviews", waiting),
    ]


def _say_throughput(count: int, seconds: float) -> str:
    return f"{say_count(count, 'run')}, {say_rate(count, seconds)}" if count else "none"


def _draw_endings(one: PipelineStatistics, places: Places) -> Html:
    rows: list[tuple[Child, ...]] = []
    for state in ENDINGS:
        share = one.share(state) or 0.0
        count = one.runs.get(state, 0)
        if count or state is not RunState.CANCELLED:
            mark = draw_mark(RUN_MARKS[state])
            url = places.runs({"pipeline": one.name, "state": state.value})
            rows.append((element("a", mark, href=url), f"{count:,}", [_draw_bar(share, state), say_share(share)]))
    return draw_table("How the finished ones have ended", ("Ended", "Runs", "Share"), rows, kind="shares")


def _draw_bar(share: float, state: RunState) -> Html:
    """Return a bar as long as the share; the number beside it says the same."""
    # What is there at all has a bar that can be seen.
    width = max(round(share * 100, 2), 1) if share else 0
    filled = element("rect", width=str(width), height="8", class_=f"tone-{RUN_MARKS[state].tone.value}")
    ground = element("rect", width="100", height="8", class_="ground")
    return element(
        "svg", ground, filled, viewBox="0 0 100 8", preserveAspectRatio="none", class_="bar", aria_hidden="true"
    )


def _draw_open(one: PipelineStatistics, clock: Clock, places: Places) -> Html:
    rows = [_draw_open_row(one.name, state, clock, places) for state in one.open_runs]
    return draw_table("Open runs, of any age", ("State", "Runs", "Oldest", "Enqueued"), rows)


def _draw_open_row(name: str, state: OpenRuns, clock: Clock, places: Places) -> tuple[Child, ...]:
    url = places.runs({"pipeline": name, "state": state.state.value})
    return (
        element("a", draw_mark(RUN_MARKS[state.state]), href=url),
        say_up_to(state.runs, COUNTED_TO),
        _link_run(state.oldest, places),
        draw_age(state.oldest_at, clock),
    )


def _link_run(run_id: RunId, places: Places) -> Html:
    return element("a", element("code", run_id[:13]), href=places.run(run_id), title=run_id)


def _draw_steps(one: PipelineStatistics) -> Html:
    looked_at = f"the newest {one.sampled_runs:,} of {one.enqueued:,} runs"
    whose = looked_at if one.sampled_runs < one.enqueued else say_count(one.enqueued, "run")
    return draw_table(f"Attempts of steps in {whose}", _STEP_HEADINGS, [_draw_step(step) for step in one.steps])


def _draw_step(step: StepStatistics) -> tuple[Child, ...]:
    undoing = element("span", " undone", class_="soft") if step.direction is Direction.COMPENSATION else None
    return (
        [break_name(step.step), undoing],
        f"{step.attempts:,}",
        f"{step.failures:,}",
        f"{step.retries:,}",
        *(NOTHING if took is None else say_seconds(took) for took in (step.p50_seconds, step.p95_seconds)),
    )
