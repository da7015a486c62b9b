"""The entries of a run, as a table and as the lines that `runs watch` writes into a pipe."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from backout.ledger.records import EntryRecord
from backout.states import Direction
from backout.views.clock import Clock
from backout.views.picture import RunPicture
from backout.views.words import clean, clean_line, clip

LONGEST_TEXT = 300


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


def say_event(entry: EntryRecord) -> str:
    """Return what happened: `charge_card: attempt started (attempt 2)`, `undo charge_card: step ready`."""
    event = entry.event.value.replace("_", " ")
    if entry.step is None:
        return event
    attempt = f" (attempt {entry.attempt})" if entry.attempt else ""
    return f"{say_step(entry.step, entry.direction)}: {event}{attempt}"


def say_step(name: str, direction: Direction | None) -> str:
    """Return what runs for a step: `charge_card`, `undo charge_card`, `reconcile charge_card`."""
    words = {Direction.COMPENSATION: "undo ", Direction.RECONCILE: "reconcile ", Direction.VERIFY: "verify "}
    return f"{words.get(direction, '') if direction is not None else ''}{clean(name)}"


def say_why(entry: EntryRecord) -> str:
    """Return reason and detail of an entry; empty when the event says it all."""
    reason = clip(entry.reason, LONGEST_TEXT) if entry.reason else ""
    detail = _say_detail(entry.detail, reason)
    return "; ".join(part for part in (reason, detail) if part)


def _say_detail(detail: object, reason: str) -> str:
    """Return a detail in words, without what the reason says already and without the lines of a traceback."""
    if not isinstance(detail, Mapping):
        return clip(detail, LONGEST_TEXT) if detail is not None else ""
    told = [(name, _say_value(value)) for name, value in detail.items() if value is not None and name != "traceback"]
    return ", ".join(
        f"{clean(name).replace('_', ' ')} {value}" for name, value in told if value.rpartition(".")[2] not in reason
    )


def _say_value(value: object) -> str:
    if isinstance(value, Mapping) and "message" in value:
        # An error that was put aside: its traceback is long, and stands with the attempt.
        return clip(value["message"], LONGEST_TEXT)
    return clip(", ".join(map(str, value)) if isinstance(value, list) else value, LONGEST_TEXT)
