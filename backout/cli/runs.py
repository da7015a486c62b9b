"""`backout runs`: look at runs, act on them, and enqueue many."""

from __future__ import annotations

import click

from backout.cli.runs_act import ACTIONS
from backout.cli.runs_enqueue import enqueue_command
from backout.cli.runs_list import list_command
from backout.cli.runs_next import next_command
from backout.cli.runs_show import show_command
from backout.cli.runs_watch import watch_command


@click.group("runs")
def runs() -> None:
    """Look at runs (list, show, next, watch), act on them, and enqueue many.

    `list`, `show`, `next` and `watch` change nothing; neither does any other command with --preview.
    """


runs.add_command(list_command)
runs.add_command(show_command)
runs.add_command(next_command)
runs.add_command(watch_command)
runs.add_command(enqueue_command)
for command in ACTIONS:
    runs.add_command(command)
