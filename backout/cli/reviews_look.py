"""`backout reviews list` and `show`: what a person must decide, oldest first, and all that is known about one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from backout.cli.completion import complete_reviews
from backout.cli.door import open_ledger, say_start
from backout.cli.engine import open_engine
from backout.cli.exits import UnknownReview
from backout.cli.output import json_option, make_clock, make_console, utc_option, write_json
from backout.cli.render.reviews import draw_reviews, print_review
from backout.cli.shapes import shape_preview
from backout.compensations.requests import Request, ReviewDecision, Verb
from backout.identifiers import RunId
from backout.ledger import queries
from backout.ledger.records import ReviewRecord, RunRecord
from backout.ledger.session import Ledger, LedgerConnection
from backout.views.look import Look, look_at
from backout.views.masking import Masking
from backout.views.picture import RunPicture, read_picture
from backout.views.reviews import is_overdue
from backout.views.shapes import shape, shape_review
from backout.views.story import tell_story


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Reviews, oldest first, and the runs that they are about."""

    reviews: list[ReviewRecord]
    runs: Mapping[RunId, RunRecord]
    more: int
    now: datetime


@click.command("list")
@click.option("--all", "with_decided", is_flag=True, help="Also those that are decided.")
@click.option("--overdue", is_flag=True, help="Only those whose deadline has passed.")
@click.option("--assignee", metavar="NAME", help="Only those that NAME looks after; '' for those of nobody.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="The most to show.")
@utc_option
@json_option
@click.pass_context
def list_command(
    ctx: click.Context,
    with_decided: bool,
    overdue: bool,
    assignee: str | None,
    limit: int,
    utc: bool,
    as_json: bool,
) -> None:
    """List what a person must decide, oldest first.

    With --json: {"reviews": [review, with "asked" in words, "pipeline", "subject_id", "run_state", "age_seconds",
    "is_overdue"], "more": number, "now"}.
    """

    def fits(review: ReviewRecord, now: datetime) -> bool:
        return (not overdue or is_overdue(review, now)) and (assignee is None or (review.assignee or "") == assignee)

    def read(connection: LedgerConnection) -> Listed:
        now = queries.read_clock(connection)
        found = [one for one in queries.list_reviews(connection, open_only=not with_decided) if fits(one, now)]
        shown = found[:limit]
        runs = [queries.find_run(connection, run_id) for run_id in dict.fromkeys(one.run_id for one in shown)]
        known = {run.id: run for run in runs if run is not None}
        return Listed(
            reviews=Masking().mask_reviews(connection, shown), runs=known, more=len(found) - len(shown), now=now
        )

    with open_ledger(ctx) as ledger:
        listed = ledger.read(read)
    if as_json:
        shaped = [shape_review(review, listed.runs.get(review.run_id), listed.now) for review in listed.reviews]
        write_json({"reviews": shaped, "more": listed.more, "now": shape(listed.now)})
        return
    console = make_console(ctx)
    if not listed.reviews:
        console.print("Nothing waits for a person." if not (overdue or assignee or with_decided) else "No review fits.")
        return
    console.print(draw_reviews(listed.reviews, listed.runs, make_clock(listed.now, utc=utc)))
    if listed.more:
        console.print(f"… and {listed.more:,} more: --limit")
    console.print(f"All about one, and what you can decide: {say_start(ctx)} reviews show ID", soft_wrap=True)


@click.command("show")
@click.argument("review_id", metavar="ID", type=int, shell_complete=complete_reviews)
@utc_option
@json_option
@click.pass_context
def show_command(ctx: click.Context, review_id: int, utc: bool, as_json: bool) -> None:
    """Show what is asked in review ID, all that is known, and what each decision would do. Changes nothing.

    With --json: {"review", "summary", "run", "decisions": [preview of done, not_done, accept]}; a preview is as that of
    `reviews resolve --preview --json`.
    """
    with open_engine(ctx) as found:
        review = read_review(found.ledger, review_id)
        picture = read_picture(found.ledger, review.run_id)
        review = picture.masked(review)
        requests = [resolving(review_id, decision) for decision in ReviewDecision if review.decision is None]
        looks = [(request, look_at(found.engine, review.run_id, request)) for request in requests]
    if as_json:
        write_json(_shape_all(picture, review, looks, start=say_start(ctx)))
        return
    print_review(
        make_console(ctx), picture, review, looks, clock=make_clock(picture.now, utc=utc), start=say_start(ctx)
    )


def resolving(review_id: int, decision: ReviewDecision) -> Request:
    """Return the request to decide a review."""
    return Request(verb=Verb.RESOLVE, review_id=review_id, decision=decision)


def read_review(ledger: Ledger, review_id: int) -> ReviewRecord:
    """Read a review.

    Raises:
        UnknownReview: the ledger has no such review.
    """
    review = ledger.read(lambda connection: queries.find_review(connection, review_id))
    if review is None:
        raise UnknownReview(review_id=review_id)
    return review


def _shape_all(
    picture: RunPicture, review: ReviewRecord, looks: list[tuple[Request, Look]], *, start: str
) -> dict[str, Any]:
    return {
        "review": shape_review(review, picture.run, picture.now),
        "summary": tell_story(picture),
        "run": shape(picture.run),
        "decisions": [
            {"decision": request.decision and request.decision.value, **shape_preview(look, request, start=start)}
            for request, look in looks
        ],
    }
