"""What `backout.testing` offers: a list that does not change by accident, loaded when it is used."""

from __future__ import annotations

import inspect

import pytest

from backout import testing

PUBLIC = [
    "Asked",
    "LeftBehind",
    "Place",
    "PlaceKind",
    "Rehearsal",
    "RehearsedCall",
    "RehearsedCase",
    "Scratch",
    "Why",
    "find_places",
    "make_stand_ins",
    "rehearse",
    "select_places",
]


def test_public_names_are_these() -> None:
    """A name that is added or goes is added or taken away here as well, on purpose; completion finds them."""
    assert testing.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(testing))


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_can_be_used_and_has_a_docstring(name: str) -> None:
    """`help()` says in one sentence what it is for."""
    value = getattr(testing, name)
    assert value.__name__ == name
    assert (inspect.getdoc(value) or "").partition("\n")[0].endswith(".")


def test_name_that_is_not_public_is_no_attribute() -> None:
    """A misspelt name fails as in any other module."""
    with pytest.raises(AttributeError, match=r"module 'backout\.testing' has no attribute 'rehears'"):
        _ = testing.rehears  # type: ignore[attr-defined] # what is tested
