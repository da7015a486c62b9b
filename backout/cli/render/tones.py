"""How signs, words and notes look in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rich.text import Text

from backout.views.marks import Mark, Tone
from backout.views.notes import Note

STYLES: Final[Mapping[Tone, str]] = {
    Tone.PLAIN: "default",
    Tone.STRONG: "bold",
    Tone.FAINT: "dim",
    Tone.ACTION: "italic",
    Tone.ID: "cyan",
    Tone.ACTIVE: "cyan",
    Tone.GOOD: "green",
    Tone.BACK: "yellow",
    Tone.KEPT: "blue",
    Tone.WARNING: "bold yellow",
    Tone.ERROR: "red",
    Tone.BAD: "bold red",
    Tone.DOUBT: "magenta",
    Tone.PERSON: "bold magenta",
}


def draw_mark(mark: Mark) -> Text:
    """Return sign and word."""
    return Text(str(mark), style=STYLES[mark.tone])


def draw_note(note: Note) -> Text:
    """Return a note, its parts in their colours."""
    return Text.assemble(*((text, STYLES[tone]) for text, tone in note.parts))
