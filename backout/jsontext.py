"""JSON as the ledger stores it."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
"""A value that JSON can express."""


def dump_json(value: object) -> str:
    """Return compact JSON text.

    Raises:
        ValueError: the value holds a number that JSON has no word for (NaN, infinity).
        TypeError: the value holds something that JSON cannot express.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def load_json(text: str | bytes) -> Any:
    """Return the value of a JSON text that `dump_json` made."""
    return json.loads(text)
