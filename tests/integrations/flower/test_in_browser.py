"""The tab as a person uses it, in a real browser, with the worker that carries out what they ask for."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, Route, expect

from backout.compensations.verbs import assign_review
from backout.ledger import queries
from backout.ledger.records import ReviewRecord
from backout.ledger.session import Ledger
from backout.states import RunState
from backout.tasks.runtime import runtime_of
from backout.testing.servers import Broker
from backout.testing.servers.postgres import Postgres
from tests.integrations.flower.many_runs import MANY, PIPELINE, RARE, record_many
from tests.integrations.flower.starting import ALICE, BOB, LOGIN, open_form
from tests.support.apps.pipelines import REVIEWING, UNHEARD
from tests.support.browser import open_context, take_picture
from tests.support.flowers import Flower, run_flower
from tests.support.ledgers import read_run
from tests.support.runs import RecordedRun
from tests.support.scenes import SCENES, entries_of, reserved, rows_of
from tests.support.stack import SHOP, Stack
from tests.support.waiting import wait_until

PREFIX = "/mon/flower"
OPTIONS = (LOGIN, "--backout_operators=alice", f"--url_prefix={PREFIX.strip('/')}", "--persistent=True")
REASON = "the bank says that it has the money"


@pytest.fixture(scope="module")
def shop(broker: Broker, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The shop on PostgreSQL."""
    name = f"backout_flower_{uuid.uuid4().hex}"
    folder = tmp_path_factory.mktemp("flower")
    stack = Stack(broker, postgres.create_database(name), folder, settings={"worker_send_task_events": True})
    stack.migrate()
    yield stack
    stack.close()
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def flower(shop: Stack) -> Iterator[Flower]:
    """Flower as its users start it, and the worker that it watches."""
    with run_flower(*OPTIONS, app=SHOP, environment=shop.environment, folder=shop.folder) as running:
        shop.start_worker("--pool", "solo")
        yield running


@contextmanager
def sitting(browser: Browser, flower: Flower, user: str = ALICE, **how: Any) -> Iterator[Page]:
    """Let somebody sit down at a browser that knows their password; a script that fails fails the test."""
    with open_context(browser, flower.url, user=user, **how) as context:
        page = context.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        yield page
        assert wrong == []


def open_page(page: Page, path: str) -> None:
    """Open one of Flower's pages, also while the answer to a form that was just sent is on its way."""
    try:
        page.goto(f"{PREFIX}{path}")
    except Error as error:
        if "interrupted by another navigation" not in str(error):
            raise
        page.goto(f"{PREFIX}{path}")


def give_reason_and_do(page: Page) -> None:
    """Fill in the form that acts, and send it."""
    page.get_by_label("Why").fill(REASON)
    page.locator("form[method=post] button[type=submit]").click()


def test_who_knows_flower_finds_a_run_that_needs_help_and_helps_it(
    browser: Browser, flower: Flower, shop: Stack
) -> None:
    """From Flower's first page to the worker's last step, by what the pages themselves say."""
    handle, settled = shop.run(REVIEWING, {"money_review": ["fail:the bank refused", "ok"]}, customer="Ada")
    assert settled.state is RunState.IN_REVIEW
    with sitting(browser, flower, height=1400) as page:
        open_page(page, "/")
        page.get_by_role("link", name="Runs", exact=True).click()
        page.get_by_label("needs a person").check()
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("table")).to_contain_text("Ada")
        take_picture(page, "flower_runs", is_whole=False)
        page.get_by_title(handle.id).click()
        expect(page.locator(".story")).to_contain_text("the bank refused")
        take_picture(page, "flower_run", is_whole=False)
        page.get_by_role("link", name=re.compile("Look at the review")).first.click()
        take_picture(page, "flower_review", is_whole=False)
        page.go_back()
        page.get_by_role("link", name=re.compile(r"Preview\s*: Retry the step")).click()
        take_picture(page, "flower_preview", is_whole=False)
        give_reason_and_do(page)
        expect(page.get_by_role("status").first).to_contain_text("Done: retry the step")
        # Shown anew without a click.
        expect(page.locator(".story")).to_contain_text("succeeded")
        assert handle.status().state is RunState.SUCCEEDED
    assert {entry.actor for entry in handle.entries() if entry.reason == REASON} == {"flower:alice"}


