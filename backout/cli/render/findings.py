"""What the doctor found, grouped by what it is about; remedies are whole lines, so that they can be copied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from rich.console import Console
from rich.text import Text

from backout.cli.render.tones import STYLES
from backout.tasks.doctor.findings import Finding, Level, count_levels
from backout.views.marks import Mark, Tone
from backout.views.words import clean, clean_line, join_words, say_count

LEVEL_MARKS: Final[Mapping[Level, Mark]] = {
    Level.OK: Mark("✓", "ok", Tone.GOOD),
    Level.NOTE: Mark("·", "note", Tone.ACTIVE),
    Level.WARNING: Mark("!", "warning", Tone.WARNING),
    Level.PROBLEM: Mark("✗", "problem", Tone.BAD),
}
HEAD: Final = "  "
BODY: Final = "    "
COPY: Final = "      "
LONGEST_TEXT: Final = 1000
WIDEST: Final = 100
"""Longer lines are hard to read, however wide the terminal is."""


def print_findings(console: Console, findings: Sequence[Finding]) -> None:
    """Print the findings and how many there are of each level."""
    for line in _draw_lines(console, findings):
        # Wrapped already; a line to copy must not be broken by us.
        console.print(line, soft_wrap=True)


def summarise(findings: Sequence[Finding]) -> Text:
    """Return one line: the worst first, and what is well."""
    counts = count_levels(findings)
    worst = next(level for level, count in [*counts.items(), (Level.OK, 1)] if count)
    listed = [
        say_count(counts[level], LEVEL_MARKS[level].word)
        for level in (Level.PROBLEM, Level.WARNING, Level.NOTE)
        if counts[level]
    ]
    passed = f"{say_count(counts[Level.OK], 'check')} passed"
    mark = LEVEL_MARKS[Level.OK if worst is Level.NOTE else worst]
    return Text(f"{mark.sign} {join_words([*listed, passed])}", style=STYLES[mark.tone])


def _draw_lines(console: Console, findings: Sequence[Finding]) -> Iterator[Text]:
    width = min(console.width, WIDEST)
    for area, group in groupby(findings, key=lambda finding: finding.area):
        yield Text(area.value, style="bold")
        for finding in group:
            yield from _draw_finding(console, finding, width)
        yield Text()
    yield summarise(findings)


def _draw_finding(console: Console, finding: Finding, width: int) -> Iterator[Text]:
    mark = LEVEL_MARKS[finding.level]
    head = Text(clean(finding.found)[:LONGEST_TEXT])
    if finding.level in (Level.WARNING, Level.PROBLEM):
        head.stylize("bold")
    head.highlight_regex("`[^`]+`", "cyan")
    first = Text.assemble(HEAD, (f"{mark.sign} ", STYLES[mark.tone]))
    if finding.level is not Level.OK:
        first.append(f"{mark.word}: ", STYLES[mark.tone])
        head.append(f" [{finding.code.value}]", "dim")
    yield from _wrap(console, first + head, width)
    for text in (finding.why, finding.remedy):
        if text:
            yield from _wrap(
                console, Text(f"{BODY}{_end_sentence(clean(text), finding.to_copy, text is finding.remedy)}"), width
            )
    for line in finding.to_copy.splitlines():
        yield Text.assemble(COPY, (clean_line(line), "cyan"))


def _end_sentence(text: str, to_copy: str, is_remedy: bool) -> str:
    if text.endswith((".", ".)")):
        return text
    return f"{text}:" if is_remedy and to_copy else f"{text}."


def _wrap(console: Console, text: Text, width: int) -> Iterator[Text]:
    """Wrap a line; what follows the first is indented to the text."""
    lines = text[len(BODY) :].wrap(console, max(20, width - len(BODY)), overflow="fold")
    for place, line in enumerate(lines):
        line.rstrip()
        yield (text[: len(BODY)] if place == 0 else Text(BODY)) + line
