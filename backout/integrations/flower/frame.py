"""A page of ours inside Flower's own frame; in a plain one where a release of Flower has no place for it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from tornado.template import BaseLoader, Loader, Template

logger = logging.getLogger(__name__)

_OURS: Final = Path(__file__).with_name("templates")
_BLOCKS: Final = ("{% block navbar %}", "{% block container %}")
"""What Flower's frame must have; tornado drops without a word what is meant for a block that is not there."""
PAGE: Final = "backout_page.html"
PLAIN: Final = "backout_plain.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A way to one of the tab's pages."""

    words: str
    url: str
    is_here: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tab:
    """What stands around a page.

    Attributes:
        body: HTML that is safe as it is.
        said: what has just been done; empty: nothing.
        why_not: why this person may look and not act; empty: they may.
        refresh_seconds: how often the page shows anew what may have changed; 0: never.
        flower_url: of Flower's first page.
    """

    title: str
    body: str
    links: Sequence[Link]
    said: str
    why_not: str
    refresh_seconds: int
    flower_url: str


class FrameLoader(BaseLoader):
    """Finds our templates, which begin with `backout_`, and behind them Flower's."""

    def __init__(self, flower_templates: str, **named: Any) -> None:
        super().__init__(**named)
        self._flowers = Loader(flower_templates, **named)

    def resolve_path(self, name: str, parent_path: str | None = None) -> str:
        """Return the name itself: neither we nor Flower have folders of templates."""
        return name

    def _create_template(self, name: str) -> Template:
        if name.startswith("backout_"):
            text = (_OURS / name.removeprefix("backout_")).read_text(encoding="utf-8")
            return Template(text, name=name, loader=self)
        # By this loader, so that Flower's own templates find ours through it.
        template: Template = self._flowers._create_template(name)
        return template


def fits_flower(flower_templates: str) -> bool:
    """Return whether Flower's frame has the places into which a page of ours is put."""
    return all(block in read_frame(flower_templates) for block in _BLOCKS)


@cache
def read_frame(flower_templates: str) -> str:
    """Return the template of Flower's frame; empty where there is none."""
    try:
        return (Path(flower_templates) / "base.html").read_text(encoding="utf-8")
    except OSError:
        return ""


def show(handler: Any, tab: Tab) -> None:
    """Write a page as the answer to a request."""
    if fits_flower(handler.application.settings["template_path"]):
        try:
            handler.render(PAGE, tab=tab)
        except Exception:
            logger.warning("backout: Flower's frame cannot be used; the page is shown in a plain one", exc_info=True)
        else:
            return
    handler.render(PLAIN, tab=tab)
