"""What a person is asked, as facts on a page."""

from __future__ import annotations

from backout.ledger.records import ReviewRecord
from backout.views.clock import Clock
from backout.views.facts import LONGEST_EVIDENCE, say_value
from backout.views.reviews import is_overdue
from backout.views.words import clean, clip
from backout.web.html import Child, Html, element
from backout.web.pieces import draw_age, draw_facts, draw_time


def draw_review_facts(review: ReviewRecord, clock: Clock, *, with_evidence: bool = True) -> Html:
    """Return since when it is asked, by when it should be decided, by whom, and what is known about it."""
    facts: list[tuple[str, Child]] = [
        ("Asked", [draw_time(review.opened_at), ", ", draw_age(review.opened_at, clock)]),
        ("Deadline", draw_deadline(review, clock)),
        ("Looked after by", review.assignee or "nobody"),
        ("Reason", element("code", review.reason.value)),
    ]
    if with_evidence:
        facts += [
            (clean(name).replace("_", " ").capitalize(), clip(say_value(value), LONGEST_EVIDENCE))
            for name, value in review.evidence.items()
            if value not in (None, "", [], {})
        ]
    return draw_facts(facts)


def draw_deadline(review: ReviewRecord, clock: Clock) -> list[Child]:
    """Return by when a review should be decided; nothing when there is no deadline."""
    if review.deadline_at is None:
        return []
    due = clock.say_due(review.deadline_at)
    if is_overdue(review, clock.now):
        return [draw_time(review.deadline_at), ", ", element("strong", f"! overdue, {due}", class_="tone-bad")]
    return [draw_time(review.deadline_at), f", {due}"]
