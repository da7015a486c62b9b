"""What all handlers of the tab share: who is let in, what is refused, and how an answer is sent."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from flower.views import BaseHandler
from tornado.template import BaseLoader
from tornado.web import HTTPError

from backout.integrations.flower.choices import Choices
from backout.integrations.flower.frame import FrameLoader, Link, Tab, show
from backout.integrations.flower.guard import refuse_forged_form
from backout.integrations.flower.people import name_user, see_viewer
from backout.integrations.flower.places import FlowerPlaces, name_route
from backout.integrations.flower.work import LedgerAway
from backout.pipelines.engine import Engine
from backout.tasks.runtime import runtime_of
from backout.web.acting import say_after_outage
from backout.web.host import Page, Viewer
from backout.web.pieces import make_page, notice

REFRESH_SECONDS: Final = 5
LARGEST_BODY_BYTES: Final = 16 * 1024 * 1024
"""Of a request. An output that somebody types has a limit of its own, `backout_max_payload_bytes`."""
REFRESH_HEADER: Final = "X-Backout-Refresh"
"""Of the script's own requests."""
_SAID_COOKIE: Final = "backout_said"
_PAGES: Final = (("Runs", "runs"), ("Reviews", "reviews"), ("Pipelines", "pipelines"))
_CROSS_ORIGIN: Final = ("Access-Control-Allow-Origin", "Access-Control-Allow-Headers", "Access-Control-Allow-Methods")


class Door(BaseHandler):
    """Flower's own handler (its log-in, its prefix, its frame), stricter about requests that change something."""

    # Not OPTIONS: Flower would tell browsers that other sites may ask.
    SUPPORTED_METHODS = ("GET", "POST")

    def set_default_headers(self) -> None:
        """Let no other site read or frame a page, and nobody keep it."""
        super().set_default_headers()
        for name in _CROSS_ORIGIN:
            self.clear_header(name)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    def check_xsrf_cookie(self) -> None:
        """Take the place of Flower's check, which lets more through; `prepare` calls it in every release."""
        refuse_forged_form(self)

    def prepare(self) -> None:
        """Refuse what is not ours before anything is looked at."""
        super().prepare()
        if self.request.method == "POST":
            if len(self.request.body) > LARGEST_BODY_BYTES:
                raise HTTPError(413, "This is too much to be taken")
            self.check_xsrf_cookie()

    def engine(self) -> Engine:
        """Return the engine of Flower's Celery app.

        Raises:
            ConfigurationError: the app names no ledger.
        """
        return runtime_of(self.application.capp)

    def viewer(self) -> Viewer:
        """Return who looks."""
        return see_viewer(self)

    def places(self) -> FlowerPlaces:
        """Return how the pages are addressed."""
        return FlowerPlaces(self)

    def get_template_path(self) -> str:
        """Return a name under which Tornado keeps a loader for us, apart from Flower's."""
        return __name__

    def create_template_loader(self, template_path: str) -> BaseLoader:
        """Return a loader that knows our templates and Flower's."""
        return FrameLoader(self.application.settings["template_path"])

    def why_not(self) -> str:
        """Return why who looks may not act; empty when they may."""
        return Choices.of(self.application.options).say_why_not(name_user(self))

    def show(self, page: Page, *, why_not: str = "", refresh_seconds: int = 0) -> None:
        """Answer with a page."""
        self.set_status(page.status)
        said = b""
        # What a page asks for by itself is not what somebody will read the message on.
        if REFRESH_HEADER not in self.request.headers:
            said = self.get_secure_cookie(_SAID_COOKIE) or b""
        if said:
            self.clear_cookie(_SAID_COOKIE)
        tab = Tab(
            title=page.title,
            body=page.body,
            links=[self._link(words, name) for words, name in _PAGES],
            said=said.decode(),
            why_not=why_not,
            refresh_seconds=refresh_seconds,
            flower_url=self.reverse_url("main"),
        )
        show(self, tab)

    def say(self, message: str) -> None:
        """Keep a sentence for the next page that this browser is shown."""
        # Bytes as they are: a cookie has room for about 4,000.
        self.set_secure_cookie(
            _SAID_COOKIE, message.encode()[:2000].decode(errors="ignore"), expires_days=None, httponly=True
        )

    def write_error(self, status_code: int, **about: Any) -> None:
        """Answer with what went wrong, as a page of ours; Flower itself asks for a password (401)."""
        if status_code == HTTPStatus.UNAUTHORIZED:
            super().write_error(status_code, **about)
            return
        if not hasattr(self, "_current_user"):
            # Who is there was not asked yet, and asking may be what went wrong.
            self.current_user = None
        self.show(self.tell(status_code, (about.get("exc_info") or (None, None))[1]))

    def tell(self, status_code: int, error: BaseException | None) -> Page:
        """Return a page about an error; it says nothing of the inside."""
        title = HTTPStatus(status_code).phrase if status_code in list(HTTPStatus) else "Something went wrong"
        if not isinstance(error, HTTPError):
            told = "What went wrong is in Flower's log."
        elif error.log_message:
            told = f"Nothing was changed. {error.log_message}"
        elif status_code == HTTPStatus.FORBIDDEN:
            # Tornado says no more to a form of somebody whose session has ended.
            told = "Nothing was changed. Log in again in another tab, then go back here and send the form once more."
        else:
            told = "Nothing was changed."
        return make_page(title, notice(title, told), status=status_code)

    def say_away(self, away: LedgerAway) -> Page:
        """Return a page for when the ledger cannot be used."""
        again = say_after_outage(self.request.method or "")
        return make_page("Not now", notice("The runs cannot be shown just now", str(away), again), status=503)

    def _link(self, words: str, name: str) -> Link:
        url = self.reverse_url(name_route(name))
        return Link(words=words, url=url, is_here=self.request.path == url)
