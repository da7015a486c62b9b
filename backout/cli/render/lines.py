"""Lines of a timeline with aligned columns, and notes under them that wrap inside their place, at any width."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from backout.cli.render.tones import STYLES
from backout.views.marks import Mark

GAP: Final = 2
INDENT: Final = "  "
NARROWEST_NAME: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One step in one direction.

    Attributes:
        cells: right of the state, one for each of the lines' headings after the first.
        notes: under the line, each on lines of its own.
    """

    mark: Mark
    name: str
    cells: Sequence[str] = ()
    notes: Sequence[Text] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """A titled list of lines whose columns are as wide as their widest cell; a long name takes a line of its own."""

    title: str
    headings: Sequence[str]
    lines: Sequence[Line]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the lines out in the width that there is."""
        state_width = max((cell_len(line.mark.word) for line in self.lines), default=0)
        widths = [self._cell_width(column) for column in range(len(self.headings))]
        fixed = len(INDENT) + 2 + GAP + state_width + sum(width + GAP for width in widths)
        longest = max((cell_len(line.name) for line in self.lines), default=0)
        name_width = max(NARROWEST_NAME, min(max(longest, cell_len(self.title) - 4), options.max_width - fixed))
        columns = [state_width, *widths]
        yield _row(Text(self.title, style="bold"), name_width + 4, ["", *self.headings], columns, "dim")
        for line in self.lines:
            yield from self._lay_out(console, line, name_width, columns, options.max_width)

    def _cell_width(self, column: int) -> int:
        cells = [line.cells[column] for line in self.lines if column < len(line.cells)]
        return max(cell_len(text) for text in (self.headings[column], *cells))

    def _lay_out(
        self, console: Console, line: Line, name_width: int, columns: Sequence[int], max_width: int
    ) -> Iterable[Text]:
        head = Text.assemble(INDENT, (f"{line.mark.sign} ", STYLES[line.mark.tone]), (line.name, "bold"))
        if cell_len(line.name) > name_width:
            yield head
            head = Text("")
        yield _row(head, name_width + 4, [line.mark.word, *line.cells], columns, "default", STYLES[line.mark.tone])
        for note in line.notes:
            margin = Text.assemble(INDENT, ("│ ", "dim"), INDENT)
            room = max(20, max_width - margin.cell_len)
            for wrapped in note.wrap(console, room, overflow="fold"):
                wrapped.rstrip()
                yield margin + wrapped


def _row(
    head: Text, head_width: int, cells: Sequence[str], columns: Sequence[int], style: str, first_style: str = ""
) -> Text:
    row = head.copy()
    row.pad_right(head_width - head.cell_len)
    for place, (cell, width) in enumerate(zip(cells, columns, strict=False)):
        row.append(" " * GAP)
        row.append(cell, first_style if place == 0 and first_style else style)
        row.append(" " * (width - cell_len(cell)))
    row.rstrip()
    row.no_wrap = True
    row.overflow = "ellipsis"
    return row
