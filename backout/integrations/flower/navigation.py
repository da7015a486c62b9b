"""The tab in Flower's navigation: added to what Flower has drawn, so that none of its HTML is copied."""

from __future__ import annotations

import ast
import re
from typing import Any, Final
from uuid import UUID

from flower.views.tasks import TaskView
from tornado.escape import xhtml_escape
from tornado.web import OutputTransform, TemplateModule, UIModule

from backout.integrations.flower.places import name_route

NAVIGATION: Final = "navbar.html"
USE_OF_NAVIGATION: Final = f'Template("{NAVIGATION}"'
"""How Flower's frame asks for its navigation; where it does not, each page gets a link instead."""
_LIST: Final = re.compile(r"<ul\b.*?</ul>", re.DOTALL)
_CLASSES: Final = {tag: re.compile(rf'<{tag}\b[^>]*?\bclass="([^"]*)"') for tag in ("li", "a")}


class NavigationModule(TemplateModule):
    """Draws Flower's templates as Tornado does, and the tab into the one of its navigation."""

    def render(self, path: str, **named: Any) -> Any:
        """Return the template as HTML."""
        drawn: Any = super().render(path, **named)
        if path != NAVIGATION:
            return drawn
        markup = drawn.decode() if isinstance(drawn, bytes) else str(drawn)
        items = [("Runs", self.handler.reverse_url(name_route("runs")), named.get("active_tab") == "runs")]
        run_id = find_run_of_task(self.handler)
        if run_id is not None:
            items.append(("Run of this task", self.handler.reverse_url(name_route("run"), run_id), False))
        return add_items(markup, items)


def add_items(navigation: str, items: list[tuple[str, str, bool]]) -> str:
    """Return a navigation with more in its first list, which look like what is there; else with links below it.

    Args:
        navigation: HTML.
        items: words, address, and whether it is the page that is shown.
    """
    found = _LIST.search(navigation)
    if found is None:
        return navigation + "".join(draw_link(words, url) for words, url, _ in items)
    styles = {tag: _find_classes(found.group(), tag) for tag in ("li", "a")}
    drawn = "".join(_draw_item(words, url, styles, is_here=is_here) for words, url, is_here in items)
    end = found.end() - len("</ul>")
    return navigation[:end] + drawn + navigation[end:]


def draw_link(words: str, url: str) -> str:
    """Return a link that stands below everything, for a Flower whose navigation is not known."""
    return f'<p class="backout-way"><a href="{xhtml_escape(url)}">{xhtml_escape(words)}</a></p>'


def find_run_of_task(handler: Any) -> str | None:
    """Return the run to which the task of this page belongs; `None` on other pages, and for tasks that are no steps."""
    if not isinstance(handler, TaskView) or not handler.path_args:
        return None
    task = handler.application.events.state.tasks.get(handler.path_args[0])
    try:
        given = ast.literal_eval(getattr(task, "kwargs", None) or "")
        # The step's text for people: `backout.pipelines.message` writes it.
        return str(UUID(given["run"])) if {"run", "pipeline", "step"} <= given.keys() else None
    except (ValueError, SyntaxError, TypeError, AttributeError, KeyError, MemoryError, RecursionError):
        return None


class LinkTransform(OutputTransform):
    """Adds a link to each page of a Flower whose frame does not draw its navigation in a way that is known."""

    prefix = ""
    """Of Flower's addresses, as its option `url_prefix` gives it."""

    def __init__(self, request: Any) -> None:
        super().__init__(request)
        self._is_for_people = "/api/" not in request.path

    def transform_first_chunk(
        self, status_code: int, headers: Any, chunk: bytes, finishing: bool
    ) -> tuple[int, Any, bytes]:
        """Add it to a whole page of HTML; leave everything else as it is."""
        is_page = headers.get("Content-Type", "").startswith("text/html")
        if self._is_for_people and finishing and is_page and b"</body>" in chunk:
            prefix = self.prefix.strip("/")
            link = draw_link("Runs", f"/{prefix}/runs" if prefix else "/runs")
            chunk = chunk.replace(b"</body>", link.encode() + b"</body>", 1)
            if "Content-Length" in headers:
                headers["Content-Length"] = str(len(chunk))
        return status_code, headers, chunk


def add_modules(modules: Any, own: dict[str, type[UIModule]]) -> Any:
    """Return tornado's setting `ui_modules` with ours behind what somebody else has put there."""
    return own if not modules else [*(modules if isinstance(modules, list) else [modules]), own]


def _find_classes(markup: str, tag: str) -> str:
    found = _CLASSES[tag].search(markup)
    names = found.group(1).split() if found else []
    return " ".join(name for name in names if name != "active")


def _draw_item(words: str, url: str, styles: dict[str, str], *, is_here: bool) -> str:
    here = ' aria-current="page"' if is_here else ""
    kind = f"{styles['a']} active" if is_here else styles["a"]
    link = f'<a class="{kind}" href="{xhtml_escape(url)}"{here}>{xhtml_escape(words)}</a>'
    return f'<li class="{styles["li"]}">{link}</li>\n'
