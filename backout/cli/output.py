"""Where commands write: a console that fits terminal or pipe, JSON documents, and the options they share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import click
from rich.console import Console

from backout.cli.exits import JSON_KEY
from backout.views.clock import Clock

F = TypeVar("F", bound=Callable[..., Any])

PIPE_WIDTH: Final = 100
"""Columns where there is no terminal to ask and COLUMNS says nothing."""


def _remember_json(ctx: click.Context, _option: click.Parameter, is_asked: bool) -> bool:
    ctx.meta[JSON_KEY] = is_asked
    return is_asked


def json_option(function: F) -> F:
    """Add `--json`; errors of the command are then JSON too."""
    return click.option(
        "--json", "as_json", is_flag=True, is_eager=True, callback=_remember_json, help="Write JSON; instants are UTC."
    )(function)


def utc_option(function: F) -> F:
    """Add `--utc`."""
    return click.option("--utc", is_flag=True, help="Show instants in UTC instead of the local zone.")(function)


def make_console(ctx: click.Context) -> Console:
    """Return a console for standard output: colour only on a terminal, and never under NO_COLOR or `--no-color`."""
    if not (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf") and hasattr(
        sys.stdout, "reconfigure"
    ):
        # A terminal without UTF-8 shows the signs as "?"; the words beside them say the same.
        sys.stdout.reconfigure(errors="replace")
    is_sized = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(
        width=None if is_sized else PIPE_WIDTH,
        no_color=True if getattr(ctx.obj, "no_color", False) else None,
        highlight=False,
        markup=False,
        emoji=False,
    )


def make_clock(now: datetime, *, utc: bool) -> Clock:
    """Return the reader's clock: the ledger's time in the zone of this machine, or in UTC."""
    return Clock(now=now, zone=UTC if utc else None)


def write_json(document: object) -> None:
    """Write a JSON document, indented for people."""
    click.echo(json.dumps(document, indent=2))


def write_json_line(document: object) -> None:
    """Write a JSON document on one line, for programs that read while it goes on."""
    click.echo(json.dumps(document))
