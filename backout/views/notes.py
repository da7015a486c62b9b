"""A note under a step: a short text of which some parts have a tone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from backout.views.marks import Tone


@dataclass(frozen=True, slots=True)
class Note:
    """A short text.

    Attributes:
        parts: each with its tone, in the order in which they are read.
    """

    parts: tuple[tuple[str, Tone], ...]

    @classmethod
    def of(cls, *parts: str | tuple[str, Tone], tone: Tone = Tone.PLAIN) -> Self:
        """Return a note of these parts; those without a tone of their own have `tone`."""
        return cls(tuple((part, tone) if isinstance(part, str) else part for part in parts))

    @property
    def plain(self) -> str:
        """The text alone."""
        return "".join(text for text, _ in self.parts)
