"""`flask backout …`: the whole command line, with the ledger and the pipelines of the Flask app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click
from celery import Celery

from backout.cli.door import Host
from backout.cli.lazy import LazyGroup
from backout.cli.main import COMMANDS, backout

START: Final = "flask backout"


class FlaskCommand(LazyGroup):
    """The group `backout`, run inside Flask's command line."""

    def __init__(self, find_celery: Callable[[], Celery]) -> None:
        super().__init__(
            backout.name,
            lazy=COMMANDS,
            params=backout.params,
            callback=backout.callback,
            help=backout.help,
            epilog=backout.epilog,
            context_settings=backout.context_settings,
        )
        self._find_celery: Final = find_celery

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Say whose ledger is meant, in place of what Flask's command line says of itself."""
        return super().make_context(
            info_name, args, parent, **{**extra, "obj": Host(app=self._find_celery(), start=START)}
        )
