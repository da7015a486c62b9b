"""Reviews as JSON: those that are open, all that is known of one, and who looks after it."""

from __future__ import annotations

from backout.compensations.requests import Request, ReviewDecision, Verb
from backout.compensations.verbs import assign_review
from backout.errors import StateChanged
from backout.jsontext import JsonValue
from backout.ledger import queries, reading
from backout.ledger.records import ReviewRecord
from backout.ledger.session import LedgerConnection
from backout.views.look import look_at
from backout.views.masking import Masking
from backout.views.picture import RunPicture
from backout.views.shapes import shape, shape_review
from backout.views.story import tell_story
from backout.web.host import Permission
from backout.web.rest.actions import shape_look
from backout.web.rest.asking import Asked
from backout.web.rest.fields import AssignmentBody, ReviewsQuery
from backout.web.rest.problems import Code, Problem
from backout.web.rest.runs import ENTRIES_OF_STORY


def list_reviews(asked: Asked) -> JsonValue:
    """Return what a person must decide, oldest first."""
    query = asked.read_query(ReviewsQuery)
    assignee = {"mine": asked.viewer.name, "unassigned": ""}.get(query.assignee or "", query.assignee)

    def read(connection: LedgerConnection) -> JsonValue:
        found = reading.list_open_reviews(
            connection, assignee=assignee, after_id=query.after or 0, limit=query.limit + 1
        )
        runs = reading.find_runs(connection, {review.run_id for review in found})
        now = queries.read_clock(connection)
        shown = Masking().mask_reviews(connection, found[: query.limit])
        shaped = [shape_review(review, runs.get(review.run_id), now) for review in shown]
        next_after = found[query.limit - 1].id if len(found) > query.limit else None
        return {"reviews": [*shaped], "next_after": next_after, "now": shape(now)}

    return asked.engine.ledger.read(read)


def show_review(asked: Asked) -> JsonValue:
    """Return what is asked, all that is known, and what each decision would do."""
    review = asked.read_review()
    picture = asked.read_picture(review.run_id, last_entries=ENTRIES_OF_STORY)
    return {
        "review": shape_review(picture.masked(review), picture.run, picture.now),
        "summary": tell_story(picture),
        "run": shape(picture.run),
        "decisions": _shape_decisions(asked, picture, review),
    }


def assign(asked: Asked) -> JsonValue:
    """Say who looks after a review. Changes nothing else; what is so already stays so."""
    asked.require(Permission.ACT, "You may look, and not take reviews.")
    body = asked.read_body(AssignmentBody)
    review = asked.read_review()
    assignee = (body.assignee or asked.viewer.name).strip()
    before = body.from_assignee.strip() if body.from_assignee is not None else None
    document: JsonValue = {
        "review_id": review.id,
        "run_id": review.run_id,
        "assignee": assignee,
        "before": before,
    }
    if review.decision is None and review.assignee == assignee != before:
        # The second of two that are the same: what was asked for is so already.
        return document
    try:
        assign_review(
            review.id,
            assignee,
            actor=asked.viewer.name,
            reason=body.reason.strip(),
            from_assignee=before,
            engine=asked.engine,
        )
    except StateChanged as error:
        raise _tell_taken(asked, error) from None
    return document


def _shape_decisions(asked: Asked, picture: RunPicture, review: ReviewRecord) -> JsonValue:
    if picture.plan is None or review.decision is not None:
        return []
    requests = [Request(verb=Verb.RESOLVE, review_id=review.id, decision=decision) for decision in ReviewDecision]
    return [
        {
            "decision": shape(request.decision),
            **shape_look(look_at(asked.engine, picture.run.id, request), request, asked.viewer),
        }
        for request in requests
    ]


def _tell_taken(asked: Asked, error: StateChanged) -> Problem:
    return Problem(
        code=Code.STATE_CHANGED,
        problem=f"Somebody was faster: this was asked for of {error.expected}; it is now {error.found}.",
        remedy="Nothing was changed. To take it over from them, give them as `from_assignee`.",
        more={
            "run_id": error.run_id,
            "expected": error.expected,
            "found": error.found,
            "assignee": asked.read_review().assignee,
        },
    )