@pytest.mark.parametrize(
    ("scene", "name", "ends"),
    [
        ("reserved", "Pause the run", RunState.PAUSED),
        ("reserved", "Stop the run", RunState.CANCELLED),
        ("paused", "Let the run go on", RunState.RUNNING),
        ("parked", "Retry the step", RunState.RUNNING),
        ("parked", "Go on without the step", RunState.RUNNING),
        ("succeeded", "Undo what the run did", RunState.ROLLING_BACK),
        ("undo_failed", "Let the rollback go on", RunState.ROLLING_BACK),
        ("rolled_back", "Run the undo of .* again", RunState.ROLLING_BACK),
    ],
)
def test_each_action_has_a_preview_and_is_done_once(
    browser: Browser, flower: Flower, shop: Stack, scene: str, name: str, ends: RunState
) -> None:
    """The name of the verb is on the run's page; an impatient double click is harmless (R13)."""
    ledger = runtime_of(shop.app).ledger
    run = SCENES[scene](ledger)
    before = len(entries_of(run))
    with sitting(browser, flower) as page:
        open_page(page, f"/runs/{run.id}")
        page.get_by_role("link", name=re.compile(rf"Preview\s*: {name}")).first.click()
        expect(page.get_by_role("heading", name="What would happen")).to_be_visible()
        assert len(entries_of(run)) == before, "a preview changes nothing"
        page.get_by_label("Why").fill(REASON)
        page.locator("form[method=post] button[type=submit]").dblclick()
        page.wait_for_load_state()
        wait_until(lambda: read_run(ledger, run.id).state is ends, 10, f"the run is {ends}")
    own = [entry for entry in entries_of(run, after=0)[before:] if entry.actor == "flower:alice"]
    done = [entry.event for entry in own if entry.reason == REASON]
    assert done
    assert len(done) == len(set(done))


@pytest.mark.parametrize(
    ("decision", "returned", "ends"),
    [
        ("It has happened", '{"van": "found in their books"}', RunState.RUNNING),
        ("It has not happened", "", RunState.RUNNING),
        ("Leave it as it is", "", RunState.FAILED),
    ],
)
def test_each_decision_about_a_review_is_made_once(
    browser: Browser, flower: Flower, shop: Stack, decision: str, returned: str, ends: RunState
) -> None:
    """On the page that has the evidence; what a step has returned is what the next one gets."""
    ledger = runtime_of(shop.app).ledger
    run = SCENES["doubted"](ledger)
    review = review_of(run)
    with sitting(browser, flower) as page:
        open_page(page, "/reviews")
        page.get_by_role("link", name=re.compile(rf"^{review.id}: ")).click()
        expect(page.locator(".story")).to_contain_text("book_courier")
        page.locator("summary").filter(has_text=f"Decide: {decision.lower()}").click()
        form = page.locator("form[method=post]").filter(has=page.get_by_label("Why")).locator("visible=true")
        form.get_by_label("Why").fill(REASON)
        if returned:
            form.get_by_label("What the step would have returned").fill(returned)
        form.get_by_role("button", name="Decide").dblclick()
        page.wait_for_load_state()
        wait_until(lambda: review_of(run).decision, 10, "it is decided")
        open_page(page, f"/reviews/{review.id}")
        expect(page.get_by_role("heading", name="Decided")).to_be_visible()
        expect(page.locator(".backout")).to_contain_text(REASON)
        expect(page.get_by_role("button", name="Decide")).to_have_count(0)
    decided = review_of(run)
    assert (decided.decided_by, decided.note) == ("flower:alice", REASON)
    assert read_run(ledger, run.id).state is ends
    if returned:
        assert json.loads(returned) in [row.output for row in rows_of(run) if row.step == "book_courier"]
    done = [entry.event for entry in entries_of(run) if entry.reason == REASON]
    assert len(done) == len(set(done))


def test_a_review_is_taken_from_whom_the_page_names(browser: Browser, flower: Flower, shop: Stack) -> None:
    """Somebody else was faster: who is told so may take it over from them, and finds it among their own."""
    run = SCENES["doubted"](runtime_of(shop.app).ledger)
    review = review_of(run)
    with sitting(browser, flower) as page:
        open_page(page, f"/reviews/{review.id}")
        assign_review(review.id, "flower:carol", actor="flower:carol", reason="taken", engine=runtime_of(shop.app))
        page.get_by_role("button", name="I look after it").click()
        expect(page.locator(".backout")).to_contain_text("Somebody was faster: nothing was changed")
        assert review_of(run).assignee == "flower:carol"
        page.get_by_role("button", name="Take it over from flower:carol").click()
        expect(page.get_by_role("status").first).to_contain_text(f"You look after review {review.id} now")
        open_page(page, "/reviews")
        page.get_by_role("link", name="Mine").click()
        page.get_by_role("link", name=re.compile(rf"^{review.id}: ")).click()
        expect(page.get_by_role("button", name=re.compile("look after|Take it over"))).to_have_count(0)
    assert review_of(run).assignee == "flower:alice"
    assert entries_of(run)[-1].actor == "flower:alice"


