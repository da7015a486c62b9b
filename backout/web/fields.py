"""Forms and their fields, each with its label, its hint and its problem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from backout.web.host import Viewer
from backout.web.html import Child, Html, element


def draw_get_form(url: str, *fields: Child, kind: str, label: str, role: str | None = None) -> Html:
    """Return a form whose fields become the query of a URL."""
    parts = urlsplit(url)
    # A browser drops the query of the address of such a form.
    kept = hide(dict(parse_qsl(parts.query)))
    bare = urlunsplit(parts._replace(query=""))
    return element("form", kept, *fields, method="get", action=bare, class_=kind, aria_label=label, role=role)


def draw_post_form(url: str, viewer: Viewer, *fields: Child, label: str) -> Html:
    """Return a form that changes something, with the host's field against forged requests."""
    return element("form", Html(viewer.hidden_field), *fields, method="post", action=url, aria_label=label)


def hide(values: Mapping[str, str | None]) -> list[Html]:
    """Return values that the form carries without showing them; absent ones are left out."""
    return [
        element("input", type="hidden", name=name, value=value) for name, value in values.items() if value is not None
    ]


def draw_text_area(
    name: str,
    label: str,
    *,
    value: str = "",
    hint: str = "",
    problem: str = "",
    longest: int | None = None,
    kind: str | None = None,
    is_required: bool = True,
    owner: str = "",
) -> Html:
    """Return a field for some lines of text.

    Args:
        name: of the field.
        label: what it is for.
        value: what was typed before.
        hint: what to type.
        problem: why what was typed cannot be used.
        longest: characters that it takes.
        kind: a class of its own.
        is_required: it cannot be left empty.
        owner: what tells it from fields of the same name in other forms of the page.
    """
    described = _describe(name, owner, hint, problem)
    area = element(
        "textarea",
        # The first line break behind the tag is not part of the text.
        f"\n{value}",
        id=_identify(name, owner),
        name=name,
        rows=3,
        maxlength=longest,
        required=is_required,
        aria_describedby=described,
        aria_invalid="true" if problem else None,
        class_=kind,
    )
    return _frame(name, label, area, hint=hint, problem=problem, owner=owner)


def draw_select(
    name: str, label: str, options: Iterable[tuple[str, str]], *, chosen: str, hint: str = "", problem: str = ""
) -> Html:
    """Return a field for one of several values."""
    select = element(
        "select",
        draw_options(options, chosen=chosen),
        id=_identify(name, ""),
        name=name,
        aria_describedby=_describe(name, "", hint, problem),
        aria_invalid="true" if problem else None,
    )
    return _frame(name, label, select, hint=hint, problem=problem, owner="")


def draw_options(options: Iterable[tuple[str, str]], *, chosen: str) -> list[Html]:
    """Return the values of a field, each with its words."""
    return [element("option", words, value=value, selected=value == chosen) for value, words in options]


def _identify(name: str, owner: str) -> str:
    return f"b-{owner}{'-' if owner else ''}{name}"


def _describe(name: str, owner: str, hint: str, problem: str) -> str | None:
    own = _identify(name, owner)
    return " ".join([*([f"{own}-problem"] if problem else []), *([f"{own}-hint"] if hint else [])]) or None


def _frame(name: str, label: str, control: Html, *, hint: str, problem: str, owner: str) -> Html:
    own = _identify(name, owner)
    return element(
        "div",
        element("label", label, for_=own),
        element("p", hint, id=f"{own}-hint", class_="hint") if hint else None,
        control,
        element("p", problem, id=f"{own}-problem", class_="problem") if problem else None,
        class_="field",
    )


def is_storable(text: str) -> bool:
    """Return whether a database takes a text: half of a pair and the character zero are in no one's words."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
