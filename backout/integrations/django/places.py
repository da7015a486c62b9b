"""Where the pages of runs and reviews are in an admin site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from django.urls import reverse

_FILTERS: Final[Mapping[str, tuple[str, str | None]]] = {
    "pipeline": ("pipeline", None),
    "state": ("state__exact", None),
    "needs_person": ("requires_human_review__exact", "1"),
    "text": ("q", None),
}
"""Filter of the pages to that of the admin's list, and its value where it is another."""


@dataclass(frozen=True, slots=True)
class AdminPlaces:
    """The addresses of one admin site.

    Attributes:
        site: its name.
        has_lists: the lists are the admin's own; else they are pages as well.
    """

    site: str
    has_lists: bool

    def runs(self, query: Mapping[str, str]) -> str:
        """Return where the list of runs is."""
        url = self._reverse("run_changelist")
        if not self.has_lists:
            return _with_query(url, query)
        known = {name: _FILTERS[name] for name in query if name in _FILTERS}
        return _with_query(url, {to: value or query[name] for name, (to, value) in known.items()})

    def run(self, run_id: str) -> str:
        """Return where a run's page is."""
        return self._reverse("run_change", run_id)

    def action(self, run_id: str) -> str:
        """Return where one acts on a run."""
        return self._reverse("run_act", run_id)

    def reviews(self, query: Mapping[str, str]) -> str:
        """Return where the list of reviews is."""
        return _with_query(self._reverse("review_changelist"), {} if self.has_lists else query)

    def review(self, review_id: int) -> str:
        """Return where a review's page is."""
        return self._reverse("review_change", review_id)

    def pipelines(self, query: Mapping[str, str]) -> str:
        """Return where the numbers of the pipelines are."""
        return _with_query(self._reverse("run_pipelines"), query)

    def assignment(self, review_id: int) -> str:
        """Return where one takes a review."""
        return self._reverse("review_take", review_id)

    def task(self, task_id: str) -> str | None:
        """Return `None`: the admin has no pages of Celery tasks."""
        return None

    def style(self, version: str) -> str:
        """Return where the style sheet is; another version has another address."""
        return _with_query(self._reverse("run_style"), {"v": version})

    def _reverse(self, name: str, *arguments: object) -> str:
        return str(reverse(f"admin:backout_{name}", args=arguments, current_app=self.site))


def _with_query(url: str, query: Mapping[str, str]) -> str:
    return f"{url}?{urlencode(query)}" if query else url