def review_of(run: RecordedRun) -> ReviewRecord:
    """Return the only review of a run, open or decided."""
    (review,) = run.ledger.read(lambda connection: queries.list_reviews(connection, run.id))
    return review


def test_among_ten_thousand_runs_every_filter_finds_its_own(browser: Browser, flower: Flower, shop: Stack) -> None:
    """By state, pipeline, and each thing that somebody may have at hand; page by page to the oldest."""
    ledger = runtime_of(shop.app).ledger
    failed = record_many(ledger, reserved(ledger).id)
    with sitting(browser, flower, height=1000) as page:
        open_page(page, f"/runs?pipeline={PIPELINE}")
        expect(page.get_by_role("link", name=re.compile(f"{MANY - RARE:,}"))).to_be_visible()
        page.get_by_role("link", name=re.compile(f"^.? ?{RARE} ")).click()
        expect(page.locator("table tbody tr")).to_have_count(RARE)
        page.get_by_label(re.compile("source event")).fill("order-4711")
        page.get_by_label("State", exact=True).select_option("")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("table tbody tr")).to_have_count(1)
        page.get_by_label(re.compile("source event")).fill(failed[0])
        page.get_by_role("button", name="Show").click()
        page.get_by_title(failed[0]).click()
        expect(page.locator(".story")).to_contain_text("failed")
        open_page(page, f"/runs?pipeline={PIPELINE}&text=customer-42")
        expect(page.locator("table tbody tr")).to_have_count(50)
        page.get_by_role("link", name="Older runs").click()
        expect(page.get_by_role("table")).to_contain_text("customer-42")
        expect(page.locator("table tbody tr")).to_have_count(50)
        expect(page.get_by_role("link", name="Older runs")).to_have_count(0)
        page.get_by_role("link", name="Pipelines", exact=True).first.click()
        expect(page.locator(".backout")).to_contain_text(PIPELINE)
        take_picture(page, "flower_pipelines")


def test_a_form_on_another_site_changes_nothing(browser: Browser, flower: Flower, shop: Stack) -> None:
    """The browser knows the password, and sends it wherever a page sends it."""
    run = reserved(runtime_of(shop.app).ledger)
    form = open_form(flower.client(ALICE), run.id, "cancel")
    fields = "".join(f'<input name="{name}" value="{value}">' for name, value in form.fields.items())
    target = f"{flower.url}{form.action.removeprefix(PREFIX)}"

    def answer(route: Route) -> None:
        body = f'<form method="post" action="{target}">{fields}<button>Win a prize</button></form>'
        route.fulfill(body=body, content_type="text/html")

    with sitting(browser, flower) as page:
        open_page(page, f"/runs/{run.id}")
        page.route("http://prizes.example/**", answer)
        page.goto("http://prizes.example/")
        with page.expect_response(lambda response: response.request.method == "POST") as answered:
            page.get_by_role("button", name="Win a prize").click()
        assert answered.value.status == 403
    assert read_run(run.ledger, run.id).state is RunState.RUNNING


def test_a_wrong_password_shows_nothing(browser: Browser, flower: Flower, shop: Stack) -> None:
    """Neither a run nor that there is one."""
    run = reserved(runtime_of(shop.app).ledger)
    with sitting(browser, flower, user="alice:wrong") as page:
        answer = page.goto(f"{PREFIX}/runs/{run.id}")
        assert answer is not None
        assert answer.status == 401
        assert run.id not in page.content()


def test_a_viewer_is_told_why_there_are_no_buttons(browser: Browser, flower: Flower, shop: Stack) -> None:
    """On a run that an operator could help."""
    run = SCENES["parked"](runtime_of(shop.app).ledger)
    with sitting(browser, flower, user=BOB) as page:
        open_page(page, f"/runs/{run.id}")
        expect(page.get_by_text("bob is not among the operators")).to_be_visible()
        expect(page.get_by_role("link", name=re.compile("Preview"))).to_have_count(0)


def test_without_scripts_all_can_be_read_and_done(browser: Browser, flower: Flower, shop: Stack) -> None:
    """They only show anew what may have changed."""
    run = reserved(runtime_of(shop.app).ledger)
    with sitting(browser, flower, has_scripts=False) as page:
        open_page(page, "/runs")
        page.get_by_title(run.id).click()
        page.get_by_role("link", name=re.compile(r"Preview\s*: Pause the run")).click()
        give_reason_and_do(page)
        expect(page.get_by_role("status").first).to_contain_text("Done: pause the run")
    assert read_run(run.ledger, run.id).state is RunState.PAUSED


