"""The one place where text becomes HTML: every piece of it is escaped here, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from typing import Final, TypeAlias

from backout.views.words import clean_line

VOID: Final = frozenset({"br", "input", "wbr"})
"""Elements without an end."""
_ELEMENT: Final = re.compile(r"[a-z][a-z0-9]*")
_NEVER: Final = frozenset({"script", "style", "iframe", "object", "embed", "base", "link", "meta"})
"""What a page that makes its HTML from data has no need of."""


@dataclass(frozen=True, slots=True)
class Html:
    """A piece of HTML that may go into a page as it is: made by `element`, or given by the host as trusted."""

    markup: str


Child: TypeAlias = "Html | str | Iterable[Child] | None"
"""What can stand in an element: HTML, text (which is escaped), nothing, or several of these."""


def element(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Html:
    """Return an element. The text of a field, in `value` or a `textarea`, is escaped and otherwise left as it is.

    Args:
        name: of the element.
        children: what stands in it; text is escaped.
        attributes: `class_` and `for_` stand for what Python keeps for itself, other underscores for hyphens. True:
            the bare name; `None` or False: left out.

    Raises:
        ValueError: an element or attribute that could run or load something; a defect of the page, not of its data.
    """
    if not _ELEMENT.fullmatch(name) or name in _NEVER:
        raise ValueError(f"no page has an element {name!r}")
    start = f"<{name}{''.join(_write_attributes(attributes))}>"
    if name in VOID:
        return Html(start)
    # What somebody has typed comes back as it was: it is sent once more.
    content = "".join(escape(str(text), quote=True) for text in children) if name == "textarea" else None
    return Html(f"{start}{join(*children).markup if content is None else content}</{name}>")


def join(*children: Child) -> Html:
    """Return several pieces as one."""
    return Html("".join(_write(children)))


def escape_text(text: str) -> str:
    """Return text as HTML; what would steer whoever reads it (control and direction characters) shows as its code."""
    return escape("\n".join(map(clean_line, text.split("\n"))), quote=True)


def break_name(name: str) -> Html:
    """Return a name that may be long: lines may break after its underscores and dots."""
    return Html(re.sub(r"([_.:/-])", r"\1<wbr>", escape_text(name)) if len(name) > 12 else escape_text(name))


def _write(children: Iterable[Child]) -> Iterator[str]:
    for child in children:
        if isinstance(child, Html):
            yield child.markup
        elif isinstance(child, str):
            yield escape_text(child)
        elif child is not None:
            yield from _write(child)


def _write_attributes(attributes: dict[str, str | int | bool | None]) -> Iterator[str]:
    for given, value in attributes.items():
        name = given.rstrip("_").replace("_", "-")
        if name.startswith("on") or name == "style":
            raise ValueError(f"no page has an attribute {name!r}: sites forbid them, and they could run something")
        if value is True:
            yield f" {name}"
        elif value is not None and value is not False:
            written = escape(str(value), quote=True) if name == "value" else escape_text(str(value))
            yield f' {name}="{written}"'
