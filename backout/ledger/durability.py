"""What decides whether a commit that was confirmed survives a crash of the database's machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DurabilitySetting:
    """A setting of the database that decides whether a commit survives a crash of its machine.

    Attributes:
        is_safe: with this value a commit that was confirmed is still there after the machine has lost its power.
        remedy: what to write where the value is not safe.
    """

    name: str
    value: str
    is_safe: bool
    remedy: str
