"""What pages and the framework around them know of each other: addresses, who looks, and what is handed back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Places(Protocol):
    """How a host addresses pages; each returns a URL (path and query), not yet escaped."""

    def runs(self, query: Mapping[str, str]) -> str:
        """Return where the list of runs is, with this query."""

    def run(self, run_id: str) -> str:
        """Return where a run's page is."""

    def action(self, run_id: str) -> str:
        """Return where one acts on a run: GET with the form's fields in the query is the preview, POST does it."""

    def reviews(self, query: Mapping[str, str]) -> str:
        """Return where the list of open reviews is, with this query."""

    def review(self, review_id: int) -> str:
        """Return where a review's page is."""

    def pipelines(self, query: Mapping[str, str]) -> str:
        """Return where the numbers of the pipelines are, with this query."""

    def assignment(self, review_id: int) -> str:
        """Return where one takes a review: POST only, with `assignee`, `from_assignee` and `reason`."""

    def task(self, task_id: str) -> str | None:
        """Return where the host shows a Celery task; `None`: it has no such page, or does not know that task."""


class Permission(StrEnum):
    """What somebody may do."""

    VIEW = "view"
    ACT = "act"
    ACROSS_IRREVERSIBLE = "across_irreversible"
    """Undo the others although a step that cannot be undone stays (R7)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who looks.

    Attributes:
        name: the actor that entries keep, such as `django:alice`; 1 to 200 characters.
        permissions: each by itself; one that may act but not view is shown nothing.
        hidden_field: the host's field against forged requests, as trusted HTML; it is put into each form that posts.
    """

    name: str
    permissions: frozenset[Permission]
    hidden_field: str

    def may(self, permission: Permission) -> bool:
        """Return whether they may do something."""
        return permission in self.permissions


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page, for the host to frame.

    Attributes:
        title: plain text, not escaped; the host shows it as the page's first heading, headings in `body` are second.
        body: HTML inside one `<div class="backout">`.
        status: of the HTTP response: 403 not permitted, 404 no such run or review, 409 it has changed meanwhile, 422
            refused, or a field that cannot be used.
        is_live: what it shows may change by itself, and nobody is filling in a form: a host may show it anew.
    """

    title: str
    body: str
    status: int = 200
    is_live: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """It was done: the host shows the message and redirects to the run's page.

    Attributes:
        message: plain text, not escaped: what was done, and how it goes on.
    """

    run_id: str
    message: str
