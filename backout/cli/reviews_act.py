"""`backout reviews resolve` and `assign`: decide what was asked, or say who looks after it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

import click

from backout.cli.acting import How, acting_options, actor_options, carry_out, wait_option
from backout.cli.completion import complete_reviews
from backout.cli.engine import FoundEngine, open_engine
from backout.cli.output import json_option, write_json
from backout.cli.reviews_look import read_review, resolving
from backout.compensations.requests import ReviewDecision
from backout.compensations.verbs import assign_review
from backout.errors import ActionRefused
from backout.jsontext import JsonValue
from backout.ledger.records import ReviewRecord
from backout.views.look import needs_output, read_view
from backout.views.words import clean

_DECISIONS: Final = [decision.value.replace("_", "-") for decision in ReviewDecision]

RESOLVE_HELP: Final = """Decide review ID.

\b
done      It has happened, or you did it by hand: record it so, and go on.
not-done  It has not happened: it may run again.
accept    Leave it as it is: the run is closed, or its rollback goes on without this undo.

`backout reviews show ID` tells what each of them would do.
"""


class JsonText(click.ParamType[JsonValue]):
    """JSON, or @FILE that holds some; @- is standard input."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> JsonValue:
        """Return the value; parsed at most once, so that a JSON text stays a text."""
        text = str(value)
        try:
            if text.startswith("@"):
                with click.open_file(text[1:], encoding="utf-8") as file:
                    text = file.read()
            found: JsonValue = json.loads(text)
        except OSError as error:
            self.fail(f"{text[1:]}: {error.strerror}", param, ctx)
        except ValueError as error:
            self.fail(f"that is no JSON: {error}. A text needs its quotes: '\"ch_881\"'.", param, ctx)
        return found


@click.command("resolve", help=RESOLVE_HELP, short_help="Decide review ID: done, not-done or accept.")
@click.argument("review_id", metavar="ID", type=int, shell_complete=complete_reviews)
@click.argument("decision", type=click.Choice(_DECISIONS))
@click.option(
    "--output",
    metavar="JSON|@FILE",
    type=JsonText(),
    default=None,
    help="With done: what the step would have returned; null if nothing.",
)
@wait_option
@acting_options
@click.pass_context
def resolve_command(ctx: click.Context, /, review_id: int, decision: str, output: JsonValue, **given: Any) -> None:
    """Decide a review: see `RESOLVE_HELP`."""
    how = How.of(given)
    request = replace(resolving(review_id, ReviewDecision(decision.replace("-", "_"))), output=output)
    is_given = ctx.get_parameter_source("output") is click.core.ParameterSource.COMMANDLINE
    if is_given and request.decision is not ReviewDecision.DONE:
        message = "--output goes with done only."
        raise click.UsageError(message)
    with open_engine(ctx) as found:
        review = read_review(found.ledger, review_id)
        if review.decision is not None:
            raise _refuse_decided(review)
        if not is_given and not how.is_preview and needs_output(read_view(found.ledger, review.run_id), request):
            message = (
                f"Say what {review.step} would have returned, because later steps and its undo are given it: "
                "--output JSON (or @FILE). If it returns nothing: --output null."
            )
            raise click.UsageError(message)
        carry_out(ctx, found, review.run_id, request, how)


@click.command("assign")
@click.argument("review_id", metavar="ID", type=int, shell_complete=complete_reviews)
@click.option("--to", "assignee", metavar="NAME", help="Who looks after it. [default: the actor]")
@click.option("--yes", "is_agreed", is_flag=True, help="Also when somebody else looks after it.")
@actor_options
@json_option
@click.pass_context
def assign_command(
    ctx: click.Context,
    /,
    review_id: int,
    assignee: str | None,
    is_agreed: bool,
    actor: str,
    reason: str | None,
    as_json: bool,
) -> None:
    """Say who looks after review ID, so that no two people work on it: you, or --to NAME. Changes nothing else.

    With --json: {"review_id", "run_id", "assignee", "before"}.
    """
    with open_engine(ctx) as found:
        review = read_review(found.ledger, review_id)
        wanted = assignee or actor
        _check_assignee(review, wanted, is_agreed=is_agreed)
        if review.assignee != wanted:
            _assign(found, review, wanted, actor=actor, reason=reason)
    if as_json:
        before = review.assignee
        write_json({"review_id": review_id, "run_id": review.run_id, "assignee": wanted, "before": before})
    else:
        click.echo(f"✓ {clean(wanted)} looks after review {review_id}.")


def _check_assignee(review: ReviewRecord, wanted: str, *, is_agreed: bool) -> None:
    if review.decision is not None:
        raise _refuse_decided(review, verb="assign_review")
    if review.assignee not in (None, wanted) and not is_agreed:
        raise ActionRefused(
            verb="assign_review",
            run_id=review.run_id,
            why=f"{review.assignee} looks after review {review.id}",
            remedy="Talk to them; to take it over all the same, add --yes.",
        )


def _assign(found: FoundEngine, review: ReviewRecord, assignee: str, *, actor: str, reason: str | None) -> None:
    why = reason or ("taken" if assignee == actor else "assigned")
    assign_review(review.id, assignee, actor=actor, reason=why, from_assignee=review.assignee, engine=found.engine)


def _refuse_decided(review: ReviewRecord, *, verb: str = "resolve") -> ActionRefused:
    at = f" at {review.decided_at:%Y-%m-%d %H:%M:%S} UTC" if review.decided_at else ""
    note = f" ({review.note})" if review.note else ""
    return ActionRefused(
        verb=verb,
        run_id=review.run_id,
        why=f"{review.decided_by or 'somebody'} has decided review {review.id}{at}: {review.decision}{note}",
        remedy="See what has become of the run: backout runs show.",
    )
