"""Shell completion of run ids, pipelines, steps and reviews; a ledger that cannot be asked completes nothing."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import CompletionItem

from backout.cli.door import open_ledger
from backout.ledger import queries
from backout.ledger.records import RunRecord
from backout.pipelines.contract import Plan
from backout.pipelines.registry import all_pipelines
from backout.views.picture import resolve_run

MOST_IDS: Final = 50


def complete_runs(ctx: click.Context, _option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the newest runs whose id starts as typed, with pipeline and state beside them."""
    runs = _newest_runs(ctx)
    return [
        CompletionItem(run.id, help=f"{run.pipeline}, {run.state.value.replace('_', ' ')}")
        for run in runs
        if run.id.startswith(incomplete.lower())
    ]


def complete_pipelines(ctx: click.Context, _option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return pipelines that this process has defined or that the newest runs name."""
    names = sorted({run.pipeline for run in _newest_runs(ctx)} | set(all_pipelines()))
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_steps(ctx: click.Context, _option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the steps of the run that is named, in their order; without a run those of all known pipelines."""
    # Behind an option that has no value yet, click has put no argument in its place.
    run = ctx.params.get("run") or next(iter(ctx.args), None)
    names = _steps_of(ctx, run)
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_reviews(ctx: click.Context, _option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the open reviews, oldest first, with what they are about beside them."""
    try:
        with open_ledger(ctx) as ledger:
            reviews = ledger.read(lambda connection: queries.list_reviews(connection, open_only=True))
    except Exception:
        return []
    return [
        CompletionItem(str(review.id), help=f"{review.step or 'the run'}, {review.reason.value.replace('_', ' ')}")
        for review in reviews[:MOST_IDS]
        if str(review.id).startswith(incomplete)
    ]


def _steps_of(ctx: click.Context, run: str | None) -> list[str]:
    if run is None:
        return sorted({step.name for pipeline in all_pipelines().values() for step in pipeline.plan.steps})
    try:
        with open_ledger(ctx) as ledger:
            run_id = resolve_run(ledger, run)
            stored = ledger.read(lambda connection: queries.load_plan(connection, run_id))
        return [step.name for step in Plan.from_json(stored).steps]
    except Exception:
        return []


def _newest_runs(ctx: click.Context) -> list[RunRecord]:
    try:
        with open_ledger(ctx) as ledger:
            return ledger.read(lambda connection: queries.list_runs(connection, limit=MOST_IDS))
    except Exception:
        # Whatever went wrong, the person is in the middle of a line: the command itself will say it.
        return []
