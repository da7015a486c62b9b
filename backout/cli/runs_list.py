"""`backout runs list`: the newest runs, filtered, with the counts by state."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console

from backout.cli.completion import complete_pipelines, complete_runs
from backout.cli.door import open_ledger
from backout.cli.output import json_option, make_clock, make_console, utc_option, write_json
from backout.cli.render.runs import draw_counts, draw_runs
from backout.states import RunState
from backout.views.picture import resolve_run
from backout.views.runs import RunFilter, RunPage, read_runs
from backout.views.shapes import shape


@click.command("list")
@click.option("--pipeline", metavar="NAME", shell_complete=complete_pipelines, help="Only runs of this pipeline.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in RunState]),
    help="Only runs in this state; may be repeated.",
)
@click.option("--search", metavar="TEXT", help="Only where the id, source event, subject or an external id is TEXT.")
@click.option("--needs-person", is_flag=True, help="Only where a person must decide.")
@click.option("--limit", type=click.IntRange(1, 1000), default=25, show_default=True, help="The most to show.")
@click.option("--before", metavar="RUN", shell_complete=complete_runs, help="Only runs older than this one.")
@click.option("--full", is_flag=True, help="Show whole run ids.")
@utc_option
@json_option
@click.pass_context
def list_command(
    ctx: click.Context, /, states: tuple[str, ...], full: bool, utc: bool, as_json: bool, **given: Any
) -> None:
    """List runs, newest first.

    With --json: {"runs": [run…], "counts": {state: number}, "next_before": id or null}; counts are of all runs, or
    of the pipeline's.
    """
    with open_ledger(ctx) as ledger:
        before = resolve_run(ledger, given["before"]) if given["before"] else None
        wanted = RunFilter(
            pipeline=given["pipeline"],
            states=tuple(RunState(state) for state in states),
            text=given["search"],
            needs_person=given["needs_person"],
            before=before,
            limit=given["limit"],
        )
        listed = read_runs(ledger, wanted)
    if as_json:
        write_json(
            {
                "runs": shape(listed.runs),
                "counts": shape({state.value: count for state, count in listed.counts.items()}),
                "next_before": listed.runs[-1].id if listed.has_older else None,
            },
        )
    else:
        _print_runs(make_console(ctx), listed, wanted, with_full_ids=full, utc=utc)


def _print_runs(console: Console, listed: RunPage, wanted: RunFilter, *, with_full_ids: bool, utc: bool) -> None:
    if listed.runs:
        clock = make_clock(listed.now, utc=utc)
        console.print(draw_runs(listed.runs, clock, width=console.width, with_full_ids=with_full_ids))
    elif listed.counts and wanted.is_narrow:
        console.print("No run fits. Leave out an option, or look at all with `backout runs list`.")
    elif wanted.pipeline:
        console.print(f"The ledger has no run of a pipeline {wanted.pipeline!r}; `backout check` shows the pipelines.")
    else:
        console.print(
            "The ledger has no runs yet. Start one with `pipeline.enqueue(…)`, or watch some: `backout demo`."
        )
    if listed.counts:
        console.print(draw_counts(listed.counts))
    if listed.has_older:
        console.print(f"Older ones: --before {listed.runs[-1].id}")
