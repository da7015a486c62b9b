"""The annotations of a user's function, read as the schema of what goes in and what comes out."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ConfigDict, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from backout.errors import DefinitionError
from backout.jsontext import JsonValue, dump_json


@dataclass(frozen=True, slots=True)
class NotDone:
    """A reconcile function's answer: the effect did not happen, the step may run again."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A reconcile function's answer: nobody can tell whether the effect happened; a person is asked."""

    why: str


class Unserialisable(ValueError):
    """A value does not fit its declared type, or JSON cannot express it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The types of one function, resolved.

    Attributes:
        argument_types: one adapter for each data argument, in order (the context is no data).
        output_type: the adapter of what the function returns.
        takes_context: whether the context is passed as the last argument.
        declares_output: whether the function says what it returns.
    """

    argument_types: tuple[TypeAdapter[Any], ...]
    output_type: TypeAdapter[Any]
    takes_context: bool
    declares_output: bool


def read_schema(function: Callable[..., Any], *, subject: str, data_arguments: int) -> Schema:
    """Resolve the annotations of a function whose signature has been accepted.

    Raises:
        DefinitionError: an annotation cannot be resolved, or pydantic has no schema for it.
    """
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise DefinitionError(
            subject=subject,
            problem=f"its annotations cannot be resolved ({error})",
            remedy="Import the types at module level, not only under TYPE_CHECKING: they are the schema of the step.",
        ) from error
    names = list(inspect.signature(function).parameters)
    output = _without_answers(hints.get("return", Any))
    return Schema(
        argument_types=tuple(_adapter(hints.get(name, Any), subject) for name in names[:data_arguments]),
        output_type=_adapter(output, subject),
        takes_context=len(names) > data_arguments,
        declares_output="return" in hints,
    )


def to_json(adapter: TypeAdapter[Any], value: object) -> JsonValue:
    """Validate a value and return it as JSON. Raises as `to_json_text`."""
    return to_json_text(adapter, value)[0]


def to_json_text(adapter: TypeAdapter[Any], value: object) -> tuple[JsonValue, bytes]:
    """Validate a value and return it as JSON, and the JSON as encoded text.

    Raises:
        Unserialisable: the value does not fit the type, or JSON cannot express it.
    """
    try:
        dumped: JsonValue = adapter.dump_python(adapter.validate_python(value), mode="json")
        # Encoded too: half a surrogate pair is text to Python and to nobody else.
        return dumped, dump_json(dumped).encode()
    except (ValidationError, PydanticSerializationError, ValueError, TypeError) as error:
        raise Unserialisable("; ".join(problems_of(error))) from error


def from_json(adapter: TypeAdapter[Any], stored: JsonValue) -> Any:
    """Return the typed value of stored JSON.

    Raises:
        pydantic.ValidationError: the stored value does not fit the type that this worker declares.
    """
    return adapter.validate_json(dump_json(stored))


def problems_of(error: Exception) -> tuple[str, ...]:
    """Return what a validation found, one line for each problem, without the value that was given."""
    if not isinstance(error, ValidationError):
        return (str(error),)
    return tuple(
        f"{'.'.join(map(str, item['loc']))}: {item['msg']}" if item["loc"] else item["msg"] for item in error.errors()
    )


_adapters: Final[dict[Any, TypeAdapter[Any]]] = {}
"""One for each type: the steps of a pipeline share most of theirs, and each takes about a millisecond to make."""


def _adapter(annotation: Any, subject: str) -> TypeAdapter[Any]:
    try:
        known = _adapters.get(annotation)
    except TypeError:
        # Annotated with something that cannot be a key.
        return _new_adapter(annotation, subject)
    if known is None:
        known = _adapters[annotation] = _new_adapter(annotation, subject)
    return known


def _new_adapter(annotation: Any, subject: str) -> TypeAdapter[Any]:
    try:
        adapter = _make_adapter(annotation)
    except PydanticUserError as error:
        why = "" if isinstance(error, PydanticSchemaGenerationError) else f" ({error.message})"
        raise DefinitionError(
            subject=subject,
            problem=f"{annotation!r} has no JSON schema{why}",
            remedy="Use a pydantic model, a dataclass or a JSON type, and pass ids instead of live objects.",
        ) from error
    if not adapter.pydantic_complete and not adapter.rebuild(raise_errors=False):
        raise DefinitionError(
            subject=subject,
            problem=f"the fields of {annotation!r} have types that cannot be resolved",
            remedy="Import the types at module level, not only under TYPE_CHECKING: they are the schema of the step.",
        )
    return adapter


def _make_adapter(annotation: Any) -> TypeAdapter[Any]:
    try:
        # By default pydantic writes NaN as null where no type is declared.
        return TypeAdapter(annotation, config=ConfigDict(ser_json_inf_nan="constants"))
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":
            raise
        # Models and dataclasses have a configuration of their own.
        return TypeAdapter(annotation)


_ANSWERS: Final = (NotDone, Unknown)


def _without_answers(annotation: Any) -> Any:
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return Any if annotation in _ANSWERS else annotation
    kept = tuple(argument for argument in typing.get_args(annotation) if argument not in _ANSWERS)
    return typing.Union[kept] if kept else Any  # noqa: UP007 - built from a tuple
