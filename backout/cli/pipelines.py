"""`backout pipelines`: throughput, how runs end, what is open and since when, and how long steps take."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click

from backout.cli.door import open_ledger
from backout.cli.output import json_option, make_clock, make_console, utc_option, write_json
from backout.cli.render.pipelines import draw_pipelines
from backout.cli.since import Since
from backout.states import RunState
from backout.views.shapes import shape
from backout.views.statistics import PipelineStatistics, Statistics, read_statistics


@click.command("pipelines")
@click.option(
    "--since",
    type=Since(),
    default="1d",
    show_default=True,
    metavar="WHEN",
    help="Of runs enqueued since then: 30m, 2h, 7d, or an instant.",
)
@utc_option
@json_option
@click.pass_context
def pipelines(ctx: click.Context, since: timedelta | datetime, utc: bool, as_json: bool) -> None:
    """Show how pipelines are doing. Changes nothing.

    With --json: {"since", "is_shortened", "now", "pipelines": [{"name", "enqueued", "finished", "shares": {state: 0 to
    1}, "runs": {state: number}, "open_runs", "reviews" or null, "steps", "sampled_runs"}], "has_more"}.
    """
    with open_ledger(ctx) as ledger:
        found = read_statistics(ledger, since)
    if as_json:
        write_json(_shape(found))
    else:
        make_console(ctx).print(draw_pipelines(found, make_clock(found.now, utc=utc)))


def _shape(found: Statistics) -> dict[str, Any]:
    return {**shape(found), "pipelines": [_shape_pipeline(one) for one in found.pipelines]}


def _shape_pipeline(one: PipelineStatistics) -> dict[str, Any]:
    shares = {state.value: one.share(state) for state in RunState if state.is_final and one.finished}
    return {**shape(one), "enqueued": one.enqueued, "finished": one.finished, "shares": shares}
