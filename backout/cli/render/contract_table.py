"""A pipeline's contract for the terminal: each step with all that it promises, and its undo beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from backout.cli.render.contracts import draw_warnings
from backout.pipelines.contract import RecoveryKind
from backout.pipelines.warnings import ContractWarning
from backout.views.contract_words import ContractWords, StepWords, split_code


def draw_contract(words: ContractWords, warnings: Sequence[ContractWarning]) -> RenderableType:
    """Return everything about a pipeline, in the order in which it runs."""
    parts: list[RenderableType] = [Text(words.pipeline, style="bold underline")]
    parts += [Text.assemble("  ", _styled(fact)) for fact in words.facts]
    for step in words.steps:
        parts += ["", *_draw_step(step)]
    if words.messages:
        parts += ["", Text("What a customer is told", style="bold"), _draw_messages(words)]
    parts.append("")
    parts.append(draw_warnings(warnings) if warnings else Text("✓ no warnings", style="green"))
    return Group(*parts)


def _draw_step(step: StepWords) -> Iterator[RenderableType]:
    style = "yellow" if step.recovery is RecoveryKind.IRREVERSIBLE else ""
    yield Text.assemble((f"{step.number}. {step.name}", "bold"), (f"  {step.action}", style))
    yield _draw_rows([(row.label, row.step) for row in step.rows])
    undo = [(row.label, row.undo) for row in step.rows if row.undo]
    if undo:
        yield Padding(Text("its undo", style="italic"), (0, 0, 0, 2))
        yield Padding(_draw_rows(undo), (0, 0, 0, 2))


def _draw_messages(words: ContractWords) -> RenderableType:
    return _draw_rows(words.messages)


def _draw_rows(rows: Sequence[tuple[str, str]]) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", overflow="fold", min_width=20)
    grid.add_column(overflow="fold")
    for label, text in rows:
        grid.add_row(f"  {label}", _styled(text))
    return grid


def _styled(text: str) -> Text:
    return Text.assemble(*((part, "cyan" if is_code else "") for part, is_code in split_code(text)))
