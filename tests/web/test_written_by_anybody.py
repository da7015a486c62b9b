"""Whatever anybody has written, in names, errors, reasons and forms: it stays text on every page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backout.compensations.actions import act
from backout.compensations.requests import Request, Verb
from backout.identifiers import new_run_id
from backout.ledger import queries
from backout.ledger.session import Ledger
from backout.states import RunState
from backout.web.acting import act_on_form, draw_preview
from backout.web.fields import is_storable
from backout.web.host import Page
from backout.web.pages import draw_review, draw_reviews, draw_run, draw_runs
from tests.support.ledgers import set_run
from tests.support.pages import PLACES, read, viewer
from tests.support.recorder import RecordingEngine
from tests.support.runs import ORDER_PLAN, RecordedRun
from tests.support.scenes import doubted

WITH: Final[dict[str, Any]] = {"places": PLACES, "viewer": viewer()}
ON_BOTH: Final = pytest.mark.parametrize("ledger", ["postgresql", "sqlite"], indirect=True)
ON_ONE: Final = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
NASTY: Final = '</td><script>alert(\'1\')</script>" onclick="x" `rollback` \u202e\x1b[2J'
DRAWN: Final = frozenset({"g", "line", "rect", "text"})
"""How many of them a picture of the timeline has is a matter of time, not of what is written."""


def written_by_anybody(ledger: Ledger, text: str) -> RecordedRun:
    """Return a run that waits for a person, and in which whatever can be written is this text."""
    name = f"book {text}"
    steps = tuple(replace(one, name=name) if one.name == "book_courier" else one for one in ORDER_PLAN.steps)
    steps = tuple(replace(one, recovery_reason=text) if not one.compensation else one for one in steps)
    steps = tuple(
        replace(one, compensation=replace(one.compensation, action=text)) if one.compensation else one for one in steps
    )
    messages = dict.fromkeys((state.value for state in RunState), text)
    plan = replace(ORDER_PLAN, pipeline=text, steps=steps, customer_messages=messages)
    run = RecordedRun(ledger=ledger, plan=plan, subject=text, source_event=f"{text} {new_run_id()}")
    run.succeed("check_address", "reserve_stock", ids={text: text})
    run.retry("charge_card", text)
    return run


def pages_about(engine: RecordingEngine, run: RecordedRun) -> Iterator[Page]:
    yield draw_run(engine, run.id, **WITH)
    yield draw_runs(engine, {}, **WITH)
    yield draw_reviews(engine, {}, **WITH)
    for review in run.ledger.read(lambda connection: queries.list_reviews(connection, run.id)):
        yield draw_review(engine, review.id, **WITH)
    for verb in ("rollback", "pause", "cancel", "retry_step", "resume"):
        yield draw_preview(engine, run.id, {"verb": verb}, **WITH)


@ON_BOTH
def test_text_of_attackers_stays_text_on_every_page(ledger: Ledger, engine: RecordingEngine) -> None:
    """In names, ids, errors, reasons, actors, evidence, input, output and what was typed into a form."""
    run = written_by_anybody(ledger, NASTY)
    asking = doubted(ledger)
    review = ledger.read(lambda connection: queries.list_reviews(connection, asking.id))[-1]
    nasty = viewer(name=NASTY)
    act(run.id, Request(verb=Verb.PAUSE), engine=engine, actor=NASTY, reason=NASTY)
    set_run(ledger, asking.id, operator_state=NASTY, error_summary=NASTY, input={NASTY: NASTY}, output=[NASTY])
    pages = [*pages_about(engine, run), *pages_about(engine, asking)]
    pages += [draw_runs(engine, dict.fromkeys(("pipeline", "text", "since", "before", "state"), NASTY), **WITH)]
    form = dict.fromkeys(("step", "to_step", "across_irreversible", "output", "reason", "expecting"), NASTY)
    for verb in (*Verb, NASTY):
        asked = {**form, "verb": verb, "review_id": str(review.id), "decision": "done"}
        answer = act_on_form(engine, asking.id, asked, places=PLACES, viewer=nasty)
        assert isinstance(answer, Page), answer
        pages.append(answer)
    for page in pages:
        read(page)
        assert "<script" not in page.body
        # In a field it is what somebody has typed, which must come back as it was.
        shown = re.sub(r'value="[^"]*"|<textarea.*?</textarea>', "", page.body, flags=re.DOTALL)
        assert not re.search("[\u202e\x1b\x00]", shown)
    assert sum("&lt;script&gt;" in page.body for page in pages) > len(pages) // 2


@ON_ONE
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(min_size=1, max_size=60).filter(lambda text: bool(text.strip()) and is_storable(text)))
def test_any_text_leaves_the_pages_as_they_are_built(ledger: Ledger, engine: RecordingEngine, text: str) -> None:
    """Elements and attributes are the same, whatever is written; only places to break a name come and go."""
    skeletons = []
    for one in (text, "plain"):
        run = written_by_anybody(ledger, one)
        act(run.id, Request(verb=Verb.PAUSE), engine=engine, actor=one, reason=one)
        page = draw_run(engine, run.id, **WITH)
        shown = read(page)
        skeletons.append([(tag, name) for tag, name, _ in shown.attributes if tag not in DRAWN])
    assert skeletons[0] == skeletons[1]
