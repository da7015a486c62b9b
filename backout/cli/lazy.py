"""Groups whose commands are imported when they are called: Celery imports the entry module in every process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import click

from backout.cli.exits import JSON_KEY, Refusal
from backout.errors import BackoutError


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """A command that is not yet imported.

    Attributes:
        place: `module:attribute`; a command whose module is not installed is left out.
        summary: its line in the help of the group, so that help needs no imports.
        extra: what to install for it: `backout[extra]`; empty when it needs nothing more.
    """

    place: str
    summary: str
    extra: str = ""

    @property
    def is_installed(self) -> bool:
        """True when the module is there; it is not imported."""
        return find_spec(self.place.partition(":")[0]) is not None


def load(place: str) -> Any:
    """Import and return what `module:attribute` names."""
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


class LazyGroup(click.Group):
    """A group of lazy commands, and the place where errors of backout become messages."""

    def __init__(self, *args: Any, lazy: Mapping[str, LazyCommand], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order in which they were given."""
        return [name for name, command in self.lazy.items() if command.is_installed]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; `None` when there is none of that name."""
        lazy = self.lazy.get(cmd_name)
        if lazy is None or not lazy.is_installed:
            return None
        try:
            command: click.Command = load(lazy.place)
        except ModuleNotFoundError as error:
            if not lazy.extra or (error.name or "").startswith("backout"):
                raise
            missing = f"`{cmd_name}` needs the package {error.name!r}, which is not installed"
            raise click.ClickException(f'{missing}. Install it: pip install "backout[{lazy.extra}]"') from error
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.lazy[name].summary) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of backout ends it with a message and its exit code."""
        try:
            return super().invoke(ctx)
        except BackoutError as error:
            raise Refusal(error, as_json=bool(ctx.meta.get(JSON_KEY))) from error
