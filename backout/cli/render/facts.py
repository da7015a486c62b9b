"""What a run is, as a list of names and values: states, subject, ids, errors, and what a person is asked."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from backout.cli.render.tones import draw_mark
from backout.ledger.records import ReviewRecord, RunRecord
from backout.states import RollbackOutcome
from backout.views.clock import Clock
from backout.views.facts import LONGEST_EVIDENCE, say_took, say_value
from backout.views.marks import RUN_MARKS
from backout.views.picture import RunPicture
from backout.views.story import REVIEW_WORDS
from backout.views.words import clean, clip


def draw_facts(picture: RunPicture, clock: Clock) -> Table:
    """Return the facts of a run; those that it does not have are left out."""
    run = picture.run
    facts: list[tuple[str, Text]] = [
        ("run", Text(run.id)),
        ("state", _say_state(run)),
        ("operator state", Text(clean(run.operator_state))),
        ("customer is told", Text(clean(picture.customer_message))),
        ("subject", Text(clean(run.subject_id or ""))),
        ("source event", Text(clean(run.source_event_id or ""))),
        ("created", Text(f"{clock.say_instant(run.created_at)}, {clock.say_age(run.created_at)}")),
        ("took", Text(say_took(run, clock))),
        ("external ids", _say_ids(run)),
        ("error", Text(clip(run.error_summary or "", 600), style="red")),
        ("next retry", Text(clock.say_due(run.next_retry_at) if run.next_retry_at else "")),
    ]
    if picture.plan is None:
        facts.append(("plan", Text("recorded in a format that this release cannot read", style="yellow")))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for name, value in facts:
        if value.plain:
            grid.add_row(f"  {name}", value)
    return grid


def draw_review(review: ReviewRecord, clock: Clock) -> RenderableType:
    """Return what a person is asked: why, about which step, with all that is known."""
    about = f"{'undoing ' if review.direction == 'compensation' else ''}{clean(review.step)}: " if review.step else ""
    asked = Text.assemble((f"{about}{REVIEW_WORDS[review.reason]}", "bold"), f" ({review.reason.value})")
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    grid.add_row("asked", clock.say_age(review.opened_at))
    if review.deadline_at is not None:
        due = clock.say_due(review.deadline_at)
        grid.add_row("deadline", f"{clock.say_instant(review.deadline_at)}, {due}")
    if review.assignee:
        grid.add_row("assignee", Text(clean(review.assignee)))
    for name, value in review.evidence.items():
        grid.add_row(Text(clean(name).replace("_", " ")), Text(_say_evidence(value)))
    return Panel(
        Group(asked, grid),
        title=f"! a person must decide (review {review.id})",
        title_align="left",
        border_style="magenta",
    )


def _say_state(run: RunRecord) -> Text:
    state = draw_mark(RUN_MARKS[run.state])
    if run.rollback_outcome is not RollbackOutcome.NONE:
        state.append(f", rollback {run.rollback_outcome.value}", style="default")
    if run.requires_human_review:
        state.append(", needs a person", style="bold magenta")
    return state


def _say_ids(run: RunRecord) -> Text:
    parts = [Text.assemble(f"{clean(name)} ", (clean(value), "cyan")) for name, value in run.external_ids.items()]
    return Text(", ").join(parts)


def _say_evidence(value: object) -> str:
    return clip(say_value(value), LONGEST_EVIDENCE)
