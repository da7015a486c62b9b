"""Lengths, counts and other people's text in words that fit on a line."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final

SHORTEST_ID: Final = 13
"""Characters of a run id that are always shown: its millisecond (`01985c3e-7a1b`)."""

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def say_seconds(seconds: float, *, units: int = 2) -> str:
    """Return a length of time in its largest units: `12 ms`, `4.5 s`, `45 s`, `3 min 4 s`, `2 d 5 h`."""
    seconds = max(0.0, seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    parts: list[str] = []
    for size, unit in _UNITS:
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count} {unit}")
        if len(parts) == units or (parts and not count):
            break
    return " ".join(parts)


def say_setting(seconds: float) -> str:
    """Return a length of time as it was set: `0.5 s`, `2 s`, `10 min`."""
    return f"{seconds:g} s" if seconds < 60 else say_seconds(seconds)


def say_count(count: int, noun: str) -> str:
    """Return a count with its noun: `1 step`, `3 steps`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def say_up_to(count: int, most: int | None) -> str:
    """Return a number that was not counted further than to one after `most`: `312`, `10,000+`."""
    return f"{count:,}" if most is None or count <= most else f"{most:,}+"


def say_was(count: int, deed: str, noun: str | None = None) -> str:
    """Return a count with what happened to it: `1 step was undone`, `2 were kept`."""
    subject = say_count(count, noun) if noun else f"{count:,}"
    return f"{subject} {'was' if count == 1 else 'were'} {deed}"


def join_words(parts: Sequence[str]) -> str:
    """Return a list as it is read: `a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def clean(text: object) -> str:
    """Return text from outside on one line, without characters that would steer the terminal of whoever reads it."""
    return clean_line(" ".join(str(text).split()))


def clean_line(line: str) -> str:
    """Return a line of text from outside like `clean`, with its blanks as they are."""
    return "".join(_escape(character) if _is_steering(character) else character for character in line)


def clip(text: object, limit: int = 120) -> str:
    """Return clean text of at most `limit` characters, without its full stop: it goes into another sentence."""
    flat = clean(text).rstrip(". ")
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def shorten_ids(ids: Sequence[str]) -> list[str]:
    """Return the beginnings of run ids, as short as they can be told apart among themselves."""
    ordered = sorted(set(ids))
    needed = {
        run_id: max(
            SHORTEST_ID,
            *(_common(run_id, other) + 1 for other in ordered[max(0, place - 1) : place + 2] if other != run_id),
            SHORTEST_ID,
        )
        for place, run_id in enumerate(ordered)
    }
    return [run_id[: needed[run_id]].rstrip("-") for run_id in ids]


def _common(left: str, right: str) -> int:
    pairs = zip(left, right, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))


def _is_steering(character: str) -> bool:
    # Cc: escape sequences. Cf: direction marks, which let text pose as other text. Cs: cannot be printed at all.
    return unicodedata.category(character) in ("Cc", "Cf", "Cs")


def _escape(character: str) -> str:
    return f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}"
