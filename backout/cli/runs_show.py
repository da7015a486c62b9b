"""`backout runs show`: the picture of one run."""

from __future__ import annotations

import io
from typing import IO, Final

import click
from rich.console import Console, RenderableType

from backout.cli.completion import complete_runs
from backout.cli.door import open_ledger, say_start
from backout.cli.output import json_option, make_clock, make_console, utc_option, write_json
from backout.cli.render.next_actions import print_actions
from backout.cli.render.page import draw_run
from backout.cli.render.svg import SVG_FORMAT
from backout.views.look import list_actions, read_view
from backout.views.picture import read_picture, resolve_run
from backout.views.shapes import shape_picture
from backout.views.words import shorten_ids

SVG_WIDTH: Final = 100


@click.command("show")
@click.argument("run", shell_complete=complete_runs)
@click.option("--entries", is_flag=True, help="Also every entry, with time, actor and reason, and tracebacks.")
@click.option(
    "--svg", type=click.File("w", encoding="utf-8", lazy=True), metavar="FILE", help="Write the picture there."
)
@utc_option
@json_option
@click.pass_context
def show_command(ctx: click.Context, run: str, entries: bool, svg: IO[str] | None, utc: bool, as_json: bool) -> None:
    """Show what happened to RUN (an id, or enough of its beginning), what it waits for, and what you can do about it.

    With --json: {"summary", "customer_message", "run", "plan", "steps", "reviews", "now"} and, with --entries,
    "entries".
    """
    with open_ledger(ctx) as ledger:
        picture = read_picture(ledger, resolve_run(ledger, run))
        # What can be done follows from the plan; one that this release cannot read still has its picture.
        view = read_view(ledger, picture.run.id) if picture.plan is not None else None
    clock = make_clock(picture.now, utc=utc)
    if as_json:
        write_json(shape_picture(picture, with_entries=entries))
    if svg is not None:
        title = f"backout runs show {shorten_ids([picture.run.id])[0]}"
        svg.write(export_svg(draw_run(picture, clock, with_entries=entries), title=title))
    if svg is None and not as_json:
        console = make_console(ctx)
        console.print(draw_run(picture, clock, with_entries=entries))
        if view is not None:
            console.print()
            print_actions(console, view, list_actions(view), start=say_start(ctx), is_short=True)
        if not picture.run.state.is_settled:
            console.print(f"  follow it: {say_start(ctx)} runs watch {picture.run.id}", style="dim", soft_wrap=True)


def export_svg(picture: RenderableType, *, title: str) -> str:
    """Return a picture as SVG that loads nothing from anywhere."""
    console = Console(
        record=True, width=SVG_WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor", highlight=False
    )
    console.print(picture)
    return console.export_svg(title=title, code_format=SVG_FORMAT, unique_id="backout")
