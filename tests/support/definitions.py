"""Steps for tests of definitions: each under a name of its own, because every step is registered for good."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from backout.errors import DefinitionError
from backout.pipelines.decorators import DecoratedStep, step

_numbers = itertools.count()


def unique(word: str = "step") -> str:
    """Return a name that no other test has registered."""
    return f"{word}_{next(_numbers)}"


def charge(order: dict[str, int], ctx: Any) -> dict[str, int]:
    return order


def make(function: Any = charge, **keywords: Any) -> DecoratedStep[..., Any]:
    """Make a step of a new name; it keeps what it did unless told otherwise."""
    if not keywords.keys() & {"keep", "irreversible"} and keywords.get("effect") != "read":
        keywords["keep"] = "it is harmless"
    decorated: DecoratedStep[..., Any] = step(name=unique(), **keywords)(function)
    return decorated


def make_bare(**keywords: Any) -> DecoratedStep[..., Any]:
    """Make a step of a new name that names no recovery action by itself."""
    decorated: DecoratedStep[..., Any] = step(name=unique(), **keywords)(charge)
    return decorated


def refund(order: dict[str, int], output: dict[str, int] | None, ctx: Any) -> None: ...


def compensate(made: DecoratedStep[..., Any], function: Callable[..., Any] = refund, **keywords: Any) -> None:
    made.compensation(**{"action": "refund", "name": unique("refund"), **keywords})(function)


def refused(work: Callable[[], object]) -> DefinitionError:
    """Return the refusal of a definition; it always has a subject, a problem and a remedy."""
    with pytest.raises(DefinitionError) as caught:
        work()
    error = caught.value
    assert error.subject
    assert error.problem
    assert error.remedy[-1] in ".?"
    return error
