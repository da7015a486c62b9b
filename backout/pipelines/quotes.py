"""Find values where a text quotes them, and hide them there. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

MASK: Final = "[masked]"
"""What is shown instead: the same for every value, so that nothing can be told from its length."""
SHORTEST_HIDDEN: Final = 4
"""Characters. What is shorter is masked in its field, and not looked for in text: it would be found everywhere."""
_REJECTED_INPUT: Final = re.compile(r"input_value=.*?, input_type=", re.DOTALL)
"""How pydantic quotes what it refuses: shortened, so that a value in it is no longer found whole."""
_FIELD_NAME: Final = re.compile(r"([^\W\d]|-)+\d{0,2}")
"""What may be the name of a model's field. The plan does not tell models from dictionaries, and `name` is no secret."""
_REJECTED: Final = f"input_value={MASK}, input_type="


class Quotes:
    """The ways in which some values may stand in a text.

    Args:
        values: JSON values; of lists and dictionaries what is inside of them, also their keys where these look like
            data and not like the fields of a model.
    """

    def __init__(self, values: Iterable[Any]) -> None:
        spellings = {spelling: pattern for value in values for spelling, pattern in _spell(value)}
        # The longest first: of two that begin alike the shorter one would leave the end of the other.
        longest_first = sorted(spellings, key=lambda one: (-len(one), one))
        self._sought: Final = tuple(_Sought(folded=one.casefold(), pattern=spellings[one]) for one in longest_first)

    def hide(self, text: str) -> str:
        """Return a text in which none of the values stands, whatever its case."""
        told = _REJECTED_INPUT.sub(_REJECTED, text)
        folded = told.casefold()
        # One pattern of those alone that are there: of many thousands it would be slow to make and slow to search with.
        found = "|".join(one.pattern for one in self._sought if one.folded in folded)
        return _cover(told, found) if found else told


def _cover(text: str, pattern: str) -> str:
    shown: list[str] = []
    end = 0
    # Looked for at each place, also inside of one that is found: values that overlap would leave their ends in sight.
    for found in re.finditer(f"(?=({pattern}))", text, re.IGNORECASE):
        start, stop = found.span(1)
        if start >= end:
            shown += (text[end:start], MASK)
        end = max(end, stop)
    return "".join((*shown, text[end:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sought:
    """A way in which a sensitive value is written in text.

    Attributes:
        folded: what the text has in it, if it is there, whatever the case.
        pattern: finds it.
    """

    folded: str
    pattern: str


def _spell(value: Any) -> Iterator[tuple[str, str]]:
    """Yield every way in which a value, or one inside it, is written in text, with a pattern that finds it."""
    if isinstance(value, Mapping):
        value = [*(name for name in value if not _FIELD_NAME.fullmatch(name)), *value.values()]
    if isinstance(value, list | tuple):
        for item in value:
            yield from _spell(item)
    elif isinstance(value, str) and len(value.strip()) >= SHORTEST_HIDDEN:
        text = value.strip()
        # As it is, and as Python and JSON quote it.
        quoted = (repr(text), json.dumps(text), json.dumps(text, ensure_ascii=False))
        yield from ((one, re.escape(one)) for one in (text, *(one[1:-1] for one in quoted)))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        numbers = (one for one in (str(value), json.dumps(value)) if len(one) >= SHORTEST_HIDDEN)
        yield from ((one, rf"(?<!\d){re.escape(one)}(?!\d)") for one in numbers)
