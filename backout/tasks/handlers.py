"""Python's signal handlers, asked for and set without a search for an enum.

`signal.getsignal` and `signal.signal` look for each handler among the enum's two members, and take 5 µs to find that a
function is none of them. Every step asks for five handlers and sets two; that was a tenth of its time in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import FrameType
from typing import Any, Final, TypeAlias

Handler: TypeAlias = Callable[[int, FrameType | None], Any]

_raw: Final[Any] = import_module("_signal")
"""The C module that `signal` wraps."""


def handler_of(number: int) -> Handler | int | None:
    """Return the handler of a signal; a number for the system's own ways, `None` for one that was not set by Python."""
    handler: Handler | int | None = _raw.getsignal(number)
    return handler


def set_handler(number: int, handler: Handler | int | None) -> Handler | int | None:
    """Set the handler of a signal and return the one before, as `handler_of`. In the main thread only."""
    previous: Handler | int | None = _raw.signal(number, handler)
    return previous
