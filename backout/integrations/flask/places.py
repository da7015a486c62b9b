"""Where the pages are in this Flask app, whatever its prefixes."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from flask import url_for


class FlaskPlaces:
    """The addresses of one blueprint's pages, as seen from one of them."""

    def runs(self, query: Mapping[str, str]) -> str:
        """Return where the list of runs is."""
        return _with_query(url_for(".runs"), query)

    def run(self, run_id: str) -> str:
        """Return where a run's page is."""
        return url_for(".run", run_id=run_id)

    def action(self, run_id: str) -> str:
        """Return where one acts on a run."""
        return url_for(".preview", run_id=run_id)

    def reviews(self, query: Mapping[str, str]) -> str:
        """Return where the list of open reviews is."""
        return _with_query(url_for(".reviews"), query)

    def review(self, review_id: int) -> str:
        """Return where a review's page is."""
        return url_for(".review", review_id=review_id)

    def pipelines(self, query: Mapping[str, str]) -> str:
        """Return where the numbers of the pipelines are."""
        return _with_query(url_for(".pipelines"), query)

    def assignment(self, review_id: int) -> str:
        """Return where one takes a review."""
        return url_for(".take", review_id=review_id)

    def task(self, task_id: str) -> str | None:
        """Return `None`: the app has no pages of Celery tasks."""
        return None


def _with_query(url: str, query: Mapping[str, str]) -> str:
    # Not as arguments of `url_for`, some of which have a meaning of their own.
    return f"{url}?{urlencode(query)}" if query else url
