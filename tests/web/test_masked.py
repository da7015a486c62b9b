"""Nobody is shown a sensitive value: in every scene, on every page, in every document, in words and in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from html import unescape
from typing import Any, Final

import pytest

from backout.compensations.actions import act
from backout.compensations.requests import Request, ReviewDecision, Verb
from backout.compensations.verbs import assign_review
from backout.events import Event, read_lifecycle
from backout.ledger import following, queries
from backout.ledger.session import Ledger
from backout.pipelines.contract import Plan
from backout.pipelines.quotes import MASK
from backout.views.entries import say_why
from backout.views.look import list_actions, look_at, read_view
from backout.views.masking import Masking, mask_done
from backout.views.picture import read_picture
from backout.views.runs import RunFilter, read_runs
from backout.views.shapes import shape, shape_action, shape_picture, shape_preview
from backout.web.acting import draw_preview
from backout.web.host import Page
from backout.web.pages import draw_review, draw_reviews, draw_run, draw_runs
from tests.support import scenes
from tests.support.commands import call
from tests.support.ledgers import on_sqlite
from tests.support.pages import PLACES, viewer
from tests.support.recorder import RecordingEngine
from tests.support.rest import ask
from tests.support.runs import ORDER_PLAN, RecordedRun
from tests.support.scenes import REQUESTS, SCENES, doubted, entries_of, rolled_back, rows_of

SECRETS: Final = ("no courier", "the bank says so", "timed out", "ch_881", "h_17")
"""What the scenes quote in errors, reasons and external ids."""
WITH: Final[dict[str, Any]] = {"places": PLACES, "viewer": viewer()}
ANY_RUN: Final = RunFilter(pipeline=None, states=(), text=None, needs_person=False, before=None, limit=50)


def secretive(plan: Plan) -> Plan:
    """Return the plan of orders whose card and whose ids nobody may see."""
    ids = {"reserve_stock": ("hold",), "charge_card": ("*",), "book_courier": ("*",)}
    return replace(
        plan,
        sensitive=("card", "customer.words"),
        steps=tuple(replace(step, sensitive=ids.get(step.name, ())) for step in plan.steps),
    )


@pytest.fixture(autouse=True)
def secret_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every scene be of a run with secrets, which it quotes."""
    given: Any = {
        "id": "order-1",
        "card": {"number": "no courier"},
        "customer": {"name": "Ada", "words": ["the bank says so", "timed out"]},
    }
    secret_run = partial(RecordedRun, plan=secretive(ORDER_PLAN), input=given)
    monkeypatch.setattr(scenes, "RecordedRun", secret_run)


def documents(engine: RecordingEngine, run: RecordedRun) -> Iterator[str]:
    """Yield everything that anybody can be shown of a run, the pages as their text."""
    ledger = run.ledger
    picture = read_picture(ledger, run.id)
    yield json.dumps(shape_picture(picture, with_entries=True), ensure_ascii=False)
    yield " ".join(map(say_why, picture.entries))
    yield json.dumps(shape(read_runs(ledger, ANY_RUN).runs))
    yield json.dumps([shape_action(action) for action in list_actions(read_view(ledger, run.id))])
    reviews = ledger.read(queries.list_reviews)
    yield json.dumps(shape(ledger.read(lambda connection: Masking().mask_reviews(connection, reviews))))
    masking = Masking()
    followed = ledger.read(lambda connection: following.list_entries_after(connection, 0, limit=1000))
    yield json.dumps([shape(masking.mask_followed(ledger, one)) for one in followed])
    for request in REQUESTS.values():
        yield json.dumps(shape_preview(look_at(engine, run.id, request)))
    for page in pages(engine, run, [review.id for review in reviews]):
        yield unescape(page.body)
    paths = ["/runs", *(f"/runs/{run.id}{more}" for more in ("", "/actions")), "/reviews"]
    for path in [*paths, *(f"/reviews/{review.id}" for review in reviews)]:
        yield json.dumps(ask(engine, "GET", path)[1], ensure_ascii=False)
    yield json.dumps(ask(engine, "GET", f"/runs/{run.id}", entries="1")[1], ensure_ascii=False)
    for verb in (Verb.ROLLBACK, Verb.RESUME, Verb.RETRY_STEP, Verb.CANCEL):
        yield json.dumps(ask(engine, "GET", f"/runs/{run.id}/preview", verb=verb.value)[1], ensure_ascii=False)


def pages(engine: RecordingEngine, run: RecordedRun, review_ids: list[int]) -> Iterator[Page]:
    yield draw_runs(engine, {}, **WITH)
    yield draw_run(engine, run.id, **WITH)
    yield draw_reviews(engine, {}, **WITH)
    for review_id in review_ids:
        yield draw_review(engine, review_id, **WITH)
    for verb in (Verb.ROLLBACK, Verb.RESUME, Verb.RETRY_STEP, Verb.CANCEL):
        yield draw_preview(engine, run.id, {"verb": verb.value}, **WITH)


def found_in(shown: Iterator[str]) -> list[tuple[str, str]]:
    return [(secret, text) for text in shown for secret in SECRETS if secret in text]


