"""`backout runs next`: what can be done about one run now."""

from __future__ import annotations

import click

from backout.cli.completion import complete_runs
from backout.cli.door import open_ledger, say_start
from backout.cli.output import json_option, make_console, write_json
from backout.cli.render.next_actions import print_actions
from backout.cli.render.page import draw_story
from backout.cli.shapes import shape_action
from backout.views.look import list_actions, read_view
from backout.views.picture import read_picture, resolve_run


@click.command("next")
@click.argument("run", shell_complete=complete_runs)
@json_option
@click.pass_context
def next_command(ctx: click.Context, run: str, as_json: bool) -> None:
    """Show what can be done about RUN now: what is safe, what only you can know, what is not possible and why.

    With --json: {"run_id", "state", "version", "actions": [{"verb", "step", "review_id", "decision", "is_possible",
    "is_safe", "why", "command"}]}, safe ones first.
    """
    with open_ledger(ctx) as ledger:
        run_id = resolve_run(ledger, run)
        view = read_view(ledger, run_id)
        picture = read_picture(ledger, run_id)
    actions, start = list_actions(view), say_start(ctx)
    if as_json:
        shaped = [shape_action(view, action, start=start) for action in actions]
        write_json({"run_id": run_id, "state": view.run.state.value, "version": view.version, "actions": shaped})
        return
    console = make_console(ctx)
    console.print(draw_story(picture))
    print_actions(console, view, actions, start=start)
