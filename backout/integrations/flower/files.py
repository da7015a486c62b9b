"""The tab's style sheet and script, which browsers keep."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from tornado.web import RequestHandler, UIModule

from backout.integrations.flower.places import name_route
from backout.integrations.flower.script import SCRIPT
from backout.web.style import STYLE, follow_theme

NAME: Final = "BackoutFiles"
KEPT_SECONDS: Final = 365 * 24 * 60 * 60
# Flower says by this attribute of the root when it is dark; releases without themes are always light.
_STYLE: Final = (
    STYLE
    + follow_theme("data-bs-theme")
    + """
.backout-tab { max-width: 80rem; margin: 1rem auto; padding: 0 1rem; }
.backout-tab > nav { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; margin: 0 0 .75rem; }
.backout-tab > nav a { padding: .25rem 0; color: inherit; text-decoration: none; border-bottom: 2px solid transparent; }
.backout-tab > nav a:hover { text-decoration: underline; }
.backout-tab > nav a[aria-current] { border-bottom-color: currentColor; font-weight: 600; }
.backout-tab > nav a:focus-visible { outline: 3px solid currentColor; outline-offset: 2px; }
.backout-tab h1 { margin: 0 0 .75rem; font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere; }
.backout-tab > .said, .backout-tab > .why-not {
  margin: 0 0 .75rem; padding: .75rem 1rem; border-left: .3rem solid #1f6d33; background: #e6f2e8; color: #1c2330;
}
.backout-tab > .why-not { border-color: #855300; background: #fff4de; }
.backout-tab .refreshing { display: flex; gap: .75rem; align-items: center; justify-content: flex-end; margin: 0; }
.backout-tab .refreshing { min-height: 2rem; font-size: .875rem; }
.backout-tab .refreshing button { padding: .1rem .6rem; border: 1px solid currentColor; border-radius: .3rem; }
.backout-tab .refreshing button { background: none; color: inherit; font: inherit; cursor: pointer; }
/* Flower's page is the ground; and its Bootstrap has other ideas of two of our names. */
.backout-tab .backout { max-width: none; padding: 0; background: none; }
.backout-tab .backout .mark { padding: 0; background: none; }
.backout-tab .backout .row { margin: 0; }
.backout-tab .backout .row > * { flex: none; width: auto; margin-top: 0; }
.backout-way { margin: .5rem 1rem; }
@media (max-width: 45rem) {
  .backout-tab { padding: 0 .25rem; }
  .backout-tab > nav, .backout-tab h1 { margin-inline: .5rem; }
}
"""
)
_FILES: Final = {
    "style.css": ("text/css; charset=utf-8", _STYLE),
    "script.js": ("text/javascript; charset=utf-8", SCRIPT),
}
_VERSIONS: Final = {name: hashlib.sha256(text.encode()).hexdigest()[:12] for name, (_, text) in _FILES.items()}


class FileHandler(RequestHandler):
    """Serves them to anybody: they say nothing about runs."""

    SUPPORTED_METHODS = ("GET",)

    def get(self, name: str) -> None:
        """Answer with a file."""
        kind, text = _FILES[name]
        self.set_header("Content-Type", kind)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", f"public, max-age={KEPT_SECONDS}, immutable")
        self.write(text)


class FilesModule(UIModule):
    """Puts them into the head and the end of a page, whatever Flower's frame looks like."""

    def render(self, *_: Any, **__: Any) -> str:
        """Return nothing: only the files are wanted."""
        return ""

    def css_files(self) -> list[str]:
        """Return the address of the style sheet."""
        return [self._url("style.css")]

    def javascript_files(self) -> list[str]:
        """Return the address of the script."""
        return [self._url("script.js")]

    def _url(self, name: str) -> str:
        return f"{self.handler.reverse_url(name_route('file'), name)}?v={_VERSIONS[name]}"
