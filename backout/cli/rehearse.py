"""`backout rehearse`: what every failure of a pipeline leads to, found by trying on a scratch ledger."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from backout.cli.completion import complete_pipelines
from backout.cli.definitions import import_definitions, module_option
from backout.cli.exits import Exit
from backout.cli.output import json_option, make_console, write_json
from backout.cli.render.rehearsal import draw_head, draw_problems, draw_rehearsal, draw_verdict
from backout.jsontext import JsonValue
from backout.pipelines.definition import PipelineDefinition
from backout.pipelines.masking import Secrets
from backout.pipelines.registry import find_pipeline
from backout.testing.rehearsal.cases import Rehearsal, RehearsedCase
from backout.testing.rehearsal.inputs import check_input, make_input, typed_input
from backout.testing.rehearsal.places import select_places
from backout.testing.rehearsal.runner import rehearse as run_rehearsal
from backout.testing.rehearsal.stand_ins import make_stand_ins
from backout.views.shapes import shape

REAL: Final = "Warning: --real calls the functions of {name} for real, some of them several times."


@click.command("rehearse")
@click.argument("name", metavar="PIPELINE", shell_complete=complete_pipelines)
@module_option
@click.option("--input", "file", type=click.File(), help="The input as JSON; `-` reads it from standard input.")
@click.option("--only", metavar="PLACE", multiple=True, help="Only this place, such as 'charge:*'; may be repeated.")
@click.option("--real", is_flag=True, help="Call the functions of the pipeline. Without it none of them is called.")
@json_option
@click.pass_context
def rehearse(
    ctx: click.Context,
    name: str,
    modules: tuple[str, ...],
    file: IO[str] | None,
    only: tuple[str, ...],
    real: bool,
    as_json: bool,
) -> None:
    """Run a pipeline once for every place where it can fail, and show what would happen.

    Steps, compensations and the processes around them fail and die one after the other, on a scratch ledger that is
    removed: the app's own broker and ledger hear of nothing. Stand-ins take the place of all functions and return
    examples of their output types. Exit code 1 when something was done twice, or left behind without contract.

    With --json: {"ok", "pipeline", "input", "calls_real_functions", "cases": [{"place": {"id", "words", "kind", …},
    "state", "operator_state", "undone", "left_behind", "asked", "calls", "done_twice", "is_problem", "story"}…]}.
    """
    import_definitions(ctx, modules)
    pipeline = find_pipeline(name)
    stored = make_input(pipeline) if file is None else _read_input(pipeline, file)
    if real:
        click.echo(REAL.format(name=name), err=True)
    console = make_console(ctx)
    try:
        found = _rehearse(pipeline, stored, only=only, real=real, console=console, is_shown=not as_json)
    except KeyboardInterrupt:
        ctx.exit(Exit.INTERRUPTED)
    if as_json:
        write_json(_shape(found, stored, real=real))
    else:
        console.print(draw_head(pipeline.plan, stored, is_made_up=file is None, is_real=real))
        console.print(draw_rehearsal(found))
        console.print(draw_problems(found), end="")
        console.print(draw_verdict(found))
    ctx.exit(Exit.PROBLEM if found.problems else Exit.OK)


def _read_input(pipeline: PipelineDefinition, file: IO[str]) -> JsonValue:
    try:
        stored: JsonValue = json.load(file)
    except ValueError as error:
        raise click.BadParameter(f"{file.name} is no JSON: {error}", param_hint="--input") from error
    check_input(pipeline, stored)
    return stored


def _rehearse(
    pipeline: PipelineDefinition,
    stored: JsonValue,
    *,
    only: tuple[str, ...],
    real: bool,
    console: Console,
    is_shown: bool,
) -> Rehearsal:
    places = select_places(pipeline.plan, only or None)
    stand_ins = {} if real else make_stand_ins(pipeline)
    with _progress(console, len(places), is_shown=is_shown) as tell:
        value = typed_input(pipeline, stored)
        return run_rehearsal(pipeline, value, stand_ins=stand_ins, places=places, on_case=tell)


@contextmanager
def _progress(console: Console, total: int, *, is_shown: bool) -> Iterator[Callable[[RehearsedCase], None]]:
    """Show how far it has come, on a terminal only."""
    if not (is_shown and console.is_terminal):
        yield lambda _: None
        return
    columns = (TextColumn("rehearsing"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda case: progress.update(task, advance=1, description=case.place.id)


def _shape(found: Rehearsal, stored: JsonValue, *, real: bool) -> dict[str, Any]:
    return {
        "ok": not found.problems,
        "pipeline": found.pipeline,
        "input": Secrets(find_pipeline(found.pipeline).plan, stored).cover_input(stored),
        "calls_real_functions": real,
        "cases": [_shape_case(case) for case in found.cases],
    }


def _shape_case(case: RehearsedCase) -> dict[str, Any]:
    place = {"id": case.place.id, "words": str(case.place), **shape(case.place)}
    return {**shape(case), "place": place, "is_problem": case.is_problem}
