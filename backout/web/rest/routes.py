"""The paths of the JSON API, each with what it takes, what it answers, and who answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from backout.jsontext import JsonValue
from backout.web.rest.actions import act_on_run, list_next, preview_action
from backout.web.rest.asking import Asked
from backout.web.rest.fields import (
    ActionBody,
    AssignmentBody,
    Body,
    PreviewQuery,
    Query,
    ReviewsQuery,
    RunQuery,
    RunsQuery,
)
from backout.web.rest.problems import Code
from backout.web.rest.reviews import assign, list_reviews, show_review
from backout.web.rest.runs import list_runs, show_run

DOCUMENT_PATH: Final = "/backout/openapi.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What can be asked for next with what an answer holds; expressions are those of OpenAPI.

    Attributes:
        to: the operation.
        places: name in its path to expression.
        body: expression of what its body holds; `None`: that is for whoever asks to say.
    """

    to: str
    places: Mapping[str, str]
    body: JsonValue = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One thing that can be asked for.

    Attributes:
        path: a pattern; names in braces stand for one part each.
        name: of the operation, for programs that are generated from the document.
        summary: what it is for.
        answer: of a schema, see `schemas.SCHEMAS`.
        answerer: reads what is asked for, and answers.
        query: what the query may hold.
        body: what the body may hold; `None`: it has none.
        refusals: what may be wrong besides what may be wrong with each.
        links: what an answer leads to.
    """

    method: str
    path: str
    name: str
    summary: str
    answer: str
    answerer: Callable[[Asked], JsonValue]
    query: type[Query] = Query
    body: type[Body] | None = None
    refusals: tuple[Code, ...] = ()
    links: tuple[Link, ...] = ()


_SAME_RUN: Final = {"run_id": "$request.path.run_id"}
_FIRST_RUN: Final = {"run_id": "$response.body#/runs/0/id"}
_FIRST_REVIEW: Final = {"review_id": "$response.body#/reviews/0/id"}

ROUTES: Final = (
    Route(
        method="GET",
        path="/runs",
        name="list_runs",
        summary="List runs, newest first.",
        answer="Runs",
        answerer=list_runs,
        query=RunsQuery,
        links=tuple(Link(to=name, places=_FIRST_RUN) for name in ("show_run", "list_next_actions", "preview_action")),
    ),
    Route(
        method="GET",
        path="/runs/{run_id}",
        name="show_run",
        summary="Show all that is known of a run.",
        answer="Picture",
        answerer=show_run,
        query=RunQuery,
        refusals=(Code.UNKNOWN_RUN, Code.PLAN_UNREADABLE),
    ),
    Route(
        method="GET",
        path="/runs/{run_id}/actions",
        name="list_next_actions",
        summary="List what can be done about a run now: what is safe, what only you can know, what is not possible.",
        answer="Actions",
        answerer=list_next,
        refusals=(Code.UNKNOWN_RUN, Code.PLAN_UNREADABLE),
        links=(Link(to="act_on_run", places=_SAME_RUN, body={"expecting": "$response.body#/version"}),),
    ),
    Route(
        method="POST",
        path="/runs/{run_id}/actions",
        name="act_on_run",
        summary="Do something about a run, if it is still what that was decided on.",
        answer="Done",
        answerer=act_on_run,
        body=ActionBody,
        refusals=(
            Code.UNKNOWN_RUN,
            Code.PLAN_UNREADABLE,
            Code.ACTION_REFUSED,
            Code.STATE_CHANGED,
            Code.EXPECTING_MISSING,
        ),
    ),
    Route(
        method="GET",
        path="/runs/{run_id}/preview",
        name="preview_action",
        summary="Show what an action would do. Changes nothing.",
        answer="Preview",
        answerer=preview_action,
        query=PreviewQuery,
        refusals=(Code.UNKNOWN_RUN, Code.PLAN_UNREADABLE, Code.INVALID_JSON),
        links=(Link(to="act_on_run", places=_SAME_RUN, body="$response.body#/request/body"),),
    ),
    Route(
        method="GET",
        path="/reviews",
        name="list_reviews",
        summary="List what a person must decide, oldest first.",
        answer="Reviews",
        answerer=list_reviews,
        query=ReviewsQuery,
        links=tuple(Link(to=name, places=_FIRST_REVIEW) for name in ("show_review", "assign_review")),
    ),
    Route(
        method="GET",
        path="/reviews/{review_id}",
        name="show_review",
        summary="Show what is asked, what is known, and what each decision would do.",
        answer="ReviewPicture",
        answerer=show_review,
        refusals=(Code.UNKNOWN_REVIEW, Code.PLAN_UNREADABLE),
        links=(
            Link(
                to="act_on_run",
                places={"run_id": "$response.body#/review/run_id"},
                body="$response.body#/decisions/0/request/body",
            ),
        ),
    ),
    Route(
        method="POST",
        path="/reviews/{review_id}/assignment",
        name="assign_review",
        summary="Say who looks after a review. Changes nothing else.",
        answer="Assignment",
        answerer=assign,
        body=AssignmentBody,
        refusals=(Code.UNKNOWN_REVIEW, Code.ACTION_REFUSED, Code.STATE_CHANGED),
    ),
)
"""All of them; a new one is a line here, its answerer, and its schema."""
PATHS: Final = (*dict.fromkeys(route.path for route in ROUTES), DOCUMENT_PATH)
"""The patterns of all paths, for a host to serve exactly these."""


def match(pattern: str, path: str) -> Mapping[str, str] | None:
    """Return what stands in a path for the names of a pattern; `None`: it is another path."""
    wanted, given = pattern.split("/"), path.split("/")
    if len(wanted) != len(given):
        return None
    pairs = list(zip(wanted, given, strict=True))
    places = {name[1:-1]: part for name, part in pairs if name.startswith("{")}
    is_same = all(part == name for name, part in pairs if not name.startswith("{"))
    return places if is_same and all(places.values()) else None


def find_methods(path: str) -> tuple[str, ...]:
    """Return the methods that a path takes; none: there is nothing at it."""
    if path == DOCUMENT_PATH:
        return ("GET",)
    return tuple(route.method for route in ROUTES if match(route.path, path) is not None)
