"""The page of one run: what happened, what it waits for, what is safe to do next, and the whole record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from uuid import UUID

from backout.compensations.requests import RunView
from backout.errors import UnknownRun
from backout.identifiers import RunId
from backout.ledger.records import EntryRecord
from backout.pipelines.engine import Engine
from backout.states import RollbackOutcome
from backout.views.clock import Clock
from backout.views.contract_words import ContractWords, StepWords, split_code, tell_contract
from backout.views.entries import say_event, say_why
from backout.views.facts import say_took
from backout.views.graph import tell_graph
from backout.views.look import read_view
from backout.views.marks import RUN_MARKS
from backout.views.picture import RunPicture, read_picture
from backout.views.reviews import say_asked
from backout.views.story import tell_story
from backout.views.waiting import find_waits, say_wait
from backout.views.words import clean
from backout.web.actions import draw_actions
from backout.web.graph import draw_graph
from backout.web.host import Page, Permission, Places, Viewer
from backout.web.html import Child, Html, break_name, element, join
from backout.web.pieces import (
    disclose,
    draw_age,
    draw_facts,
    draw_ids,
    draw_json,
    draw_mark,
    draw_table,
    draw_time,
    make_page,
    notice,
    paragraphs,
    refuse_view,
    section,
    show_missing,
)
from backout.web.questions import draw_review_facts
from backout.web.timeline import MOST_LINES, draw_timeline

MOST_ENTRIES: Final = 500
NEWER_RELEASE: Final = "It is there, and a newer release has recorded something of it. Look at it with that release."
_ENTRY_HEADINGS: Final = ("When", "What", "Who", "Why")
_CONTRACT_HEADINGS: Final = ("Step", "Recovery action", "Attempts", "If it fails for good", "If it is cut off")


def draw_run(engine: Engine, run_id: str, *, places: Places, viewer: Viewer) -> Page:
    """Return the page of a run; one whose plan this release cannot read has its page too, without actions."""
    if not viewer.may(Permission.VIEW):
        return refuse_view()
    picture = find_picture(engine, run_id)
    if isinstance(picture, Page):
        return picture
    view = read_view(engine.ledger, picture.run.id) if picture.plan is not None else None
    parts = _draw_parts(picture, view, places=places, viewer=viewer)
    return make_page(f"Run of {clean(picture.run.pipeline)}", *parts, is_live=not picture.run.state.is_final)


def find_picture(engine: Engine, run_id: str) -> RunPicture | Page:
    """Return a run with the newest of its entries; a page when there is none of this id, or it cannot be read."""
    try:
        known_id = RunId(str(UUID(run_id)))
    except ValueError:
        return show_missing_run(run_id)
    try:
        return read_picture(engine.ledger, known_id, last_entries=MOST_ENTRIES)
    except UnknownRun:
        return show_missing_run(run_id)
    except ValueError:
        # An event or a state that this release does not know: while releases are mixed, a newer one has written it.
        return make_page("Not readable", notice("This release cannot read this run", NEWER_RELEASE), status=422)


def show_missing_run(run_id: str) -> Page:
    """Return what is shown for an id that no run has."""
    return show_missing(f"There is no run {run_id}", "It may have been removed, or its address is not complete.")


def draw_story(picture: RunPicture) -> Html:
    """Return the sentence about a run, in the tone of its state."""
    mark = RUN_MARKS[picture.run.state]
    return element("p", tell_story(picture), class_=f"story tone-{mark.tone.value}")


def _draw_parts(picture: RunPicture, view: RunView | None, *, places: Places, viewer: Viewer) -> Iterator[Child]:
    clock = Clock(now=picture.now)
    yield draw_story(picture)
    yield _draw_waits(picture, clock)
    yield _draw_facts(picture, clock)
    yield from _draw_question(picture, clock, places)
    yield section("What is safe to do next", draw_actions(picture, view, places=places, viewer=viewer))
    graph = tell_graph(picture)
    if graph is not None:
        yield section("Where it stands", draw_graph(graph))
    yield section("Timeline", draw_timeline(picture, clock, places))
    yield section("Entries", _draw_entries(picture))
    if picture.plan is not None:
        yield _draw_contract(tell_contract(picture.plan, ()))


def _draw_waits(picture: RunPicture, clock: Clock) -> list[Html]:
    """Return what nobody has taken up yet; a warning after a minute."""
    return [
        element("p", element("strong", say_wait(picture, wait, clock)), class_=f"wait tone-{wait.tone.value}")
        for wait in find_waits(picture)
    ]


def _draw_facts(picture: RunPicture, clock: Clock) -> Html:
    run = picture.run
    more = [f"rollback {run.rollback_outcome.value}"] if run.rollback_outcome is not RollbackOutcome.NONE else []
    more += ["needs a person"] if run.requires_human_review else []
    unreadable = (
        "It is recorded in a format that this release cannot read; a newer one can." if not picture.plan else ""
    )
    next_retry = f"next retry {clock.say_due(run.next_retry_at)}" if run.next_retry_at else ""
    return draw_facts(
        [
            ("State", draw_mark(RUN_MARKS[run.state], *more)),
            ("Operator state", element("code", break_name(run.operator_state))),
            ("Customer is told", element("q", picture.customer_message)),
            ("Subject", run.subject_id),
            ("Source event", run.source_event_id),
            ("External ids", draw_ids(run.external_ids.items())),
            ("Error", element("span", run.error_summary, class_="tone-error") if run.error_summary else None),
            ("Enqueued", [draw_time(run.created_at), ", ", draw_age(run.created_at, clock)]),
            ("Took", ", ".join(part for part in (say_took(run, clock), next_retry) if part)),
            ("Run", element("code", run.id)),
            ("Plan", unreadable),
            ("Input", disclose("Show what it was given", draw_json(run.input))),
            ("Output", disclose("Show what it returned", draw_json(run.output)) if run.output is not None else None),
        ]
    )


def _draw_question(picture: RunPicture, clock: Clock, places: Places) -> Iterator[Html]:
    """Yield each question that is open, oldest first."""
    for review in picture.reviews:
        if review.decision is None:
            link = element(
                "a", f"Look at review {review.id} and decide", href=places.review(review.id), class_="button"
            )
            yield element(
                "section",
                element("h2", f"A person must decide: {say_asked(review)}"),
                draw_review_facts(review, clock),
                element("p", link),
                class_="panel question",
            )


def _draw_entries(picture: RunPicture) -> list[Html]:
    shown = len(picture.entries)
    total = shown + picture.older_entries
    caption = (
        f"All {total:,}, newest last" if not picture.older_entries else f"The last {shown:,} of {total:,}, newest last"
    )
    rows = [_draw_entry(entry) for entry in picture.entries]
    table = draw_table(f"{caption}; times are UTC", _ENTRY_HEADINGS, rows, kind="entries")
    tracebacks = [
        disclose(
            f"Traceback of {clean(row.step)}, attempt {row.attempt}", element("pre", element("code", text), tabindex=0)
        )
        for row in picture.steps
        if (text := str((row.error or {}).get("traceback") or ""))
    ]
    return [table, *tracebacks]


def _draw_entry(entry: EntryRecord) -> Sequence[Child]:
    at = f"{entry.at:%Y-%m-%d %H:%M:%S}.{entry.at.microsecond // 1000:03d}"
    return (draw_time(entry.at, at), say_event(entry), break_name(entry.actor), say_why(entry))


def _draw_contract(words: ContractWords) -> Html:
    rows = [_draw_step(step) for step in words.steps[:MOST_LINES]]
    table = draw_table("What each step promises", _CONTRACT_HEADINGS, rows, is_told=True)
    is_cut = len(words.steps) > MOST_LINES
    left_out = f"The first {MOST_LINES:,} of {len(words.steps):,} steps." if is_cut else ""
    facts = element("ul", [element("li", draw_code(fact)) for fact in words.facts], class_="plain")
    digest = element("p", "Digest of the plan: ", element("code", words.digest), class_="soft")
    summary = f"What {words.pipeline} promises, as it was when this run began"
    return section("Contract", disclose(summary, facts, table, paragraphs([left_out]), digest))


def _draw_step(step: StepWords) -> Sequence[Child]:
    attempts, failure = step.row("attempts"), step.row("if_it_fails_for_good")
    doubt = step.row("if_it_is_cut_off")
    return (
        [element("span", break_name(step.name), class_="name"), element("div", step.effect.value, class_="soft")],
        draw_code(step.action),
        _with_undo(attempts.step, attempts.undo),
        _with_undo(failure.step, failure.undo),
        _with_undo(doubt.step, doubt.undo),
    )


def _with_undo(step: str, undo: str) -> list[Html]:
    return [
        element("div", draw_code(step)),
        *([element("div", "its undo: ", draw_code(undo), class_="soft")] if undo else []),
    ]


def draw_code(text: str) -> Html:
    """Return words of a contract, with what is a name in code marked as such."""
    return join(*(element("code", break_name(part)) if is_code else part for part, is_code in split_code(text)))
