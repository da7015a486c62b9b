"""Which external ids a step records, as far as its source shows it. Reads the source; calls nothing."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

METHOD: Final = "record_external_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedIds:
    """What is known of the external ids of a function.

    Attributes:
        names: that it is seen to record.
        is_complete: it records no others. False when that cannot be seen: a name that is not literal, a context that is
            handed on to another function, or no source at all.
    """

    names: frozenset[str] = frozenset()
    is_complete: bool = False

    @property
    def are_certainly_none(self) -> bool:
        """True when the function records no external id, whatever happens."""
        return self.is_complete and not self.names


UNSEEN: Final = RecordedIds()
"""What is known where there is no source."""


def read_recorded_ids(function: Callable[..., Any], *, data_arguments: int) -> RecordedIds:
    """Return which external ids a user's function records.

    Args:
        function: the step's function.
        data_arguments: how many of its arguments are data; the one after them is the context.
    """
    if hasattr(function, "__wrapped__"):
        return UNSEEN  # Its source is that of the wrapped function, and the wrapper may record more.
    try:
        parameters = list(inspect.signature(function).parameters)
        definition = _parse(inspect.getsource(function))
    except (OSError, TypeError, ValueError, SyntaxError):
        return UNSEEN
    # A file that was changed since it was imported may have another function there.
    if definition is None or definition.name != getattr(function, "__name__", None):
        return UNSEEN
    if len(parameters) <= data_arguments:
        return RecordedIds(is_complete=True)
    return _look_through(definition, parameters[data_arguments])


def _parse(source: str) -> ast.FunctionDef | None:
    body = ast.parse(textwrap.dedent(source)).body
    return body[0] if len(body) == 1 and isinstance(body[0], ast.FunctionDef) else None


def _look_through(definition: ast.FunctionDef, context: str) -> RecordedIds:
    names: set[str] = set()
    seen: set[int] = set()
    for node in ast.walk(definition):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=attribute) as method):
                name = _literal_name(node) if (owner, attribute) == (context, METHOD) else None
                if name is not None:
                    names.add(name)
                    seen.add(id(method))
    uses = [node for node in ast.walk(definition) if isinstance(node, ast.Name) and node.id == context]
    # Other attributes of the context are only read; the context itself and its method could go anywhere.
    harmless = {
        id(node.value)
        for node in ast.walk(definition)
        if isinstance(node, ast.Attribute) and (node.attr != METHOD or id(node) in seen)
    }
    return RecordedIds(names=frozenset(names), is_complete=all(id(node) in harmless for node in uses))


def _literal_name(call: ast.Call) -> str | None:
    given = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "name")]
    match given:
        case [ast.Constant(value=str(name))]:
            return name
    return None
