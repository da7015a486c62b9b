"""The entries of a run, as a table and as the lines that `runs watch` writes into a pipe."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from backout.ledger.records import EntryRecord
from backout.views.clock import Clock
from backout.views.entries import say_event, say_step, say_why
from backout.views.picture import RunPicture
from backout.views.words import clean, clean_line


def draw_entries(picture: RunPicture, clock: Clock) -> RenderableType:
    """Return every entry with its time, what happened, who did it and why."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for entry in picture.entries:
        at = f"{clock.say_time(entry.at, day_of=picture.run.created_at)}.{entry.at.microsecond // 1000:03d}"
        what = Text.assemble(say_event(entry), (f"  by {clean(entry.actor)}", "dim"))
        why = say_why(entry)
        grid.add_row(f"  {at}", Text("\n").join([what, Text(why)]) if why else what)
    return Group(Text("Entries", style="bold"), grid)


def draw_tracebacks(picture: RunPicture) -> RenderableType | None:
    """Return where the steps failed, as Python wrote it; `None` when no traceback was recorded."""
    parts: list[RenderableType] = []
    for row in picture.steps:
        lines = str((row.error or {}).get("traceback") or "").splitlines()
        if lines:
            name = say_step(row.step, row.direction)
            parts.append(Text(f"Traceback of {name}, attempt {row.attempt}", style="bold"))
            parts += [Padding(Text(clean_line(line)), (0, 0, 0, 2)) for line in lines]
    return Group(*parts) if parts else None


def write_entry(entry: EntryRecord, clock: Clock) -> str:
    """Return an entry as one line of plain text."""
    parts = [clock.say_precisely(entry.at), say_event(entry), f"by {clean(entry.actor)}", say_why(entry)]
    return "  ".join(part for part in parts if part)
