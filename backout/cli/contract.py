"""`backout contract`: one pipeline's contract for people: for a review, a runbook, a wiki, or a program."""

from __future__ import annotations

import io
import json
from enum import StrEnum
from pathlib import Path
from typing import assert_never

import click
from rich.console import Console

from backout.cli.completion import complete_pipelines
from backout.cli.definitions import find_definitions, import_definitions, module_option
from backout.cli.exits import JSON_KEY
from backout.cli.output import PIPE_WIDTH, make_console
from backout.cli.render.contract_html import draw_html
from backout.cli.render.contract_markdown import draw_markdown
from backout.cli.render.contract_mermaid import draw_mermaid
from backout.cli.render.contract_table import draw_contract
from backout.errors import ConfigurationError
from backout.pipelines.definition import PipelineDefinition
from backout.pipelines.warnings import find_warnings
from backout.views.contract_words import tell_contract
from backout.views.shapes import shape_contract


class Format(StrEnum):
    """How a contract is written."""

    TABLE = "table"
    MARKDOWN = "markdown"
    MERMAID = "mermaid"
    JSON = "json"
    HTML = "html"


def _remember_format(ctx: click.Context, _option: click.Parameter, chosen: str) -> Format:
    ctx.meta[JSON_KEY] = chosen == Format.JSON
    return Format(chosen)


@click.command("contract")
@click.argument("pipeline", shell_complete=complete_pipelines)
@click.option(
    "--format",
    "as_format",
    type=click.Choice([one.value for one in Format]),
    default=Format.TABLE.value,
    show_default=True,
    is_eager=True,
    callback=_remember_format,
    help="How to write it.",
)
@click.option(
    "--output",
    "path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it there, not to the terminal.",
)
@module_option
@click.pass_context
def contract(ctx: click.Context, pipeline: str, as_format: Format, path: Path | None, modules: tuple[str, ...]) -> None:
    """Show all that PIPELINE promises: recovery, retries, timeouts, and what happens in doubt, step by step.

    \b
    table     for the terminal
    markdown  for a wiki or a pull request, with a picture where Mermaid is drawn
    mermaid   the picture alone
    json      for programs: as in `check --json`, and each step with "in_words"
    html      a page of its own that loads nothing

    Warnings are shown and change no exit code: `backout check --strict` does.
    """  # noqa: D301 - click's sign for a paragraph that is not wrapped
    import_definitions(ctx, modules)
    [definition] = find_definitions([pipeline])
    if path is not None:
        _write_file(path, _render(definition, as_format))
    elif as_format is Format.TABLE:
        _print_table(make_console(ctx), definition)
    else:
        click.echo(_render(definition, as_format), nl=False)


def _render(definition: PipelineDefinition, as_format: Format) -> str:
    warnings = find_warnings(definition.plan, definition.recorded_ids)
    words = tell_contract(definition.plan, warnings)
    match as_format:
        case Format.TABLE:
            written = io.StringIO()
            _print_table(
                Console(file=written, width=PIPE_WIDTH, highlight=False, markup=False, emoji=False), definition
            )
            # Rich fills cells up with blanks, which a file does not need.
            return "".join(f"{line.rstrip()}\n" for line in written.getvalue().splitlines())
        case Format.MARKDOWN:
            return draw_markdown(words)
        case Format.MERMAID:
            return draw_mermaid(words)
        case Format.JSON:
            return json.dumps(shape_contract(definition.plan, warnings, words), indent=2) + "\n"
        case Format.HTML:
            return draw_html(words)
        case _ as never:
            assert_never(never)


def _print_table(console: Console, definition: PipelineDefinition) -> None:
    warnings = find_warnings(definition.plan, definition.recorded_ids)
    console.print(draw_contract(tell_contract(definition.plan, warnings), warnings))


def _write_file(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            problem=f"{str(path)!r} cannot be written: {error.strerror or error}",
            remedy="Give --output a file in a folder that exists and that you may write to.",
        ) from error
