"""The pictures on the page of a run: drawn from what `views` has decided, for the eye only, and safe to show."""

from __future__ import annotations

import re
from dataclasses import replace

from backout.events import Event
from backout.states import RunState, StepState
from backout.views.clock import Clock
from backout.views.graph import tell_graph
from backout.views.picture import RunPicture
from backout.web.graph import draw_graph
from backout.web.host import Page
from backout.web.pieces import make_page
from backout.web.timeline import draw_timeline
from tests.support.pages import Paths, Read, read
from tests.support.pictures import COMPENSATION, at, courier_failed, done, entry_record, picture, step_record


def timeline_of(of: RunPicture, *tasks: str) -> tuple[str, Read]:
    """Return the part of a run's page that is its timeline, on a host that knows these tasks."""
    page = make_page("Timeline", draw_timeline(of, Clock(now=of.now), Paths(tasks=frozenset(tasks))))
    return page.body, read(page)


def rolled_back() -> RunPicture:
    row = courier_failed()
    back = step_record("charge_card", StepState.SUCCEEDED, COMPENSATION, started_at=at(5_600), finished_at=at(5_603))
    entries = [
        entry_record(Event.ATTEMPT_STARTED, row, seconds=3, attempt=2),
        entry_record(Event.RETRY_SCHEDULED, row, seconds=3.1, attempt=2),
        entry_record(Event.ATTEMPT_STARTED, row, seconds=3.2, attempt=3),
        entry_record(Event.STEP_FAILED, row, seconds=4, attempt=3),
    ]
    rows = [*done("check_address", "reserve_stock", "charge_card"), row, back]
    return picture(RunState.ROLLED_BACK, rows, entries=entries, run={"finished_at": at(5_603)})


def test_picture_stands_before_the_tables_and_says_nothing_that_they_do_not() -> None:
    """Who listens to the page is spared it; every bar says under the pointer what it is."""
    body, shown = timeline_of(rolled_back())
    figure = body[body.index("<figure") : body.index("</figure>")]
    assert figure.startswith('<figure class="chart" aria-hidden="true">')
    assert body.index("<figure") < body.index("<table")
    assert " id=" not in figure
    assert "⋯ 1 h 33 min" in figure
    assert "undo charge_<wbr>card" in figure
    assert re.search(r"<title>attempt 3, 05:20:03, 800 ms: failed</title>", figure)
    bars = re.findall(r'class="bar (\w+) tone-(\w+)"', figure)
    assert bars.count(("attempt", "bad")) == 1
    assert bars.count(("attempt", "good")) == 4
    assert "Rollback, in the order of undoing" in shown.text


def test_bars_lead_to_the_tasks_that_the_host_shows_but_not_for_the_keyboard() -> None:
    """The tables have the same links; nothing that is hidden from the ear can be reached by tab."""
    of = rolled_back()
    body, _ = timeline_of(of, *(row.task_id for row in of.steps))
    figure = body[body.index("<figure") : body.index("</figure>")]
    links = re.findall(r"<a [^>]*>", figure)
    assert links
    assert all(f'href="/tasks/{of.run.id}" tabindex="-1"' in link for link in links)
    assert "<a " not in timeline_of(of)[0]


def test_run_of_which_little_is_known_has_its_timeline() -> None:
    """No plan, no entries, no rows: what there is is drawn."""
    of = rolled_back()
    body, shown = timeline_of(replace(of, plan=None, entries=(), older_entries=40))
    assert "attempts 1 to 3, 05:20:03" in body
    assert "book_courier" in shown.text
    body, _ = timeline_of(replace(of, plan=None, entries=(), steps=()))
    assert "<figure" not in body


def test_boxes_of_the_pipeline_are_a_list_in_words() -> None:
    """Sign and word of each state, and the whole text of what is cut off for the eye."""
    graph = tell_graph(rolled_back())
    assert graph is not None
    page = make_page("Where it stands", draw_graph(graph))
    shown = read(page)
    assert "3 · write charge_card ✓ succeeded undo: refund the charge ✓ undone" in respaced(page)
    assert ("div", "title", "undo: refund the charge") in shown.attributes
    assert 'class="box later"' in page.body
    assert [tag for tag, _, _ in shown.attributes].count("ol") == 2


def respaced(page: Page) -> str:
    """Return what a page says, with a blank where an element ends."""
    return " ".join(re.sub(r"<[^>]*>", lambda tag: "" if tag[0] == "<wbr>" else " ", page.body).split())