def test_what_changes_is_shown_anew_unless_somebody_is_busy(browser: Browser, flower: Flower, shop: Stack) -> None:
    """What is open stays open, what is typed stays typed, and whoever wants quiet gets it."""
    ledger = runtime_of(shop.app).ledger
    run = reserved(ledger)
    with sitting(browser, flower) as page:
        page.clock.install()
        open_page(page, "/runs?pipeline=fulfil_order")
        page.get_by_label(re.compile("source event")).fill("half an ")
        mark = page.locator("tr", has=page.get_by_title(run.id)).locator(".mark")
        expect(mark).to_contain_text("running")
        end(run)
        page.clock.run_for(6_000)
        assert "running" in mark.inner_text(), "nothing is taken away from who types"
        page.get_by_label(re.compile("source event")).fill("")
        page.get_by_label(re.compile("source event")).blur()
        page.clock.run_for(6_000)
        expect(mark).to_contain_text("succeeded")

        other = reserved(ledger)
        open_page(page, f"/runs/{other.id}")
        details = page.locator("details").first
        details.locator("summary").click()
        page.get_by_role("button", name="Pause refreshing").click()
        end(other)
        page.clock.run_for(6_000)
        expect(page.locator(".story")).not_to_contain_text("succeeded")
        page.get_by_role("button", name="Refresh again").click()
        expect(page.locator(".story")).to_contain_text("succeeded")
        assert details.get_attribute("open") is not None
        expect(page.locator(".refreshing")).to_have_count(0)


def end(run: RecordedRun) -> None:
    """Let the rest of a run succeed."""
    run.succeed("charge_card", "book_courier", "send_receipt")


def test_a_step_leads_to_flowers_task_and_back(browser: Browser, flower: Flower, shop: Stack) -> None:
    """Stock Flower finds the run by its id, shows real names, and knows nothing of what came before its start."""
    handle, _ = shop.run(REVIEWING)
    with sitting(browser, flower) as page:
        task = flower.client(ALICE)
        wait_until(lambda: "SUCCESS" in task.get(f"/task/{handle.id}").text, 20, "Flower knows the task")
        open_page(page, "/tasks")
        page.get_by_role("searchbox").fill(f"kwargs:run={handle.id}")
        for name in ("goods", "money_review"):
            expect(page.get_by_role("row").filter(has_text=f"tests.support.apps.pipelines.{name}")).to_have_count(1)
        open_page(page, f"/task/{handle.id}")
        expect(page.get_by_text("tests.support.apps.pipelines.goods").first).to_be_visible()
        assert "'pipeline': 'reviewing'" in page.content().replace("&#39;", "'"), "what people search for is shown"
        page.get_by_role("link", name="Run of this task").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("reviewing")
        page.get_by_role("link", name=re.compile("Celery task")).first.click()
        expect(page).to_have_url(re.compile(f"/task/{handle.id}"))


def test_a_run_that_no_worker_takes_up_says_so(browser: Browser, flower: Flower, shop: Stack) -> None:
    """What one looks for first at night."""
    handle = shop.start(UNHEARD)
    with sitting(browser, flower, width=390, height=844, is_dark=True) as page:
        open_page(page, f"/runs/{handle.id}")
        expect(page.locator(".backout")).to_contain_text(re.compile("waits for a worker since"))
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390, f"a phone would have to scroll sideways: {wide}"
        take_picture(page, "flower_phone", is_whole=False)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_follows_the_theme_that_is_chosen_in_flower(
    browser: Browser, flower: Flower, shop: Stack, theme: str
) -> None:
    """Whatever the reader's system prefers."""
    run = SCENES["undo_failed"](runtime_of(shop.app).ledger)
    with sitting(browser, flower, is_dark=theme == "light", height=1500) as page:
        open_page(page, f"/runs/{run.id}")
        page.get_by_role("button", name=re.compile("Select theme")).click()
        page.get_by_role("button", name=theme.capitalize(), exact=True).click()
        page.reload()
        ground = page.locator(".story").first.evaluate("one => getComputedStyle(one).backgroundColor")
        brightness = sum(int(part) for part in re.findall(r"\d+", ground)[:3]) / 3
        assert (brightness < 60) is (theme == "dark"), ground
        if theme == "dark":
            take_picture(page, "flower_dark", is_whole=False)


def test_after_a_restart_the_runs_are_all_there(browser: Browser, flower: Flower, shop: Stack) -> None:
    """Flower forgets; the ledger does not."""
    ledger: Ledger = runtime_of(shop.app).ledger
    run = SCENES["rolled_back"](ledger)
    with (
        run_flower(*OPTIONS, app=SHOP, environment=shop.environment, folder=shop.folder / "again") as fresh,
        sitting(browser, fresh) as page,
    ):
        open_page(page, f"/runs/{run.id}")
        expect(page.locator(".story")).to_contain_text(re.compile("rolled back|undone"))
