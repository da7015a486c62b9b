"""Read the query and the body of a request into their models, or say what is wrong with which field."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar, get_origin

from pydantic import BaseModel, ValidationError

from backout.jsontext import JsonValue
from backout.views.words import clip
from backout.web.fields import is_storable
from backout.web.json_text import read_json
from backout.web.rest.fields import Body, Query
from backout.web.rest.problems import Code, FieldProblem, Problem

BODY_ROOM_BYTES: Final = 65_536
"""What a body may be longer than the longest output."""
LONGEST_NAME: Final = 60

Q = TypeVar("Q", bound=Query)
B = TypeVar("B", bound=Body)


def read_query(model: type[Q], pairs: Sequence[tuple[str, str]]) -> Q:
    """Return what a query says.

    Raises:
        Problem: 422: a parameter is unknown, is there twice, or has a value that cannot be used.
    """
    given: dict[str, Any] = {}
    problems: list[FieldProblem] = []
    for name, value in pairs:
        if _is_list(model, name):
            given.setdefault(name, []).append(value)
        elif name in given:
            problems.append(FieldProblem(field=_show(name), problem="It is given twice."))
        else:
            given[name] = value
    problems += [
        FieldProblem(field=_show(name), problem="It holds characters that cannot be recorded.")
        for name, value in pairs
        if not is_storable(name + value)
    ]
    if problems:
        raise Problem.of_fields(problems, list(model.model_fields))
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _tell(error, model, noun="parameter") from None


def read_body(model: type[B], body: bytes, *, longest_output_bytes: int) -> B:
    """Return what a body says.

    Raises:
        Problem: 400: it is no JSON; 413: it is too long; 422: a field is unknown, missing, or has a value that cannot
            be used; 428: only `expecting` is missing.
    """
    longest = longest_output_bytes + BODY_ROOM_BYTES
    if len(body) > longest:
        raise Problem(
            code=Code.PAYLOAD_TOO_LARGE,
            problem=f"The body has {len(body):,} bytes; the most that is read is {longest:,}.",
            remedy="Store what is large elsewhere, and give its id.",
        )
    read_value(body)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _tell(error, model, noun="field") from None


def read_value(text: bytes | str) -> JsonValue:
    """Return the value of a JSON text.

    Raises:
        Problem: 400: it is none, or one that cannot be recorded.
    """
    try:
        return read_json(text.decode() if isinstance(text, bytes) else text)
    except ValueError as error:
        raise _refuse_json(str(error)) from None


def _refuse_json(why: str) -> Problem:
    return Problem(
        code=Code.INVALID_JSON,
        problem=f"That is no JSON: {clip(why)}.",
        remedy="Send one JSON object in UTF-8.",
    )


def _tell(error: ValidationError, model: type[BaseModel], *, noun: str) -> Problem:
    items = error.errors(include_input=False, include_url=False)
    if any(item["type"] == "json_invalid" for item in items):
        # Nested deeper than is read, or half of a pair of code units.
        return _refuse_json(items[0]["msg"])
    if [(item["type"], item["loc"]) for item in items] == [("missing", ("expecting",))]:
        return Problem(
            code=Code.EXPECTING_MISSING,
            problem="It is not said on which version of the run this was decided.",
            remedy="Look at the preview of the action, and give its `version` as `expecting`.",
        )
    known = list(model.model_fields)
    return Problem.of_fields(list(_tell_fields(items, known, noun)), known)


def _tell_fields(items: Sequence[Any], known: Sequence[str], noun: str) -> Iterator[FieldProblem]:
    for item in items:
        name = str(item["loc"][0]) if item["loc"] else ""
        if item["type"] == "extra_forbidden":
            told = _say_unknown(name, known, noun)
        elif item["type"] == "missing":
            told = "It is missing."
        else:
            told = item["msg"].removeprefix("Value error, ")
        yield FieldProblem(field=_show(name), problem=told if told.endswith(".") else f"{told}.")


def _say_unknown(name: str, known: Sequence[str], noun: str) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    meant = f" Did you mean {close[0]}?" if close else ""
    return f"There is no such {noun}.{meant} There are: {', '.join(known) or 'none'}."


def _show(name: str) -> str:
    """Return a name as it was sent, if need be shortened, and without what cannot be shown."""
    return clip(name, LONGEST_NAME)


def _is_list(model: type[Query], name: str) -> bool:
    field = model.model_fields.get(name)
    return field is not None and get_origin(field.annotation) is tuple
