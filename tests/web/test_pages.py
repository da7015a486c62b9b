"""The pages that show: for every scene, for very much, and for what cannot be read."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import pytest
from sqlalchemy import insert

from backout.compensations.actions import act
from backout.compensations.requests import Request, ReviewDecision, Verb
from backout.ledger import queries
from backout.ledger.models import entry
from backout.ledger.records import ReviewRecord
from backout.ledger.session import Ledger
from backout.pipelines.contract import Plan
from backout.states import RunState
from backout.views.graph import MOST_BOXES
from backout.views.picture import RunPicture
from backout.views.timeline import find_window
from backout.web.acting import act_on_form, draw_preview, take_review
from backout.web.fields import is_storable
from backout.web.host import Acted, Page, Permission
from backout.web.pages import draw_pipelines, draw_review, draw_reviews, draw_run, draw_runs
from backout.web.run_page import find_picture
from backout.web.timeline import MOST_LINES
from tests.support.ledgers import set_run
from tests.support.pages import PLACES, Paths, Read, query_of, read, viewer
from tests.support.recorder import RecordingEngine
from tests.support.rest import ask
from tests.support.runs import RecordedRun, contract
from tests.support.scenes import SCENES, doubted, parked, retrying, rows_of, succeeded

ALICE: Final = viewer()
WITH: Final[dict[str, Any]] = {"places": PLACES, "viewer": ALICE}
ON_BOTH: Final = pytest.mark.parametrize("ledger", ["postgresql", "sqlite"], indirect=True)
ON_ONE: Final = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


def review_of(run: RecordedRun) -> ReviewRecord:
    return run.ledger.read(lambda connection: queries.list_reviews(connection, run.id))[-1]


def page_of(engine: RecordingEngine, run: RecordedRun) -> Read:
    page = draw_run(engine, run.id, **WITH)
    assert page.status == 200
    return read(page)


def runs_of(engine: RecordingEngine, **query: str) -> tuple[Page, Read]:
    page = draw_runs(engine, query, **WITH)
    return page, read(page)


def ids_in(page: Page) -> list[str]:
    """Return the runs that a list names, in its order."""
    return re.findall(r'href="/runs/([0-9a-f-]{36})"', page.body)


# one run


@ON_ONE
def test_a_run_of_a_newer_release_is_not_said_to_be_missing(ledger: Ledger, engine: RecordingEngine) -> None:
    """While releases are mixed, an entry may be of an event that this one does not know."""
    run = doubted(ledger)
    with ledger.transaction() as connection:
        connection.execute(
            insert(entry).values(at=queries.read_clock(connection), run_id=run.id, event="beamed", actor="engine")
        )
    (review,) = ledger.read(lambda connection: queries.list_reviews(connection, run.id))
    form = {"verb": "cancel", "reason": "too old"}
    for page in (
        draw_run(engine, run.id, **WITH),
        draw_review(engine, review.id, **WITH),
        draw_preview(engine, run.id, form, **WITH),
        act_on_form(engine, run.id, form, **WITH),
    ):
        assert isinstance(page, Page)
        assert page.status == 422
        assert "newer release" in read(page).text
    for path in (f"/runs/{run.id}", f"/reviews/{review.id}"):
        status, refused = ask(engine, "GET", path)
        assert (status, refused["error"]["code"]) == (422, "plan_unreadable")


@ON_BOTH
@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())
def test_page_of_a_run_says_what_happened_first(
    ledger: Ledger, engine: RecordingEngine, scene: Callable[[Ledger], RecordedRun]
) -> None:
    """The parts stand in the order in which they are needed, whatever has become of the run."""
    run = scene(ledger)
    shown = page_of(engine, run)
    picture = find_picture(engine, run.id)
    assert isinstance(picture, RunPicture)
    assert shown.text.startswith(picture.run.pipeline)
    parts = [
        "Operator state",
        picture.customer_message,
        "customer-17",
        *(["A person must decide"] if picture.run.state is RunState.IN_REVIEW else []),
        "What is safe to do next",
        "Where it stands",
        "Timeline",
        *(["Rollback, in the order of undoing"] if "rolling_back" in picture.run.operator_state else []),
        "Entries",
        f"All {len(picture.entries)}",
        "Contract",
        "Digest of the plan",
    ]
    places = [shown.text.index(part) for part in parts]
    assert places == sorted(places)
    assert "refund the charge" in shown.text[places[-2] :]
    assert "`" not in shown.text
    assert [words for words in shown.links if words.startswith("Preview")]
    assert all(query_of(url)["verb"] in list(Verb) for words, url in shown.links.items() if words.startswith("Preview"))


@ON_BOTH
def test_what_can_be_done_is_in_three_groups(ledger: Ledger, engine: RecordingEngine) -> None:
    """Safe ones, those for who knows more, and what is refused with its reason; verbs are words, not commands."""
    run = doubted(ledger)
    text = page_of(engine, run).text
    safe, unsure = text.index("Undo what the run did"), text.index("Go on without the step")
    refused = text.index("Not possible now, and why")
    assert text.index("✓ Safe") < safe < text.index("Only if you know more than the record does") < unsure < refused
    assert "Let the run go on: " in text[refused:]
    assert "“Decide the review”" in text[refused:]
    assert "retry_step" not in text


@ON_BOTH
def test_who_may_only_look_has_no_way_to_act(ledger: Ledger, engine: RecordingEngine) -> None:
    """They see all, and that they may not act."""
    run = doubted(ledger)
    looker = viewer(Permission.VIEW)
    pages = [
        draw_run(engine, run.id, places=PLACES, viewer=looker),
        draw_review(engine, review_of(run).id, places=PLACES, viewer=looker),
    ]
    for page in pages:
        shown = read(page)
        assert "You may look, and not" in shown.text
        assert shown.forms == []
        assert "/act" not in page.body


@ON_BOTH
def test_who_may_not_look_sees_no_page(ledger: Ledger, engine: RecordingEngine) -> None:
    """Status 403, and no word of any run."""
    run = doubted(ledger)
    who: dict[str, Any] = {"places": PLACES, "viewer": viewer(Permission.ACT)}
    for page in (
        draw_run(engine, run.id, **who),
        draw_runs(engine, {}, **who),
        draw_pipelines(engine, {}, **who),
        draw_reviews(engine, {}, **who),
        draw_review(engine, review_of(run).id, **who),
    ):
        assert page.status == 403
        assert "fulfil_order" not in page.title + page.body
        assert "book_courier" not in page.title + page.body


@ON_BOTH
def test_timeline_says_what_is_requested_and_waits_for_a_worker(ledger: Ledger, engine: RecordingEngine) -> None:
    """After a person has asked for something nobody wonders whether it was heard."""
    run = parked(ledger)
    act(run.id, Request(verb=Verb.RESUME), engine=engine, actor="django:alice", reason="open again")
    text = page_of(engine, run).text
    assert re.search(r"requested, waits for a worker since \d\d:\d\d:\d\d", text)
    assert "django:alice" in text
    assert "open again" in text
    text = page_of(engine, retrying(ledger)).text
    assert "next attempt due in 1 h" in text or "next attempt due in 59 min" in text


@ON_ONE
def test_step_leads_to_its_celery_task_where_the_host_shows_it(ledger: Ledger, engine: RecordingEngine) -> None:
    """From the row and from its details; a task that the host does not know is named, and leads nowhere."""
    run = parked(ledger)
    known = rows_of(run)[2]
    page = draw_run(engine, run.id, places=Paths(tasks=frozenset({known.task_id})), viewer=ALICE)
    shown = read(page)
    tasks = {words.partition(",")[0]: url for words, url in shown.links.items() if url.startswith("/tasks")}
    assert tasks == dict.fromkeys(("attempt 1", f"{known.step}: Celery task", known.task_id), f"/tasks/{known.task_id}")
    assert all(row.task_id in shown.text for row in rows_of(run) if row.attempt)


@ON_BOTH
def test_run_whose_plan_cannot_be_read_has_its_page(ledger: Ledger, engine: RecordingEngine) -> None:
    """A newer release wrote it: what happened is shown, and nothing is offered."""
    run = doubted(ledger)
    review = review_of(run)
    set_run(ledger, run.id, plan={"format": 99})
    shown = page_of(engine, run)
    assert "book_courier" in shown.text
    assert "a newer one can" in shown.text
    assert not [words for words in shown.links if words.startswith("Preview")]
    page = read(draw_review(engine, review.id, **WITH))
    assert "nothing can be decided here" in page.text
    for asked in (
        draw_preview(engine, run.id, {"verb": "cancel"}, **WITH),
        act_on_form(engine, run.id, {"verb": "cancel", "reason": "x", "expecting": "x"}, **WITH),
    ):
        assert isinstance(asked, Page)
        assert asked.status == 422
        assert "cannot read the plan" in read(asked).text


@ON_BOTH
@pytest.mark.parametrize(
    "run_id", ["", "x", "a\x00", "\ud800", "urn:uuid:0", "019aa9c0-d900-7aa5-9931-e0eb6d687b25", "９" * 32]
)
def test_run_that_is_not_there_is_said_so(ledger: Ledger, engine: RecordingEngine, run_id: str) -> None:
    """Whatever somebody has typed into the address."""
    page = draw_run(engine, run_id, **WITH)
    assert page.status == 404
    read(page)
    page.body.encode()


@ON_BOTH
def test_very_many_entries_are_not_all_read(ledger: Ledger, engine: RecordingEngine) -> None:
    """The newest 500, and how many there are."""
    run = succeeded(ledger)
    picture = find_picture(engine, run.id)
    assert isinstance(picture, RunPicture)
    values = {"run_id": run.id, "event": "external_id_recorded", "actor": "worker-1", "at": picture.now}
    with ledger.transaction() as connection:
        connection.execute(insert(entry), [{**values, "reason": f"number {number}"} for number in range(1_200)])
    before = len(picture.entries)
    text = page_of(engine, run).text
    assert f"The last 500 of {1_200 + before:,}, newest last" in text
    assert "number 1199" in text
    assert "number 700" in text
    assert "number 699" not in text


@ON_ONE
def test_very_many_steps_are_shown_where_the_run_stands(ledger: Ledger, engine: RecordingEngine) -> None:
    """And it is said how many are left out."""
    plan = Plan(pipeline="long", steps=tuple(contract(f"step_{number}") for number in range(1_100)))
    run = RecordedRun(ledger=ledger, plan=plan)
    text = page_of(engine, run).text
    assert "600 steps behind these are not shown" in text
    assert text.count("· not started") == MOST_LINES - 1 + MOST_BOXES - 1
    assert "Steps 1 to 30 of 1,100" in text
    assert "The first 500 of 1,100 steps" in text
    assert "step_500" not in text
    for place in (0, 450, 800, 1_099):
        first, last = find_window([other == place for other in range(1_100)], MOST_LINES)
        assert last - first == MOST_LINES
        assert first <= place < last


# lists


@ON_BOTH
def test_list_of_runs_is_narrowed_and_counted(ledger: Ledger, engine: RecordingEngine) -> None:
    """By pipeline, state, who must act, text and date; the counts lead to their states and keep the rest."""
    asking, done = doubted(ledger), succeeded(ledger)
    other = RecordedRun(ledger=ledger, subject="ines", source_event="form <8>")
    everything, shown = runs_of(engine)
    assert ids_in(everything) == [other.id, done.id, asking.id]
    assert "3 runs" in shown.text
    assert ids_in(runs_of(engine, state="succeeded")[0]) == [done.id]
    assert ids_in(runs_of(engine, needs_person="1")[0]) == [asking.id]
    for text in ("ines", " ines ", "form <8>", other.id):
        assert ids_in(runs_of(engine, text=text)[0]) == [other.id]
    assert ids_in(runs_of(engine, pipeline="another")[0]) == []
    assert ids_in(runs_of(engine, since="2020-01-01")[0]) == [other.id, done.id, asking.id]
    assert ids_in(runs_of(engine, since="2200-01-01")[0]) == []
    _, narrow = runs_of(engine, text="ines", state="pending")
    link = next(url for words, url in narrow.links.items() if words.endswith("1 succeeded"))
    assert query_of(link) == {"site": "1", "text": "ines", "state": "succeeded"}
    [form] = narrow.forms
    assert form.fields == {"site": "1", "pipeline": "", "state": "pending", "text": "ines", "since": ""}
    assert form.action == "/runs"
    nothing, empty = runs_of(engine, text="nobody")
    assert "No run fits. Show all runs" in empty.text
    assert nothing.status == 200


@ON_ONE
def test_many_runs_of_a_state_are_not_counted_to_their_end(
    ledger: Ledger, engine: RecordingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list says that there are more, and does not make people wait for how many."""
    monkeypatch.setattr("backout.web.runs_page.COUNTED_TO", 1)
    RecordedRun(ledger=ledger)
    assert "1 run○ 1 pending" in runs_of(engine)[1].text
    RecordedRun(ledger=ledger)
    assert "1+ runs○ 1+ pending" in runs_of(engine)[1].text


