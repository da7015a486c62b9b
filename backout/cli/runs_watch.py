"""`backout runs watch`: follow a run until the engine does nothing more by itself, or all runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeAlias

import click
from rich.live import Live

from backout.cli.completion import complete_pipelines, complete_runs
from backout.cli.door import open_ledger
from backout.cli.exits import Exit
from backout.cli.output import json_option, make_clock, make_console, utc_option, write_json_line
from backout.cli.render.entries import write_entry
from backout.cli.render.page import draw_progress, draw_run
from backout.cli.runs_watch_all import follow_all
from backout.errors import WaitTimedOut
from backout.identifiers import RunId
from backout.ledger.records import EntryRecord
from backout.ledger.session import Ledger
from backout.states import RunState
from backout.views.picture import RunPicture, read_picture, resolve_run
from backout.views.shapes import shape
from backout.views.story import tell_story

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 2.0
PAUSE_GROWTH: Final = 1.5

Show: TypeAlias = Callable[[RunPicture, Sequence[EntryRecord]], None]


@click.command("watch")
@click.argument("run", required=False, shell_complete=complete_runs)
@click.option("--all", "watches_all", is_flag=True, help="Follow all runs, from now on, until you stop it.")
@click.option(
    "--after", type=click.IntRange(min=0), metavar="ID", help="With --all: begin after this entry; 0 is everything."
)
@click.option(
    "--pipeline", metavar="NAME", shell_complete=complete_pipelines, help="With --all: only runs of this pipeline."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Stop watching after this time; with --all, when nothing has happened for so long. [default: never]",
)
@utc_option
@json_option
@click.pass_context
def watch_command(
    ctx: click.Context,
    run: str | None,
    watches_all: bool,
    after: int | None,
    pipeline: str | None,
    timeout: float | None,
    utc: bool,
    as_json: bool,
) -> None:
    """Follow RUN (an id, or enough of its beginning) until it ends or waits for a person; or --all runs.

    On a terminal the picture is kept up to date; in a pipe each new entry is a line. The exit code says how it ended:
    0 succeeded, 1 rolled back, failed or cancelled, 5 a person is waited for, 4 --timeout was up.

    With --json: one line {"entry": entry} for each entry, and at the end {"summary": text, "run": run}. With --all
    the lines are {"entry": entry, "pipeline": name, "lifecycle": [name, …], "cursor": id}: give the last cursor as
    --after, and nothing is missed between two calls.
    """
    if (run is None) is not watches_all:
        raise click.UsageError("Give either a RUN or --all.")
    if not watches_all and (after is not None or pipeline is not None):
        raise click.UsageError("--after and --pipeline go with --all.")
    if run is None:
        follow_all(ctx, after_id=after, pipeline=pipeline, timeout_seconds=timeout, utc=utc, as_json=as_json)
        return
    try:
        with open_ledger(ctx) as ledger:
            run_id = resolve_run(ledger, run)
            if as_json:
                last = follow_run(ledger, run_id, _write_json_lines, timeout_seconds=timeout)
                write_json_line({"summary": tell_story(last), "run": shape(last.run)})
            elif sys.stdout.isatty():
                last = _show_live(ctx, ledger, run_id, timeout_seconds=timeout, utc=utc)
            else:
                last = follow_run(ledger, run_id, partial(_write_lines, utc=utc), timeout_seconds=timeout)
                click.echo(tell_story(last))
    except KeyboardInterrupt:
        click.echo("Stopped watching; the run goes on.", err=True)
        ctx.exit(Exit.INTERRUPTED)
    ctx.exit(exit_code_of(last.run.state))


def exit_code_of(state: RunState) -> Exit:
    """Return the exit code for the state in which a run settled."""
    if state is RunState.SUCCEEDED:
        return Exit.OK
    return Exit.PROBLEM if state.is_final else Exit.NEEDS_PERSON


def follow_run(ledger: Ledger, run_id: RunId, show: Show, *, timeout_seconds: float | None) -> RunPicture:
    """Look at a run again and again until it has settled; return how it then is.

    Args:
        ledger: where it is.
        run_id: the run.
        show: called at each look, with the entries that the looks before did not have.
        timeout_seconds: from now; `None` follows without limit.

    Raises:
        WaitTimedOut: the time is up; the run goes on.
        UnknownRun: the ledger has no such run.
    """
    ends_at = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    pause_seconds = FIRST_PAUSE_SECONDS
    # Known by their ids, not by the highest id: transactions of one moment may commit in another order.
    seen: set[int] = set()
    while True:
        picture = read_picture(ledger, run_id)
        new = [entry for entry in picture.entries if entry.id not in seen]
        seen.update(entry.id for entry in new)
        show(picture, new)
        if picture.run.state.is_settled:
            return picture
        left = None if ends_at is None else ends_at - time.monotonic()
        if left is not None and left <= 0:
            raise WaitTimedOut(run_id=run_id, timeout_seconds=timeout_seconds or 0.0, state=picture.run.state.value)
        pause_seconds = FIRST_PAUSE_SECONDS if new else min(pause_seconds * PAUSE_GROWTH, LONGEST_PAUSE_SECONDS)
        time.sleep(pause_seconds if left is None else min(pause_seconds, left))


def _write_json_lines(_picture: RunPicture, new: Sequence[EntryRecord]) -> None:
    for entry in new:
        write_json_line({"entry": shape(entry)})


def _write_lines(picture: RunPicture, new: Sequence[EntryRecord], *, utc: bool) -> None:
    for entry in new:
        click.echo(write_entry(entry, make_clock(picture.now, utc=utc)))


def _show_live(
    ctx: click.Context, ledger: Ledger, run_id: RunId, *, timeout_seconds: float | None, utc: bool
) -> RunPicture:
    console = make_console(ctx)
    # No thread that redraws between the looks: nothing would be new.
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def redraw(picture: RunPicture, _new: Sequence[EntryRecord]) -> None:
            live.update(draw_progress(picture, make_clock(picture.now, utc=utc)), refresh=True)

        last = follow_run(ledger, run_id, redraw, timeout_seconds=timeout_seconds)
    console.print(draw_run(last, make_clock(last.now, utc=utc)))
    return last
