"""JSON that somebody has typed or sent, read more strictly than by the standard library, which takes what is none."""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

from backout.jsontext import JsonValue

MOST_LEVELS: Final = 100
"""How deep lists and objects may be in each other; whoever shows the record later goes down by calls of functions."""


def read_json(text: str) -> JsonValue:
    """Return the value of a JSON text that somebody has typed or sent.

    Raises:
        ValueError: it is none, or one that cannot be recorded, or that one reader takes for this and another for that;
            the message says why.
    """
    try:
        found: JsonValue = json.loads(
            text, parse_constant=_refuse_constant, parse_float=_read_float, object_pairs_hook=_read_object
        )
    except RecursionError:
        message = "it is nested too deep"
        raise ValueError(message) from None
    _require_shallow(found)
    return found


def _refuse_constant(name: str) -> NoReturn:
    message = f"JSON has no {name}"
    raise ValueError(message)


def _read_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        message = f"{text:.20} is larger than any number that can be recorded"
        raise ValueError(message)
    return number


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        message = "an object has a name twice"
        raise ValueError(message)
    return found


def _require_shallow(value: JsonValue) -> None:
    level: list[JsonValue] = [value]
    for _ in range(MOST_LEVELS + 1):
        inner = [list(one.values()) if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [item for items in inner for item in items]
        if not inner:
            return
    message = f"it is nested deeper than {MOST_LEVELS} levels"
    raise ValueError(message)
