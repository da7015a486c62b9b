"""`backout reviews`: what a person must decide."""

from __future__ import annotations

import click

from backout.cli.reviews_act import assign_command, resolve_command
from backout.cli.reviews_look import list_command, show_command


@click.group("reviews")
def reviews() -> None:
    """What a person must decide: look (list, show), take it (assign), decide it (resolve)."""


for command in (list_command, show_command, resolve_command, assign_command):
    reviews.add_command(command)
