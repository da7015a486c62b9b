"""What Celery loads for each of its commands: our group, and, where the command is Flower's, the tab with the runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

import click

from backout.cli.lazy import load
from backout.cli.main import backout

__all__ = ["backout", "find_command"]

SWITCH: Final = "BACKOUT_FLOWER"
"""`off` in the environment: Flower stays as it is."""
_WITH_VALUE: Final = frozenset(
    ("-A", "--app", "-b", "--broker", "--result-backend", "--loader", "--config", "--workdir"),
)
"""The options of the `celery` command that are followed by a value."""


def find_command(words: Sequence[str]) -> str | None:
    """Return which of its commands `celery` was asked for; `None` when none is named.

    Args:
        words: as typed, without the program's own name.
    """
    is_value = False
    for word in words:
        if is_value:
            is_value = False
        elif not word.startswith("-"):
            return word
        else:
            is_value = word in _WITH_VALUE
    return None


def join_flower(words: Sequence[str]) -> None:
    """Put the tab into Flower, if that is what Celery is about to start. Never keeps it from starting."""
    if find_command(words) != "flower" or os.environ.get(SWITCH, "").lower() == "off" or find_spec("flower") is None:
        return
    try:
        load("backout.integrations.flower:install")()
    except Exception as error:
        click.echo(f"backout: Flower starts without the Runs tab: {error}", err=True)


# Celery imports this module before it makes its commands, and no other moment comes before Flower has its pages: it
# has no plug-ins. In all other processes this costs the comparison of a word.
join_flower(sys.argv[1:])
