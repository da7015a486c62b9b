"""The pipelines that a command is about: imported as a worker imports them, or by the names of their modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from backout.cli.celery_app import import_module_from_here, import_pipelines
from backout.cli.door import find_app
from backout.errors import ConfigurationError
from backout.pipelines.definition import PipelineDefinition
from backout.pipelines.registry import all_pipelines, find_pipeline

F = TypeVar("F", bound=Callable[..., Any])


def module_option(function: F) -> F:
    """Add `--module`."""
    return click.option(
        "--module", "modules", metavar="NAME", multiple=True, help="Import this module first; may be repeated."
    )(function)


def import_definitions(ctx: click.Context, modules: Sequence[str]) -> None:
    """Import what the Celery app's workers import, and these modules.

    Raises:
        ConfigurationError: nothing says where the pipelines are, or a module cannot be imported.
        DefinitionError: a pipeline may not be defined like that.
    """
    app = find_app(ctx)
    if app is None and not modules:
        command = ctx.info_name
        raise ConfigurationError(
            problem="nothing says where the pipelines are defined",
            remedy=(
                f"Give the Celery app (`celery -A proj backout {command}`, `backout --app proj {command}`) "
                "or --module NAME."
            ),
        )
    if app is not None:
        import_pipelines(app)
    for module in modules:
        import_module_from_here(module)


def find_definitions(names: Sequence[str]) -> list[PipelineDefinition]:
    """Return the pipelines of these names, in that order; all that are defined when no name is given.

    Raises:
        UnknownPipeline: a name that nobody has defined.
        ConfigurationError: there is none at all.
    """
    definitions = [find_pipeline(name) for name in names or sorted(all_pipelines())]
    if not definitions:
        raise ConfigurationError(
            problem="the imported modules define no pipeline",
            remedy="Add the module that does to Celery's `imports`, or name it with --module.",
        )
    return definitions
