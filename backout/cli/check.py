"""`backout check`: the contracts of pipelines as tables, with what a careful reader would warn of."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.console import Console
from rich.text import Text

from backout.cli.completion import complete_pipelines
from backout.cli.definitions import find_definitions, import_definitions, module_option
from backout.cli.exits import Exit
from backout.cli.output import json_option, make_console, write_json
from backout.cli.render.contracts import draw_pipeline, draw_warnings
from backout.pipelines.contract import Plan
from backout.pipelines.warnings import ContractWarning, find_warnings
from backout.views.shapes import shape_pipeline
from backout.views.words import say_count


@click.command("check")
@click.argument("names", metavar="[PIPELINE]...", nargs=-1, shell_complete=complete_pipelines)
@module_option
@click.option("--strict", is_flag=True, help="Exit with 1 when there is a warning.")
@json_option
@click.pass_context
def check(ctx: click.Context, names: tuple[str, ...], modules: tuple[str, ...], strict: bool, as_json: bool) -> None:
    """Show what each step of the pipelines promises, and warn where a failure would end with a person.

    The pipelines are those that the Celery app's workers import, or those of --module.

    With --json: {"ok", "pipelines": [{"name", "digest", "steps": [contract…], "warnings": [warning…]}]}; ok is false
    when there is a warning.
    """
    import_definitions(ctx, modules)
    definitions = find_definitions(names)
    plans = [definition.plan for definition in definitions]
    warnings = [find_warnings(definition.plan, definition.recorded_ids) for definition in definitions]
    if as_json:
        pipelines = [shape_pipeline(plan, found) for plan, found in zip(plans, warnings, strict=True)]
        write_json({"ok": not any(warnings), "pipelines": pipelines})
    else:
        _print_plans(make_console(ctx), plans, warnings)
    ctx.exit(Exit.PROBLEM if strict and any(warnings) else Exit.OK)


def _print_plans(console: Console, plans: Sequence[Plan], warnings: Sequence[Sequence[ContractWarning]]) -> None:
    for plan, found in zip(plans, warnings, strict=True):
        console.print(draw_pipeline(plan))
        if found:
            console.print(draw_warnings(found))
        console.print()
    total = sum(len(found) for found in warnings)
    pipelines = say_count(len(plans), "pipeline")
    if total:
        console.print(Text(f"! {pipelines}, {say_count(total, 'warning')}", style="yellow"))
    else:
        console.print(Text(f"✓ {pipelines}, no warnings", style="green"))