@on_sqlite
@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())
def test_no_sensitive_value_is_shown(
    ledger: Ledger, engine: RecordingEngine, scene: Callable[[Ledger], RecordedRun]
) -> None:
    """Neither in its field nor where an error, a reason or a person quotes it; the ledger has it all the same."""
    run = scene(ledger)
    assert found_in(documents(engine, run)) == []
    stored = ledger.read(lambda connection: queries.find_run(connection, run.id))
    assert stored is not None
    assert stored.input == run.input


@on_sqlite
@pytest.mark.parametrize("command", ["list", "show", "watch", "next"])
def test_no_sensitive_value_is_printed(ledger: Ledger, command: str) -> None:
    """The commands that print a run read it as the pages do, without the code of its pipeline."""
    run = rolled_back(ledger)
    url = f"sqlite:///{ledger.file}"
    more = ["--entries"] if command == "show" else []
    options = [] if command == "list" else [run.id]
    printed = [call("runs", command, *options, *more, *form, url=url).output for form in ([], ["--json"])]
    assert run.id in printed[1] or command == "next"
    assert found_in(iter(printed)) == []
    assert MASK in "".join(printed) or command == "next"


@on_sqlite
def test_what_a_person_quotes_is_not_even_recorded(ledger: Ledger, engine: RecordingEngine) -> None:
    """Entries go further than pages: to signals, to logs, and to programs that follow them."""
    run = doubted(ledger)
    (review,) = ledger.read(lambda connection: queries.list_reviews(connection, run.id))
    assign_review(review.id, "anna", actor="anna", reason="ask about ‘no courier’", engine=engine)
    act(run.id, Request(verb=Verb.CANCEL), engine=engine, actor="anna", reason="NO COURIER, the bank says so!")
    reasons = [entry.reason for entry in entries_of(run) if entry.actor == "anna"]
    assert f"ask about ‘{MASK}’" in reasons
    assert f"{MASK}, {MASK}!" in reasons
    assert found_in(iter(map(str, reasons))) == []


@on_sqlite
@pytest.mark.parametrize("scene", [scenes.retrying, doubted, rolled_back])
def test_a_secret_that_is_spelt_like_a_word_of_the_engine_breaks_nothing(
    ledger: Ledger, engine: RecordingEngine, scene: Callable[[Ledger], RecordedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pages are drawn, and what an entry means in the life of its run stays what it is."""
    words = [3600, "complete", "confirmation_missing", "builtins.OSError", "running", "book_courier"]
    secret_run = partial(RecordedRun, plan=secretive(ORDER_PLAN), input={"id": "order-1", "card": words})
    monkeypatch.setattr(scenes, "RecordedRun", secret_run)
    run = scene(ledger)
    assert all(documents(engine, run))
    entries = [(shown, true) for shown, true in zip(read_picture(ledger, run.id).entries, entries_of(run), strict=True)]
    for shown, true in entries:
        assert [told.name for told in read_lifecycle(shown)] == [told.name for told in read_lifecycle(true)]
    reasons = [shown.reason for shown, _ in entries if shown.event is Event.RUN_IN_REVIEW]
    assert reasons == (["confirmation_missing"] if scene is doubted else [])


@on_sqlite
def test_an_output_that_a_person_types_is_masked_and_handed_on(ledger: Ledger, engine: RecordingEngine) -> None:
    """The steps after it get it; no entry, preview or page shows it."""
    run = doubted(ledger)
    request = Request(verb=Verb.RESOLVE, decision=ReviewDecision.DONE, output={"van": "van_4711"})
    look = look_at(engine, run.id, request)
    acted = act(run.id, request, engine=engine, actor="anna", reason="they say it is van_4711")
    row = next(one for one in rows_of(run) if one.step == "book_courier")
    assert row.output == {"van": "van_4711"}
    shown = [*documents(engine, run), str(shape(mask_done(acted, look.view.plan, look.secrets))), str(entries_of(run))]
    assert [text for text in shown if "van_4711" in text] == []


@on_sqlite
def test_a_program_is_shown_no_more_of_what_it_has_done(ledger: Ledger, engine: RecordingEngine) -> None:
    """Neither in the answer nor when it is too late; and a refused request says nothing of it."""
    run = rolled_back(ledger)
    version = ask(engine, "GET", f"/runs/{run.id}/actions")[1]["version"]
    asked = {"reason": "no courier, timed out", "expecting": version}
    path = f"/runs/{run.id}/actions"
    told = [
        ask(engine, "POST", path, body={**asked, "verb": "pause"}),
        ask(engine, "POST", path, body={**asked, "verb": "rerun_compensation", "step": "charge_card"}),
        ask(engine, "POST", path, body={**asked, "verb": "resume"}),
    ]
    assert [status for status, _ in told] == [422, 200, 409]
    assert found_in(json.dumps(document, ensure_ascii=False) for _, document in told) == []


@on_sqlite
def test_a_refusal_shows_no_secret_that_it_quotes(ledger: Ledger, engine: RecordingEngine) -> None:
    """Also where it is what was asked for; the engine hides it, whoever asks."""
    run = doubted(ledger)
    version = ask(engine, "GET", f"/runs/{run.id}/actions")[1]["version"]
    body = {"verb": "rollback", "to_step": "no courier", "reason": "timed out", "expecting": version}
    status, told = ask(engine, "POST", f"/runs/{run.id}/actions", body=body)
    assert (status, told["error"]["code"]) == (422, "action_refused")
    assert f"no step '{MASK}'" in told["error"]["problem"]
    assert found_in(iter([json.dumps(told, ensure_ascii=False)])) == []
