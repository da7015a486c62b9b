"""JSON as the ledger stores it."""

from __future__ import annotations

import json
from typing import Any, Final, TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
"""A value that JSON can express."""


def dump_json(value: object) -> str:
    """Return compact JSON text.

    Raises:
        ValueError: the value holds a number that JSON has no word for (NaN, infinity).
        TypeError: the value holds something that JSON cannot express.
    """
    return _encoder.encode(value)


def load_json(text: str | bytes) -> Any:
    """Return the value of a JSON text that `dump_json` made."""
    # Looking for the encoding of bytes takes longer than reading them.
    return _decoder.decode(text if isinstance(text, str) else text.decode())


# `json.dumps` would make an encoder for each value: a third of the time of a small one.
_encoder: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_decoder: Final = json.JSONDecoder()
