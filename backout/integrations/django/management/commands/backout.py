"""`manage.py backout …`: the whole command line of backout, on the ledger and the Celery app of the project."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import click
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from backout.cli.door import Host
from backout.cli.exits import Exit
from backout.cli.main import backout
from backout.errors import BackoutError
from backout.integrations.django.engine import project_app

START = "python manage.py backout"
DJANGO_OPTIONS = ("--settings", "--pythonpath")
"""Read by Django before any command sees them."""


class Command(BaseCommand):
    """Hands its arguments to the command line of backout."""

    help = "Look at the runs of pipelines and act on them: `backout --help`."
    # What is wrong may be what somebody looks for; `check` tells it.
    requires_system_checks: Sequence[str] = ()

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        """Return a parser for `call_command` that leaves all arguments to the command line of backout."""
        parser = super().create_parser(prog_name, subcommand, **options)
        of_django = vars(parser.parse_args([]))
        parser.parse_args = lambda args=None, namespace=None: Namespace(**{**of_django, "args": list(args or ())})
        return parser

    def print_help(self, prog_name: str, subcommand: str) -> None:
        """Show the help of backout, for `manage.py help backout`."""
        backout.main(["--help"], prog_name=f"{os.path.basename(prog_name)} {subcommand}", standalone_mode=False)

    def run_from_argv(self, argv: list[str]) -> None:
        """Run a command that was typed, and end the process with its exit code."""
        with _connections_closed():
            try:
                host = _host()
            except BackoutError as error:
                click.echo(f"Error: {error}", err=True)
                sys.exit(Exit.USAGE)
            backout.main(_own_arguments(argv[2:]), prog_name=f"{os.path.basename(argv[0])} {argv[1]}", obj=host)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run a command for `call_command("backout", "runs", "list", "--json")`.

        Raises:
            CommandError: it ended with another exit code than 0, which is its `returncode`.
        """
        arguments = [str(argument) for argument in args]
        out, err = options.get("stdout") or sys.stdout, options.get("stderr") or sys.stderr
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = backout.main(arguments, prog_name=START, obj=_host(), standalone_mode=False)
            except BackoutError as error:
                raise CommandError(str(error), returncode=int(Exit.USAGE)) from error
            except click.ClickException as error:
                raise CommandError(error.format_message(), returncode=error.exit_code) from error
            except click.Abort as error:
                raise CommandError("interrupted", returncode=int(Exit.INTERRUPTED)) from error
        if code:
            raise CommandError(f"`{START} {' '.join(arguments)}` ended with exit code {code}", returncode=int(code))


def _host() -> Host:
    return Host(app=project_app(), start=START)


def _own_arguments(arguments: list[str]) -> list[str]:
    """Return the arguments without those of Django that stand before the first of ours."""
    left = list(arguments)
    while left and left[0].partition("=")[0] in DJANGO_OPTIONS:
        del left[: 1 if "=" in left[0] else 2]
    return left


@contextmanager
def _connections_closed() -> Iterator[None]:
    try:
        yield
    finally:
        connections.close_all()
