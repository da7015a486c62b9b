"""The tab's pages: each asks who is there, hands over to the pages that hosts share, and frames what they return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tornado.web import authenticated, url

from backout.integrations.flower.door import REFRESH_SECONDS, Door
from backout.integrations.flower.files import FileHandler
from backout.integrations.flower.places import name_route
from backout.integrations.flower.work import ACT_SECONDS, READ_SECONDS, LedgerAway, do
from backout.web.acting import Acted, act_on_form, draw_preview, take_review
from backout.web.host import Page
from backout.web.pages import draw_pipelines, draw_review, draw_reviews, draw_run, draw_runs


class PageHandler(Door):
    """Answers with a page that is drawn in a thread."""

    async def draw(self, draw: Callable[..., Page], *given: Any) -> None:
        """Answer with what a function of `backout.web.pages` returns."""
        viewer, places = self.viewer(), self.places()
        try:
            page = await do(
                lambda: draw(self.engine(), *given, places=places, viewer=viewer), within_seconds=READ_SECONDS
            )
        except LedgerAway as away:
            page = self.say_away(away)
        self.show(page, why_not=self.why_not(), refresh_seconds=REFRESH_SECONDS if page.is_live else 0)

    async def change(self, change: Callable[..., Acted | Page], *given: Any) -> None:
        """Do what was asked for, and lead to the run's page; or show why it was not done."""
        viewer, places = self.viewer(), self.places()
        try:
            done = await do(
                lambda: change(self.engine(), *given, places=places, viewer=viewer), within_seconds=ACT_SECONDS
            )
        except LedgerAway as away:
            done = self.say_away(away)
        if isinstance(done, Page):
            self.show(done, why_not=self.why_not())
            return
        self.say(done.message)
        # See Other: the answer to a form that was sent is another page.
        self.redirect(places.run(done.run_id), status=303)

    def query(self) -> dict[str, str]:
        """Return the query, as typed; of a field that is there twice the last."""
        return {name: self.get_query_arguments(name, strip=False)[-1] for name in self.request.query_arguments}

    def form(self) -> dict[str, str]:
        """Return the fields that were sent, without Tornado's own."""
        names = [name for name in self.request.body_arguments if name != "_xsrf"]
        return {name: self.get_body_arguments(name, strip=False)[-1] for name in names}


class RunsHandler(PageHandler):
    """The list of runs."""

    @authenticated
    async def get(self) -> None:
        """Show it."""
        await self.draw(draw_runs, self.query())


class RunHandler(PageHandler):
    """The page of a run."""

    @authenticated
    async def get(self, run_id: str) -> None:
        """Show it."""
        await self.draw(draw_run, run_id)


class ActionHandler(PageHandler):
    """What would be done to a run, and doing it."""

    @authenticated
    async def get(self, run_id: str) -> None:
        """Show what would be done."""
        await self.draw(draw_preview, run_id, self.query())

    @authenticated
    async def post(self, run_id: str) -> None:
        """Do it."""
        await self.change(act_on_form, run_id, self.form())


class ReviewsHandler(PageHandler):
    """The list of what a person must decide."""

    @authenticated
    async def get(self) -> None:
        """Show it."""
        await self.draw(draw_reviews, self.query())


class ReviewHandler(PageHandler):
    """What a person must decide, with the evidence."""

    @authenticated
    async def get(self, review_id: str) -> None:
        """Show it."""
        await self.draw(draw_review, int(review_id))


class AssignmentHandler(PageHandler):
    """Taking a review."""

    @authenticated
    async def post(self, review_id: str) -> None:
        """Take it."""
        await self.change(take_review, int(review_id), self.form())


class PipelinesHandler(PageHandler):
    """How each pipeline is doing."""

    @authenticated
    async def get(self) -> None:
        """Show it."""
        await self.draw(draw_pipelines, self.query())


# By `url`, not as tuples: Flower forgets the rest of a tuple where it has a prefix.
PAGES: Final = [
    url(r"/runs", RunsHandler, name=name_route("runs")),
    url(r"/runs/([^/]+)", RunHandler, name=name_route("run")),
    url(r"/runs/([^/]+)/act", ActionHandler, name=name_route("action")),
    url(r"/reviews", ReviewsHandler, name=name_route("reviews")),
    url(r"/reviews/([0-9]{1,18})", ReviewHandler, name=name_route("review")),
    url(r"/reviews/([0-9]{1,18})/take", AssignmentHandler, name=name_route("assignment")),
    url(r"/pipelines", PipelinesHandler, name=name_route("pipelines")),
    url(r"/backout/(style\.css|script\.js)", FileHandler, name=name_route("file")),
]
