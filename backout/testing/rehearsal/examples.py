"""An example value of a type, made from its JSON schema: enough for a rehearsal, nothing random."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from pydantic import PydanticInvalidForJsonSchema, TypeAdapter, ValidationError

from backout.jsontext import JsonValue
from backout.pipelines.schema import from_json, problems_of

DEEPEST: Final = 8
"""A type that contains itself is followed this far."""

_BY_FORMAT: Final[Mapping[str, str]] = {
    "date": "2025-01-31",
    "date-time": "2025-01-31T12:00:00Z",
    "time": "12:00:00",
    "duration": "PT1H",
    "email": "someone@example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "01985c3e-7a1b-7000-8000-000000000000",
}


class NoExample(ValueError):
    """No value that fits the type was found; says why."""


def make_example(adapter: TypeAdapter[Any]) -> Any:
    """Return a value that fits a type: examples and defaults that the type declares come first.

    Raises:
        NoExample: none was found, such as for a pattern without an example.
    """
    example = make_json_example(adapter)
    try:
        return from_json(adapter, example)
    except ValidationError as error:
        raise NoExample("; ".join(problems_of(error))) from error


def make_json_example(adapter: TypeAdapter[Any]) -> JsonValue:
    """Return the JSON of an example; nobody has checked yet that it fits.

    Raises:
        NoExample: the type has no JSON schema, or contains itself without end.
    """
    try:
        schema = adapter.json_schema()
    except PydanticInvalidForJsonSchema as error:
        raise NoExample(error.message) from error
    return _Maker(schema.get("$defs", {})).make(schema, 0)


class _Maker:
    """Follows a JSON schema with the definitions that it refers to."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._by_type: Final[Mapping[str, Callable[[Mapping[str, Any], int], JsonValue]]] = {
            "array": self._make_array,
            "boolean": lambda *_: True,
            "integer": lambda schema, _: math.ceil(_make_number(schema, 1)),
            "null": lambda *_: None,
            "number": lambda schema, _: _make_number(schema, 0.5),
            "object": self._make_object,
            "string": lambda schema, _: _make_text(schema),
        }

    def make(self, schema: Any, depth: int) -> JsonValue:
        if depth > DEEPEST:
            message = "the type contains itself without end"
            raise NoExample(message)
        if not isinstance(schema, Mapping):
            return None
        for word in ("examples", "enum"):
            if schema.get(word):
                found: JsonValue = schema[word][0]
                return found
        for word in ("default", "const"):
            if word in schema:
                stated: JsonValue = schema[word]
                return stated
        if "$ref" in schema:
            return self.make(self._definitions[schema["$ref"].rpartition("/")[2]], depth + 1)
        return self._make_composed(schema, depth)

    def _make_composed(self, schema: Mapping[str, Any], depth: int) -> JsonValue:
        choices = schema.get("anyOf") or schema.get("oneOf")
        if choices:
            return self._make_first(choices, depth)
        if "allOf" in schema:
            return self.make({**schema["allOf"][0], **{k: v for k, v in schema.items() if k != "allOf"}}, depth + 1)
        make = self._by_type.get(schema.get("type", ""))
        return make(schema, depth) if make is not None else None

    def _make_first(self, choices: list[Any], depth: int) -> JsonValue:
        """Return the first choice that can be made; nothing is better than a type that contains itself."""
        *others, last = choices
        for choice in others:
            with suppress(NoExample):
                return self.make(choice, depth + 1)
        return self.make(last, depth + 1)

    def _make_object(self, schema: Mapping[str, Any], depth: int) -> JsonValue:
        fields = schema.get("properties", {})
        return {name: self.make(fields.get(name), depth + 1) for name in schema.get("required", [])}

    def _make_array(self, schema: Mapping[str, Any], depth: int) -> JsonValue:
        first = [self.make(item, depth + 1) for item in schema.get("prefixItems", [])]
        missing = schema.get("minItems", 0) - len(first)
        return first + [self.make(schema.get("items"), depth + 1) for _ in range(missing)]


def _make_text(schema: Mapping[str, Any]) -> str:
    known = _BY_FORMAT.get(schema.get("format", ""))
    if known is not None:
        return known
    text = "example".ljust(schema.get("minLength", 0), "x")
    return text[: schema.get("maxLength", len(text))]


def _make_number(schema: Mapping[str, Any], step: float) -> Any:
    """Return 1, or what is nearest to it inside the bounds."""
    lowest = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf) + step)
    highest = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf) - step)
    number = min(max(1, lowest), highest)
    multiple = schema.get("multipleOf")
    return math.ceil(number / multiple) * multiple if multiple else number
