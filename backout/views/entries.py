"""What happened, entry by entry, in words."""

from __future__ import annotations

from collections.abc import Mapping

from backout.ledger.records import EntryRecord
from backout.states import Direction
from backout.views.words import clean, clip

LONGEST_TEXT = 300


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
