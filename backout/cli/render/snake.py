"""Words joined by underscores, which wrap after an underscore where there is too little room."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Snake:
    """Such as `card_charged_courier_pending`."""

    words: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Break after the last underscore that fits; a single word that does not fit is folded."""
        lines, line = [], ""
        for part in self._parts():
            if line and cell_len(line + part) > options.max_width:
                lines.append(line)
                line = ""
            line += part
        yield Text("\n".join([*lines, line]), style=self.style, overflow="fold")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Ask for the whole line, and at least for the longest word."""
        return Measurement(max(map(cell_len, self._parts())), cell_len(self.words))

    def _parts(self) -> list[str]:
        parts = self.words.split("_")
        return [f"{part}_" for part in parts[:-1]] + [parts[-1]]