# pipelines


@ON_BOTH
def test_page_of_pipelines_says_rates_in_words_and_leads_to_what_is_stuck(
    ledger: Ledger, engine: RecordingEngine
) -> None:
    """Each number has its words; the oldest run of each open state and the oldest review are a click away."""
    waiting, asking = parked(ledger), doubted(ledger)
    succeeded(ledger)
    shown = read(draw_pipelines(engine, {}, **WITH))
    for words in (
        "fulfil_order",
        "3 runs, 3.0 a day",
        "✓ succeeded",
        "100 %",
        "✗ failed",
        "0 %",
        "■ parked",
        "nearest rank",
    ):
        assert words in shown.text, words
    assert "charge_card" in shown.text
    assert {f"/runs/{waiting.id}", f"/runs/{asking.id}", f"/reviews/{review_of(asking).id}"} <= set(
        shown.links.values()
    )
    assert query_of(shown.links["■ parked"]) == {"site": "1", "pipeline": "fulfil_order", "state": "parked"}
    assert query_of(shown.links["Last hour"]) == {"window": "hour"}
    hour = draw_pipelines(engine, {"window": "hour"}, **WITH)
    assert re.search(r'aria-current="true"[^>]*>Last hour', hour.body)
    assert "Pipelines" in runs_of(engine)[1].links


