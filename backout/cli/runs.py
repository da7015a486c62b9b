"""`backout runs`: look at runs."""

from __future__ import annotations

import click

from backout.cli.runs_list import list_command
from backout.cli.runs_show import show_command
from backout.cli.runs_watch import watch_command


@click.group("runs")
def runs() -> None:
    """Look at runs: what happened, and what they wait for. Nothing is changed."""


runs.add_command(list_command)
runs.add_command(show_command)
runs.add_command(watch_command)
