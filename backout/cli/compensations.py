"""`backout compensations`: what undoes the steps of a run; list it, or run one of them again."""

from __future__ import annotations

from typing import Any

import click

from backout.cli.acting import How, act_on_run, acting_options, run_argument
from backout.cli.completion import complete_steps
from backout.cli.door import say_start
from backout.cli.engine import open_engine
from backout.cli.output import json_option, make_clock, make_console, utc_option, write_json
from backout.cli.render.previews import draw_look
from backout.cli.render.timeline import draw_rollback
from backout.cli.shapes import shape_preview
from backout.compensations.requests import Request, Verb
from backout.states import Direction
from backout.views.look import look_at
from backout.views.picture import read_picture, resolve_run
from backout.views.shapes import shape


@click.group("compensations")
def compensations() -> None:
    """What undoes the steps of a run: look (list), and run one again (rerun)."""


@compensations.command("list")
@run_argument
@utc_option
@json_option
@click.pass_context
def list_command(ctx: click.Context, run: str, utc: bool, as_json: bool) -> None:
    """Show what undoes RUN: how far it came, or, before a rollback, what one would run. Changes nothing.

    With --json: {"run_id", "compensations": [the rows, in the order of undoing], "rollback": preview or null}.
    """
    with open_engine(ctx) as found:
        run_id = resolve_run(found.ledger, run)
        picture = read_picture(found.ledger, run_id)
        rows = picture.latest(Direction.COMPENSATION)
        request = Request(verb=Verb.ROLLBACK)
        look = None if rows else look_at(found.engine, run_id, request)
    if as_json:
        foreseen = None if look is None else shape_preview(look, request, start=say_start(ctx))
        write_json({"run_id": run_id, "compensations": shape(rows), "rollback": foreseen})
        return
    console = make_console(ctx)
    drawn = draw_rollback(picture, make_clock(picture.now, utc=utc))
    if drawn is not None:
        console.print(drawn)
        console.print(f"  run one again: {say_start(ctx)} compensations rerun {run_id} STEP", soft_wrap=True)
    elif look is not None:
        console.print("Nothing of this run was ever undone. What `runs rollback` would do:")
        console.print(draw_look(look))


@compensations.command("rerun")
@run_argument
@click.argument("step", shell_complete=complete_steps)
@acting_options
@click.pass_context
def rerun_command(ctx: click.Context, /, run: str, step: str, **given: Any) -> None:
    """Run the compensation that undoes STEP of RUN again, from the ledger, with its real arguments."""
    act_on_run(ctx, run, Request(verb=Verb.RERUN_COMPENSATION, step=step), How.of(given))
