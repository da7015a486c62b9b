"""`sensitive=` at definition time: what can be said, and that the fields which it names exist."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from backout.errors import DefinitionError
from backout.pipelines.functions import TaskFunction
from backout.pipelines.masking import EVERYTHING

FieldNames: TypeAlias = tuple[str, ...] | list[str] | set[str] | frozenset[str]
"""What `sensitive=` takes; not a bare text, which would be taken for its letters."""

MOST_FIELDS_LISTED: Final = 30


def check_sensitive(subject: str, declared: object) -> tuple[str, ...]:
    """Return the names of sensitive fields as a plan stores them, sorted; refuse what names no field."""
    if not isinstance(declared, tuple | list | set | frozenset):
        raise DefinitionError(
            subject=subject,
            problem=f"sensitive={declared!r:.80} is no list of names",
            remedy='Give a tuple, also for one name: sensitive=("card_number",).',
        )
    for word in declared:
        if not isinstance(word, str) or not (word == EVERYTHING or re.fullmatch(r"[^.*\0]+(\.[^.*\0]+)*", word)):
            raise DefinitionError(
                subject=subject,
                problem=f"sensitive names {word!r:.80}, which is no field",
                remedy='Give a name ("card_number"), a path ("customer.iban"), or "*" for everything.',
            )
    return tuple(sorted(set(declared)))


def check_fields_of_input(
    subject: str, declared: tuple[str, ...], functions: Sequence[TaskFunction]
) -> tuple[str, ...]:
    """Refuse names of fields that the input cannot have: a misspelt one would leak in silence.

    Args:
        subject: the pipeline, for the message.
        declared: as `check_sensitive` returned them.
        functions: the steps, each with what it takes the input for.

    Returns:
        The names under which a plan stores them, sorted: those declared, and the aliases of their fields.
    """
    if not declared:
        return declared
    shapes = [_read_shape(function.schema.argument_types[0]) for function in functions]
    # A step that takes anything says nothing of the fields; the others do.
    told = [shape for shape in shapes if not shape.is_open] or shapes
    _check(subject, declared, told, what="the input")
    # Plain names are hidden in outputs too, where a field may have another alias.
    outputs = [_read_shape(function.schema.output_type) for function in functions]
    names = _with_aliases([word for word in declared if "." not in word], outputs)
    return tuple(sorted({*_with_aliases(declared, shapes), *names}))


def check_fields_of_step(subject: str, declared: tuple[str, ...], function: TaskFunction) -> tuple[str, ...]:
    """Refuse names that are neither a field of what a step returns nor one of the external ids that it records.

    Returns:
        As `check_fields_of_input`.
    """
    if not declared:
        return declared
    ids, shapes = function.recorded_ids, [_read_shape(function.schema.output_type)]
    if ids.is_complete:
        _check(subject, declared, shapes, what="its output", also=ids.names)
    else:
        # It may record ids of any name; only a path leads to its output for certain.
        _check(subject, [word for word in declared if "." in word], shapes, what="its output")
    return tuple(sorted(_with_aliases(declared, shapes)))


@dataclass(slots=True, kw_only=True, eq=False)
class _Shape:
    """The fields that a type has in JSON. Filled after it is made: a type may have itself for a field.

    Attributes:
        fields: by their names, and by their aliases where these are others.
        twins: the alias of a name, and the name of an alias.
        others: what the type may be as well, or what is in it as a list.
        has_any: it may have fields of any name.
    """

    fields: dict[str, _Shape] = field(default_factory=dict)
    twins: dict[str, str] = field(default_factory=dict)
    others: list[_Shape] = field(default_factory=list)
    has_any: bool = False

    def here(self) -> list[_Shape]:
        """Return all that the type may be at this place, itself first."""
        found = [self]
        for shape in found:
            found += [other for other in shape.others if other not in found]
        return found

    @property
    def is_open(self) -> bool:
        """At this place a field of any name may be."""
        return any(shape.has_any for shape in self.here())

    def names(self) -> set[str]:
        """Return the names of its fields, at any depth."""
        return {name for shape in self._at_any_depth() for name in shape.fields}

    def spellings(self, name: str) -> set[str]:
        """Return the other names that fields of a name have, at any depth."""
        return {shape.twins[name] for shape in self._at_any_depth() if name in shape.twins}

    def paths(self, path: tuple[str, ...]) -> set[tuple[str, ...]]:
        """Return the ways to write a path, itself included: each model on the way has aliases or has none."""
        written = {path}
        for shape in self.here() if path else ():
            if path[0] in shape.fields:
                firsts = {path[0], shape.twins.get(path[0], path[0])}
                rests = shape.fields[path[0]].paths(path[1:])
                written |= {(first, *rest) for first in firsts for rest in rests}
        return written

    def _at_any_depth(self) -> list[_Shape]:
        found = self.here()
        for shape in found:
            inner = [one for below in shape.fields.values() for one in below.here()]
            found += [one for one in dict.fromkeys(inner) if one not in found]
        return found

    def has_path(self, path: Sequence[str]) -> bool:
        """Return whether a path leads somewhere, or may."""
        if not path or self.is_open:
            return True
        below = (shape.fields[path[0]] for shape in self.here() if path[0] in shape.fields)
        return any(shape.has_path(path[1:]) for shape in below)


def _check(
    subject: str, declared: Sequence[str], shapes: Sequence[_Shape], *, what: str, also: frozenset[str] = frozenset()
) -> None:
    if any(shape.is_open for shape in shapes):
        return
    names = also.union(*(shape.names() for shape in shapes))
    for word in declared:
        is_known = word in names or any(shape.has_path(word.split(".")) for shape in shapes)
        if word != EVERYTHING and not is_known:
            raise _refuse(subject, word, sorted(names), what)


def _with_aliases(declared: Iterable[str], shapes: Sequence[_Shape]) -> set[str]:
    """Return names and paths in all their spellings: which of them is stored is the setting of each model."""
    spelt: set[str] = set()
    for word in declared:
        written = [path for shape in shapes for path in shape.paths(tuple(word.split(".")))] if "." in word else []
        names = [name for shape in shapes for name in shape.spellings(word)] if "." not in word else []
        spelt |= {word, *names, *(".".join(path) for path in written)}
    return spelt


def _refuse(subject: str, word: str, names: Sequence[str], what: str) -> DefinitionError:
    close = difflib.get_close_matches(word.rpartition(".")[2], names, n=3)
    hint = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
    more = f" and {len(names) - MOST_FIELDS_LISTED:,} more" if len(names) > MOST_FIELDS_LISTED else ""
    listed = f"Fields: {', '.join(names[:MOST_FIELDS_LISTED])}{more}. " if names else "It has no fields. "
    return DefinitionError(
        subject=subject,
        problem=f"sensitive names {word!r}, and {what} has no such field",
        remedy=f'{hint}{listed}A field inside a dictionary needs its whole path; "*" masks everything.',
    )


def _read_shape(adapter: TypeAdapter[Any]) -> _Shape:
    """Return the fields of a type, by the names under which it may be stored."""
    try:
        named = adapter.json_schema(by_alias=False, mode="serialization")
        aliased = adapter.json_schema(by_alias=True, mode="serialization")
    except PydanticUserError:
        # It can be stored and not be described; then nothing is known of its fields.
        return _Shape(has_any=True)
    return _Reader(named.get("$defs", {}), aliased.get("$defs", {})).read(named, aliased)


class _Reader:
    """Reads a JSON schema and its twin with aliases, which differ in names only; what has a name in it is read once."""

    def __init__(self, definitions: Mapping[str, Any], aliased: Mapping[str, Any]) -> None:
        self._definitions: Final = definitions
        self._aliased: Final = aliased
        self._known: Final[dict[str, _Shape]] = {}

    def read(self, schema: Any, aliased: Any) -> _Shape:
        """Return the fields of a schema."""
        shape = _Shape()
        self._fill(shape, schema, aliased)
        return shape

    def _read_named(self, name: str) -> _Shape:
        if name not in self._known:
            # Known before it is read: a type that has itself for a field leads back here.
            self._known[name] = _Shape()
            self._fill(self._known[name], self._definitions.get(name, True), self._aliased.get(name, True))
        return self._known[name]

    def _fill(self, shape: _Shape, schema: Any, aliased: Any) -> None:
        if not isinstance(schema, Mapping) or not _SAYS_KIND & schema.keys():
            # Anything, with a title perhaps.
            shape.has_any = True
            return
        if "$ref" in schema:
            shape.others.append(self._read_named(schema["$ref"].rpartition("/")[2]))
        shape.others += map(self.read, _parts_of(schema), _parts_of(aliased))
        properties = schema.get("properties", {})
        # In the same order; two fields of one alias are one there, and then their names are all that is known.
        twins = aliased.get("properties", {})
        twins = twins if len(twins) == len(properties) else properties
        for (name, described), (alias, twin) in zip(properties.items(), twins.items(), strict=True):
            shape.fields[name] = self.read(described, twin)
            if alias != name:
                shape.fields.setdefault(alias, shape.fields[name])
                shape.twins.update({name: alias, alias: name})
        if schema.get("type") == "object":
            shape.has_any = schema.get("additionalProperties", "properties" not in schema) is not False


def _parts_of(schema: Mapping[str, Any]) -> list[Any]:
    parts = [part for word in ("anyOf", "oneOf", "allOf", "prefixItems") for part in schema.get(word, ())]
    return [*parts, *([schema["items"]] if "items" in schema else [])]


_SAYS_KIND: Final = frozenset({"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"})
