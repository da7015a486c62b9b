"""The list of what a person must decide, and the page of one review: evidence, dangers, and what each decision does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from backout.compensations.requests import Request, ReviewDecision, Verb
from backout.identifiers import RunId
from backout.ledger import queries, reading
from backout.ledger.records import ReviewRecord, RunRecord
from backout.ledger.session import LedgerConnection
from backout.pipelines.engine import Engine
from backout.views.clock import Clock
from backout.views.look import look_at
from backout.views.marks import RUN_MARKS
from backout.views.picture import RunPicture
from backout.views.reviews import MEANINGS, find_dangers, find_ids, say_asked, tell_evidence
from backout.views.words import shorten_ids
from backout.web.confirm import draw_confirm, draw_consequence
from backout.web.fields import draw_post_form, hide
from backout.web.host import Page, Permission, Places, Viewer
from backout.web.html import Child, Html, break_name, element
from backout.web.pieces import (
    disclose,
    draw_age,
    draw_facts,
    draw_ids,
    draw_mark,
    draw_table,
    draw_time,
    make_page,
    refuse_view,
    section,
    show_missing,
)
from backout.web.questions import draw_deadline, draw_review_facts
from backout.web.run_page import draw_story, find_picture
from backout.web.wording import DECISIONS, as_sentence

REVIEWS_OF_A_PAGE: Final = 50
_HEADINGS: Final = ("Review", "Asked", "Deadline", "Pipeline", "Run", "Looked after by")
_NO_BIGGER: Final = 2**63


def draw_reviews(engine: Engine, query: Mapping[str, str], *, places: Places, viewer: Viewer) -> Page:
    """Return the open reviews, oldest first.

    Args:
        engine: whose ledger it is.
        query: `assignee`: `mine` or `unassigned`; `after`: a review: only those opened after it.
        places: how the host addresses pages.
        viewer: who looks.
    """
    if not viewer.may(Permission.VIEW):
        return refuse_view()
    chosen = query.get("assignee", "")
    after = query.get("after", "")
    after_id = int(after) if after.isascii() and after.isdigit() and len(after) < 19 else 0
    assignee = {"mine": viewer.name, "unassigned": ""}.get(chosen)

    def read(connection: LedgerConnection) -> tuple[list[ReviewRecord], dict[RunId, RunRecord], Clock]:
        found = reading.list_open_reviews(connection, assignee=assignee, after_id=after_id, limit=REVIEWS_OF_A_PAGE + 1)
        runs = reading.find_runs(connection, {review.run_id for review in found})
        return found, runs, Clock(now=queries.read_clock(connection))

    found, runs, clock = engine.ledger.read(read)
    shown = found[:REVIEWS_OF_A_PAGE]
    narrow = {"assignee": chosen} if assignee is not None else {}
    older = element("a", "From the oldest", href=places.reviews(narrow)) if after_id else None
    newer = {**narrow, "after": str(shown[-1].id)} if len(found) > len(shown) else None
    more = element("a", "Later ones", href=places.reviews(newer), rel="next") if newer else None
    pages = element("nav", older, more, class_="pages", aria_label="More reviews") if older or more else None
    return make_page(
        "Reviews", _draw_filter(chosen, places), _draw_list(shown, runs, clock, places), pages, is_live=True
    )


def _draw_filter(chosen: str, places: Places) -> Html:
    choices = (("", "All open"), ("mine", "Mine"), ("unassigned", "Of nobody"))
    links = [
        element(
            "a",
            words,
            href=places.reviews({"assignee": value} if value else {}),
            aria_current="true" if value == chosen else None,
        )
        for value, words in choices
    ]
    items = [element("li", link) for link in links]
    return element("nav", element("ul", items, class_="counts"), aria_label="Whose reviews")


def _draw_list(reviews: list[ReviewRecord], runs: Mapping[RunId, RunRecord], clock: Clock, places: Places) -> Html:
    if not reviews:
        return element("p", "Nothing here waits for a person.")
    ids = shorten_ids([review.run_id for review in reviews])
    rows: list[tuple[Child, ...]] = []
    for review, short in zip(reviews, ids, strict=True):
        run = runs.get(review.run_id)
        rows.append(
            (
                element("a", f"{review.id}: {say_asked(review)}", href=places.review(review.id)),
                draw_age(review.opened_at, clock),
                draw_deadline(review, clock) or None,
                break_name(run.pipeline) if run is not None else None,
                element("a", element("code", short), href=places.run(review.run_id), title=review.run_id),
                review.assignee or "nobody",
            )
        )
    return draw_table("What a person must decide, oldest first", _HEADINGS, rows)


def draw_review(engine: Engine, review_id: int, *, places: Places, viewer: Viewer) -> Page:
    """Return the page of a review, open or decided."""
    return show_review(engine, review_id, places=places, viewer=viewer)


def show_review(
    engine: Engine, review_id: int, *notices: Html, places: Places, viewer: Viewer, status: int = 200
) -> Page:
    """Return the page of a review under messages about what was just asked for."""
    if not viewer.may(Permission.VIEW):
        return refuse_view()
    review = find_review(engine, review_id)
    if review is None:
        return show_missing(f"There is no review {review_id}", "The list of reviews shows those that are open.")
    picture = find_picture(engine, review.run_id)
    if isinstance(picture, Page):
        return picture
    review = picture.masked(review)
    body = _draw_parts(engine, picture, review, places=places, viewer=viewer)
    return make_page(f"Review {review.id}: {say_asked(review)}", notices, *body, status=status)


def find_review(engine: Engine, review_id: int) -> ReviewRecord | None:
    """Return a review; `None` when there is none of this number."""
    if not 0 < review_id < _NO_BIGGER:
        return None
    return engine.ledger.read(lambda connection: queries.find_review(connection, review_id))


def _draw_parts(
    engine: Engine, picture: RunPicture, review: ReviewRecord, *, places: Places, viewer: Viewer
) -> Iterator[Child]:
    clock = Clock(now=picture.now)
    is_open = review.decision is None
    yield draw_story(picture)
    facts = draw_review_facts(review, clock, with_evidence=False)
    yield element("div", facts, _draw_take(review, places, viewer), class_="panel question" if is_open else "panel")
    run = picture.run
    yield draw_facts(
        [
            ("State of the run", draw_mark(RUN_MARKS[run.state])),
            ("Operator state", element("code", break_name(run.operator_state))),
            ("Subject", run.subject_id),
            ("Run", element("a", element("code", run.id), href=places.run(run.id))),
        ]
    )
    yield from _draw_evidence(picture, review)
    if is_open:
        yield section("What you can decide", _draw_decisions(engine, picture, review, places=places, viewer=viewer))
    else:
        yield section("Decided", _draw_decided(review))
    words = "Something else can be done about it too: see the page of the run" if is_open else "See the page of the run"
    yield element("p", element("a", words, href=places.run(run.id)))


def _draw_evidence(picture: RunPicture, review: ReviewRecord) -> Iterator[Html]:
    # The sentence about the run stands at the top already.
    told = list(tell_evidence(picture, review))[1 if review.decision is None else 0 :]
    if told:
        yield section("What is known", element("ul", [element("li", one) for one in told], class_="plain"))
    ids = list(find_ids(picture, review))
    if ids:
        yield section("Where to look: ask the other system for", draw_ids(ids))
    dangers = find_dangers(picture)
    for title, steps in (
        ("Do not do by hand again without looking first", dangers.never),
        ("May be done again under the same idempotency key", dangers.freely),
    ):
        if steps:
            yield section(title, element("ul", [element("li", step) for step in steps], class_="plain"))


def _draw_take(review: ReviewRecord, places: Places, viewer: Viewer) -> Html | None:
    if review.decision is not None or not viewer.may(Permission.ACT) or review.assignee == viewer.name:
        return None
    words = f"Take it over from {review.assignee}" if review.assignee else "I look after it"
    kept = hide({"assignee": viewer.name, "from_assignee": review.assignee or ""})
    button = element("button", words, type="submit")
    return draw_post_form(places.assignment(review.id), viewer, kept, button, label=words)


def _draw_decisions(
    engine: Engine, picture: RunPicture, review: ReviewRecord, *, places: Places, viewer: Viewer
) -> list[Html]:
    if picture.plan is None:
        told = "This release cannot read the plan of the run, so nothing can be decided here. A newer release can."
        return [element("p", told)]
    drawn: list[Html] = []
    if not viewer.may(Permission.ACT):
        drawn.append(element("p", "You may look, and not decide: you lack that permission.", class_="soft"))
    for decision in ReviewDecision:
        request = Request(verb=Verb.RESOLVE, review_id=review.id, decision=decision)
        look = look_at(engine, picture.run.id, request)
        form = draw_confirm(look, request, None, places=places, viewer=viewer, owner=decision.value)
        drawn.append(
            element(
                "div",
                element("h3", DECISIONS[decision]),
                element("p", MEANINGS[decision]) if MEANINGS[decision] != f"{DECISIONS[decision]}." else None,
                draw_consequence(look, request),
                disclose(f"Decide: {DECISIONS[decision].lower()}", form) if form is not None else None,
                class_="panel",
            )
        )
    return drawn


def _draw_decided(review: ReviewRecord) -> list[Html]:
    known = {decision.value: words for decision, words in DECISIONS.items()}
    decision = review.decision or ""
    facts: list[tuple[str, Child]] = [
        ("Decision", known.get(decision, decision.replace("_", " "))),
        ("By", review.decided_by),
        ("At", draw_time(review.decided_at) if review.decided_at else None),
        ("Why", as_sentence(review.note) if review.note else None),
    ]
    return [draw_facts(facts)]
