"""Where the pages are in this Flower, whatever its prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backout.web.pieces import add_query


class FlowerPlaces:
    """The addresses of the tab's pages."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    def runs(self, query: Mapping[str, str]) -> str:
        """Return where the list of runs is."""
        return add_query(self._url("runs"), query.items())

    def run(self, run_id: str) -> str:
        """Return where a run's page is."""
        return self._url("run", run_id)

    def action(self, run_id: str) -> str:
        """Return where one acts on a run."""
        return self._url("action", run_id)

    def reviews(self, query: Mapping[str, str]) -> str:
        """Return where the list of open reviews is."""
        return add_query(self._url("reviews"), query.items())

    def review(self, review_id: int) -> str:
        """Return where a review's page is."""
        return self._url("review", str(review_id))

    def assignment(self, review_id: int) -> str:
        """Return where one takes a review."""
        return self._url("assignment", str(review_id))

    def pipelines(self, query: Mapping[str, str]) -> str:
        """Return where the figures of pipelines are."""
        return add_query(self._url("pipelines"), query.items())

    def task(self, task_id: str) -> str | None:
        """Return where Flower shows a task; `None` when it has forgotten it, or never heard of it."""
        if task_id not in self._handler.application.events.state.tasks:
            return None
        url: str = self._handler.reverse_url("task", task_id)
        return url

    def _url(self, name: str, *given: str) -> str:
        url: str = self._handler.reverse_url(name_route(name), *given)
        return url


def name_route(page: str) -> str:
    """Return the name of a page among Flower's own."""
    return f"backout_{page}"
