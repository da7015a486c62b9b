"""What pages are put together from: marks, times, facts, tables, notes, JSON, and the frame around all of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

from backout.jsontext import JsonValue
from backout.views.clock import Clock
from backout.views.marks import Mark
from backout.views.notes import Note
from backout.views.words import say_seconds
from backout.web.host import Page
from backout.web.html import Child, Html, element, join

LONGEST_JSON: Final = 20_000
"""Characters of a recorded value that a page shows."""
NOTHING: Final = "–"


def make_page(title: str, *children: Child, status: int = 200, is_live: bool = False) -> Page:
    """Return a page with the class under which the style sheet works."""
    body = element("div", *children, class_="backout").markup
    return Page(title=title, body=body, status=status, is_live=is_live)


def refuse_view() -> Page:
    """Return what somebody sees who may see nothing."""
    told = "You are not permitted to see the runs of this application. Ask whoever gives permissions here."
    return make_page("Not permitted", notice("Not permitted", told), status=403)


def show_missing(what: str, remedy: str) -> Page:
    """Return what is shown where there is nothing of that name."""
    return make_page("Not found", notice(what, remedy), status=404)


def notice(title: str, *told: Child, is_urgent: bool = True) -> Html:
    """Return a message about what the person has just asked for; screen readers say it at once."""
    kind = "notice urgent" if is_urgent else "notice"
    return element("div", element("p", element("strong", title)), paragraphs(told), class_=kind, role="alert")


def paragraphs(told: Iterable[Child]) -> list[Html]:
    """Return each as a paragraph; what is empty is left out."""
    return [one if _is_block(one) else element("p", one) for one in told if one]  # type: ignore[misc]


def _is_block(child: Child) -> bool:
    return isinstance(child, Html) and child.markup.startswith(("<p", "<ul", "<ol", "<dl", "<div"))


def section(title: str, *children: Child, kind: str | None = None) -> Html:
    """Return a part of a page under its heading."""
    return element("section", element("h2", title), *children, class_=kind)


def disclose(summary: Child, *children: Child, is_open: bool = False) -> Html:
    """Return what is shown only when it is asked for."""
    return element("details", element("summary", summary), *children, open=is_open)


def draw_mark(mark: Mark, *more: str) -> Html:
    """Return sign and word of a state; the sign is for the eye only."""
    sign = element("span", mark.sign, aria_hidden="true", class_="sign")
    word = ", ".join([mark.word, *more])
    return element("span", sign, " ", word, class_=f"mark tone-{mark.tone.value}")


def draw_note(note: Note) -> Html:
    """Return a note, its parts in their tones."""
    return join(*(element("span", text, class_=f"tone-{tone.value}") for text, tone in note.parts if text))


def draw_time(instant: datetime, words: str | None = None) -> Html:
    """Return an instant; in words of its own, the exact one shows under the pointer."""
    exact = f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    stamp = instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return element("time", words or exact, datetime=stamp, title=exact if words else None)


def draw_age(instant: datetime, clock: Clock) -> Html:
    """Return how long ago an instant is."""
    seconds = clock.seconds_since(instant)
    return draw_time(instant, f"{say_seconds(seconds, units=1)} ago" if seconds >= 1 else "just now")


def draw_facts(facts: Iterable[tuple[str, Child]]) -> Html:
    """Return names and values; those without a value are left out."""
    rows = [element("div", element("dt", name), element("dd", value)) for name, value in facts if value]
    return element("dl", rows, class_="facts")


def draw_ids(ids: Iterable[tuple[str, str]]) -> list[Html]:
    """Return what other systems call things."""
    listed = [element("li", f"{name} ", element("code", value)) for name, value in ids]
    return [element("ul", listed, class_="ids")] if listed else []


def draw_json(value: JsonValue) -> Html:
    """Return a recorded value as indented JSON, its end left out where it is very long."""
    text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    more = len(text) - LONGEST_JSON
    shown = element("pre", element("code", text[:LONGEST_JSON]), tabindex=0)
    return join(shown, element("p", f"{more:,} more characters are not shown.", class_="soft")) if more > 0 else shown


def draw_table(
    caption: str, headings: Sequence[str], rows: Iterable[Sequence[Child]], *, kind: str = "", is_told: bool = False
) -> Html:
    """Return a table, which on a phone becomes a list of cards; its roles stay what they are.

    Args:
        caption: what it lists.
        headings: of its columns.
        rows: cells; the first of each is its heading.
        kind: a class of its own.
        is_told: the heading above says what it lists; the caption is for screen readers only.
    """
    head = element("tr", [element("th", name, scope="col", role="columnheader") for name in headings], role="row")
    body = [_draw_row(headings, cells) for cells in rows]
    return element(
        "table",
        element("caption", caption, class_="unseen" if is_told else None),
        element("thead", head, role="rowgroup"),
        element("tbody", body, role="rowgroup"),
        role="table",
        class_=f"cards {kind}".strip(),
    )


def _draw_row(headings: Sequence[str], cells: Sequence[Child]) -> Html:
    first, *others = cells
    row = [element("th", first, scope="row", role="rowheader")]
    for heading, cell in zip(headings[1:], others, strict=True):
        # An empty cell takes no line of a card.
        kind = None if cell else "empty"
        label = element("span", heading, class_="label", aria_hidden="true")
        row.append(element("td", label, element("span", cell or "", class_="value"), role="cell", class_=kind))
    return element("tr", row, role="row")


def add_query(url: str, fields: Iterable[tuple[str, str]]) -> str:
    """Return a URL with more in its query."""
    query = urlencode([(name, value) for name, value in fields if value])
    return f"{url}{'&' if '?' in url else '?'}{query}" if query else url