@ON_ONE
def test_page_of_pipelines_says_when_it_has_not_counted_all(
    ledger: Ledger, engine: RecordingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the time that the rates are of is the time of what was counted."""
    monkeypatch.setattr("backout.views.statistics.COUNTED_RUNS", 1)
    for _ in range(2):
        RecordedRun(ledger=ledger)
    text = read(draw_pipelines(engine, {"window": "week"}, **WITH)).text
    assert "There were more runs than are counted" in text
    assert re.search(r"Enqueued1 run, \d+\.\d a minute", text)


@ON_ONE
def test_page_of_pipelines_of_an_empty_ledger_says_so(ledger: Ledger, engine: RecordingEngine) -> None:
    """And an unknown window is the usual one."""
    assert "no runs yet" in read(draw_pipelines(engine, {"window": "<year>"}, **WITH)).text


@ON_BOTH
@pytest.mark.parametrize(
    "query",
    [{"state": "lost"}, {"since": "soon"}, {"since": "0001-01-01T00:00+23:59"}, {"before": "x"}, {"before": "\ud800"}],
)
def test_filter_that_cannot_be_used_is_said_so(ledger: Ledger, engine: RecordingEngine, query: dict[str, str]) -> None:
    """Instead of a list that is something else than what was asked for."""
    run = succeeded(ledger)
    page, shown = runs_of(engine, **query)
    if is_storable("".join(query.values())):
        assert page.status == 422
        assert "not narrowed as you asked" in shown.text
    assert ids_in(page) == [run.id]
    assert ids_in(runs_of(engine, text="a\x00b", pipeline="\ud800")[0]) == [run.id]


@ON_ONE
def test_older_runs_are_reached_page_by_page(ledger: Ledger, engine: RecordingEngine) -> None:
    """Each run stands on one page; the way back leads to the newest."""
    made = [RecordedRun(ledger=ledger).id for _ in range(120)]
    query: dict[str, str] = {"pipeline": "fulfil_order"}
    page, shown = runs_of(engine, **query)
    found = ids_in(page)
    for _ in range(2):
        query = query_of(shown.links["Older runs"])
        assert query["pipeline"] == "fulfil_order"
        page, shown = runs_of(engine, **query)
        found += ids_in(page)
    assert "Older runs" not in shown.links
    assert "Newest runs" in shown.links
    assert found == sorted(made, reverse=True)


@ON_BOTH
def test_list_of_reviews_is_by_age_and_by_who_looks_after_them(ledger: Ledger, engine: RecordingEngine) -> None:
    """All open ones, mine, those of nobody; a decided one is gone."""
    runs = [doubted(ledger) for _ in range(3)]
    numbers = [review_of(run).id for run in runs]
    taken = read(draw_review(engine, numbers[1], **WITH))
    form = next(form for form in taken.forms if form.action == f"/reviews/{numbers[1]}/take")
    assert form.fields == {"csrf": "tok", "assignee": "django:alice", "from_assignee": ""}
    assert isinstance(take_review(engine, numbers[1], form.fields, **WITH), Acted)

    def listed(**query: str) -> list[int]:
        page = draw_reviews(engine, query, **WITH)
        read(page)
        return [int(number) for number in re.findall(r'href="/reviews/(\d+)"', page.body)]

    assert listed() == listed(assignee="what?") == numbers
    assert listed(assignee="mine") == [numbers[1]]
    assert listed(assignee="unassigned") == [numbers[0], numbers[2]]
    assert listed(after=str(numbers[0])) == numbers[1:]
    assert listed(after="9" * 18) == []
    request = Request(verb=Verb.RESOLVE, review_id=numbers[0], decision=ReviewDecision.ACCEPT)
    act(runs[0].id, request, engine=engine, actor="a", reason="b")
    assert listed() == numbers[1:]
    assert "Decided" in read(draw_review(engine, numbers[0], **WITH)).text


@ON_BOTH
def test_review_shows_evidence_dangers_and_what_each_decision_does(ledger: Ledger, engine: RecordingEngine) -> None:
    """With a form for each that is possible, which asks for exactly that."""
    run = doubted(ledger)
    number = review_of(run).id
    shown = read(draw_review(engine, number, **WITH))
    for fact in (
        "Where to look: ask the other system for",
        f"{run.id}:book_courier",
        "Do not do by hand again without looking first",
        "book_courier: nobody knows whether it happened",
        "May be done again under the same idempotency key",
        "and would be ✗ failed",
    ):
        assert fact in shown.text
    forms = [form for form in shown.forms if form.action.startswith(f"/runs/{run.id}/act")]
    assert [form.fields["decision"] for form in forms] == ["done", "not_done", "accept"]
    assert ["output" in form.fields for form in forms] == [True, False, False]
    assert {form.fields["review_id"] for form in forms} == {str(number)}
    assert len({form.fields["expecting"] for form in forms}) == 1
