"""A pipeline's contract as Markdown, for a wiki or a review: tables and a picture that GitHub and GitLab draw."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from backout.cli.render.contract_mermaid import draw_mermaid
from backout.views.contract_words import ContractWords, StepWords, split_code


def draw_markdown(words: ContractWords) -> str:
    """Return a document of its own."""
    return "\n".join(_draw(words)) + "\n"


def escape_text(text: str) -> str:
    """Return text that shows as it is, also in the cell of a table; what is marked as code is code."""
    return "".join(_escape_code(part) if is_code else _escape_plain(part) for part, is_code in split_code(text))


def _escape_plain(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # Underscores inside words mean nothing in GitHub's Markdown, and names are full of them.
    return re.sub(r"([\\`*\[\]{}|~#!]|(?<!\w)_|_(?!\w)|(?<=\d)[.)](?=\s|$)|^[-+=])", r"\\\1", text)


def _escape_code(text: str) -> str:
    if re.fullmatch(r"[^`|&<>\\]+", text):
        return f"`{text}`"
    # Neither a backtick nor a bar can stand inside a code span of a table.
    numbered = "".join(one if one.isalnum() or one in " _.,:/" else f"&#{ord(one)};" for one in text)
    return f"<code>{numbered}</code>"


def _draw(words: ContractWords) -> Iterator[str]:
    yield f"# {_escape_plain(words.pipeline)}"
    yield ""
    yield from (f"* {escape_text(fact)}" for fact in words.facts)
    yield ""
    yield "```mermaid"
    yield draw_mermaid(words).rstrip("\n")
    yield "```"
    yield from _draw_overview(words)
    yield from _draw_warnings(words)
    for step in words.steps:
        yield from _draw_step(step)
    if words.messages:
        yield from ("", "## What a customer is told", "")
        yield from _table(
            ("state", "text"), [(_escape_code(state), escape_text(text)) for state, text in words.messages]
        )
    yield from ("", f"Digest of the plan: `{words.digest}`")


def _draw_overview(words: ContractWords) -> Iterator[str]:
    yield from ("", "## At a glance", "")
    rows = [
        (
            str(step.number),
            f"**{_escape_plain(step.name)}**",
            step.effect.value,
            escape_text(step.action),
            escape_text(step.row("if_it_fails_for_good").step),
            escape_text(step.row("if_it_is_cut_off").step),
        )
        for step in words.steps
    ]
    headings = ("", "step", "effect", "recovery action", "if it fails for good", "if it is cut off in the middle")
    yield from _table(headings, rows)


def _draw_warnings(words: ContractWords) -> Iterator[str]:
    yield from ("", "## Warnings", "")
    if not words.warnings:
        yield "None."
    for warning in words.warnings:
        problem, remedy = escape_text(warning.problem), escape_text(warning.remedy)
        yield f"* ⚠ **{_escape_plain(warning.step)}**: {problem} {remedy} (`{warning.code}`)"


def _draw_step(step: StepWords) -> Iterator[str]:
    yield from ("", f"## {step.number}\\. {_escape_plain(step.name)}", "")
    has_undo = any(row.undo for row in step.rows)
    headings = ("", "the step", "its undo") if has_undo else ("", "the step")
    rows = [(f"**{row.label}**", escape_text(row.step), escape_text(row.undo))[: len(headings)] for row in step.rows]
    yield from _table(headings, rows)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield _line(headings)
    yield _line(["---"] * len(headings))
    yield from map(_line, rows)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
