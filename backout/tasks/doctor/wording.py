"""Lengths of time and lists of names in the words of findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

MOST_NAMES: Final = 5


def say_seconds(seconds: float) -> str:
    """Return a length of time in one unit: `0.5 s`, `90 s`, `12 min`, `1.5 h`, `2 d`."""
    for size, unit, longest in ((1, "s", 120), (60, "min", 3600), (3600, "h", 172_800)):
        if seconds < longest:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 86_400:.3g} d"


def say_count(count: int, noun: str) -> str:
    """Return a count with its noun: `1 row`, `3 rows`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def say_names(names: Iterable[str], *, most: int = MOST_NAMES) -> str:
    """Return names as they are read: `a`, `a and b`, `a, b, c, d, e and 3 more`."""
    shown = sorted(set(names))
    rest = len(shown) - most
    parts = [*shown[:most], f"{rest} more"] if rest > 0 else shown
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def say_deed(names: Iterable[str], one: str, several: str) -> str:
    """Return names with a verb that fits their number: `a takes`, `a and b take`."""
    known = set(names)
    return f"{say_names(known)} {one if len(known) == 1 else several}"


def say_options(options: Mapping[str, object]) -> str:
    """Return options of the broker's transport, ready to paste into the Celery configuration."""
    listed = ", ".join(f'"{name}": {value}' for name, value in options.items())
    return f"app.conf.broker_transport_options |= {{{listed}}}"
