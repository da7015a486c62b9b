"""Tools for testing pipelines, public as everything that a user's own tests need.

The names are loaded when the first one is used: pytest imports this package for its plugin in every project that has
backout installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from backout.testing.rehearsal.books import RehearsedCall
    from backout.testing.rehearsal.cases import Asked, LeftBehind, Rehearsal, RehearsedCase, Why
    from backout.testing.rehearsal.places import Place, PlaceKind, find_places, select_places
    from backout.testing.rehearsal.runner import rehearse
    from backout.testing.rehearsal.stand_ins import make_stand_ins
    from backout.testing.scratch import Scratch

_PLACES: Final = {
    "Asked": "rehearsal.cases",
    "LeftBehind": "rehearsal.cases",
    "Place": "rehearsal.places",
    "PlaceKind": "rehearsal.places",
    "Rehearsal": "rehearsal.cases",
    "RehearsedCall": "rehearsal.books",
    "RehearsedCase": "rehearsal.cases",
    "Scratch": "scratch",
    "Why": "rehearsal.cases",
    "find_places": "rehearsal.places",
    "make_stand_ins": "rehearsal.stand_ins",
    "rehearse": "rehearsal.runner",
    "select_places": "rehearsal.places",
}

__all__ = [
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

if not TYPE_CHECKING:
    # Not for type checkers: a `__getattr__` that they see makes every misspelt name right.
    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            message = f"module 'backout.testing' has no attribute {name!r}"
            raise AttributeError(message)
        return getattr(import_module(f"backout.testing.{_PLACES[name]}"), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
