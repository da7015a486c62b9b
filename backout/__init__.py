"""Celery pipelines with compensation chains: every step is in a SQL ledger before its message is acknowledged.

The public names are those of `backout.api`. They are loaded when the first one is used: every Celery command imports
this package through its entry point, also those that have nothing to do with it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from backout.api import *  # noqa: F403 - the same names, for type checkers
    from backout.api import __all__ as __all__
else:
    # Not for type checkers: a `__getattr__` that they see makes every misspelt name right.
    def __getattr__(name: str) -> Any:
        if name.startswith("_") and name != "__all__":
            raise AttributeError(name)
        api = import_module("backout.api")
        try:
            return getattr(api, name)
        except AttributeError:
            message = f"module 'backout' has no attribute {name!r}"
            raise AttributeError(message) from None

    def __dir__() -> list[str]:
        return sorted({*globals(), *import_module("backout.api").__all__})
