"""The list of runs: counts by state, filters, the newest runs, and the way to older ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from backout.identifiers import RunId
from backout.ledger.records import RunRecord
from backout.pipelines.engine import Engine
from backout.pipelines.registry import all_pipelines
from backout.states import RunState
from backout.views.clock import Clock
from backout.views.marks import RUN_MARKS
from backout.views.runs import RunFilter, RunPage, read_runs
from backout.views.words import say_count, say_seconds, say_up_to, shorten_ids
from backout.web.fields import draw_get_form, draw_options, is_storable
from backout.web.host import Page, Permission, Places, Viewer
from backout.web.html import Child, Html, break_name, element
from backout.web.pieces import NOTHING, draw_age, draw_mark, draw_table, make_page, notice, refuse_view

RUNS_OF_A_PAGE: Final = 50
COUNTED_TO: Final = 10_000
"""Runs of a state are counted so far, and then said to be more: to count a million takes longer than to list them."""
TITLE: Final = "Runs"
_HEADINGS: Final = ("Run", "Pipeline", "State", "Operator state", "Subject", "Enqueued", "Took")
_KEPT: Final = ("pipeline", "state", "needs_person", "text", "since")


@dataclass(slots=True)
class _Asked:
    """What the query says, as far as it can be used."""

    wanted: RunFilter
    query: dict[str, str]
    problems: list[str] = field(default_factory=list)


def draw_runs(engine: Engine, query: Mapping[str, str], *, places: Places, viewer: Viewer) -> Page:
    """Return the list of runs, newest first.

    Args:
        engine: whose ledger it is.
        query: `pipeline`; `state`; `needs_person` (`1`); `text`, which is the id, the source event, the subject or an
            external id; `since`, a date: what was enqueued on it or later, in UTC; `before`, a run: only older ones.
        places: how the host addresses pages.
        viewer: who looks.
    """
    if not viewer.may(Permission.VIEW):
        return refuse_view()
    asked = _read_query(query)
    found = read_runs(engine.ledger, asked.wanted, count_to=COUNTED_TO)
    problems = [notice("The list is not narrowed as you asked", *asked.problems)] if asked.problems else []
    return make_page(
        TITLE,
        problems,
        _draw_counts(found, asked, places),
        _draw_filters(asked, places),
        _draw_list(found, asked, places),
        element(
            "p", element("a", "Pipelines", href=places.pipelines({})), ": how many runs, how they end, what is open"
        ),
        status=422 if asked.problems else 200,
        is_live=True,
    )


def _read_query(query: Mapping[str, str]) -> _Asked:
    given = {name: value.strip() for name, value in query.items() if value.strip() and is_storable(value)}
    problems: list[str] = []
    state, since, before = given.get("state"), None, None
    if state is not None and state not in list(RunState):
        problems.append(f"No run can be {state!r}: choose one of the states.")
        state = None
    if "since" in given:
        try:
            instant = datetime.fromisoformat(given["since"])
            since = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
        except (ValueError, OverflowError):
            problems.append(f"{given['since']!r} is no date: write it as 2025-11-22.")
    if "before" in given:
        try:
            before = RunId(str(UUID(given["before"])))
        except ValueError:
            problems.append(f"{given['before']!r} is no run's id.")
    wanted = RunFilter(
        pipeline=given.get("pipeline"),
        states=(RunState(state),) if state else (),
        text=given.get("text"),
        needs_person=given.get("needs_person") == "1",
        before=before,
        limit=RUNS_OF_A_PAGE,
        enqueued_since=since,
    )
    return _Asked(wanted, {name: given[name] for name in _KEPT if name in given}, problems)


def _draw_counts(found: RunPage, asked: _Asked, places: Places) -> Html:
    others = {name: value for name, value in asked.query.items() if name != "state"}
    chosen = asked.wanted.states[0] if asked.wanted.states else None
    total = _say_total(found)
    whose = f"All runs of {asked.wanted.pipeline} by state" if asked.wanted.pipeline else "All runs by state"
    links = [_draw_count(total, places.runs(others), is_chosen=chosen is None)]
    for state, mark in RUN_MARKS.items():
        count = found.counts.get(state, 0)
        if count or state is chosen:
            words = [element("span", mark.sign, class_=f"sign tone-{mark.tone.value}", aria_hidden="true")]
            url = places.runs({**others, "state": state.value})
            told = f" {say_up_to(count, found.counted_to)} {mark.word}"
            links.append(_draw_count([*words, told], url, is_chosen=state is chosen))
    return element("nav", element("ul", links, class_="counts"), aria_label=whose)


def _say_total(found: RunPage) -> str:
    total, most = sum(found.counts.values()), found.counted_to
    if most is not None and any(count > most for count in found.counts.values()):
        return f"{most:,}+ runs"
    return say_count(total, "run")


def _draw_count(words: Child, url: str, *, is_chosen: bool) -> Html:
    return element("li", element("a", words, href=url, aria_current="true" if is_chosen else None))


def _draw_filters(asked: _Asked, places: Places) -> Html:
    given = asked.query
    names = sorted({*all_pipelines(), *([given["pipeline"]] if "pipeline" in given else [])})
    states = [("", "any"), *((state.value, mark.word) for state, mark in RUN_MARKS.items())]
    fields = [
        _draw_field(
            "Pipeline",
            "pipeline",
            element("input", id="b-pipeline", name="pipeline", value=given.get("pipeline", ""), list="b-pipelines"),
        ),
        element("datalist", [element("option", value=name) for name in names], id="b-pipelines"),
        _draw_field(
            "State",
            "state",
            element("select", draw_options(states, chosen=given.get("state", "")), id="b-state", name="state"),
        ),
        _draw_field(
            "Run, source event, subject or external id",
            "text",
            element("input", type="search", id="b-text", name="text", value=given.get("text", "")),
        ),
        _draw_field(
            "Enqueued since",
            "since",
            element("input", type="date", id="b-since", name="since", value=given.get("since", "")),
        ),
        element(
            "label",
            element("input", type="checkbox", name="needs_person", value="1", checked=asked.wanted.needs_person),
            element("span", "needs a person"),
            class_="check",
        ),
        element("div", element("button", "Show", type="submit", class_="main")),
    ]
    return draw_get_form(places.runs({}), *fields, kind="filters", label="Narrow the list", role="search")


def _draw_field(words: str, name: str, control: Html) -> Html:
    return element("div", element("label", words, for_=f"b-{name}"), control)


def _draw_list(found: RunPage, asked: _Asked, places: Places) -> list[Html]:
    if not found.runs:
        told = "No run fits." if asked.wanted.is_narrow else "The ledger has no runs yet."
        every = element("a", "Show all runs", href=places.runs({}))
        return [element("p", told, " ", every if asked.wanted.is_narrow else None)]
    clock = Clock(now=found.now)
    ids = shorten_ids([run.id for run in found.runs])
    rows = [_draw_row(run, short, clock, places) for run, short in zip(found.runs, ids, strict=True)]
    links: list[Html] = []
    if asked.wanted.before is not None:
        links.append(element("a", "Newest runs", href=places.runs(asked.query)))
    if found.has_older:
        older = places.runs({**asked.query, "before": found.runs[-1].id})
        links.append(element("a", "Older runs", href=older, rel="next"))
    pages = [element("nav", links, class_="pages", aria_label="More runs")] if links else []
    caption = "Runs, newest first" if asked.wanted.before is None else "Older runs, newest first"
    return [draw_table(caption, _HEADINGS, rows), *pages]


def _draw_row(run: RunRecord, short: str, clock: Clock, places: Places) -> tuple[Child, ...]:
    took = say_seconds((run.finished_at - run.created_at).total_seconds()) if run.finished_at else ""
    asks = (
        element("div", element("strong", "needs a person", class_="tone-person")) if run.requires_human_review else None
    )
    return (
        element("a", element("code", short), href=places.run(run.id), title=run.id),
        break_name(run.pipeline),
        [draw_mark(RUN_MARKS[run.state]), asks],
        break_name(run.operator_state),
        run.subject_id or NOTHING,
        draw_age(run.created_at, clock),
        took,
    )
