"""Which versions are installed, and for which ones the tests have run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final

TESTED: Final[Mapping[str, tuple[str, str]]] = {
    "celery": ("5.7.0", "5.8"),
    "kombu": ("5.7.0", "5.8"),
    "redis": ("6.4.0", "9"),
    "sqlalchemy": ("2.1.0", "2.2"),
    "alembic": ("1.20.0", "2"),
    "psycopg": ("3.3.0", "4"),
    "pymysql": ("1.1.1", "2"),
}
"""Package to the lowest version and the first one that is not covered; those of `pyproject.toml`, a test compares."""


@cache
def installed_versions() -> dict[str, str]:
    """Return the versions in this process; a package that is not installed is left out."""
    found: dict[str, str] = {}
    for package in ("backout", *TESTED):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def is_tested(package: str, found: str) -> bool:
    """Return whether a version lies in the tested range; a package without a range does."""
    lowest, first_beyond = TESTED.get(package, ("0", "9999"))
    return _numbers(lowest) <= _numbers(found) < _numbers(first_beyond)


def _numbers(text: str) -> tuple[int, ...]:
    """Return the release numbers without what follows them: `5.8.0rc1` counts as 5.8.0."""
    matched = re.match(r"\d+(?:\.\d+)*", text)
    numbers = [int(part) for part in matched[0].split(".")] if matched else []
    return tuple(numbers + [0] * (4 - len(numbers)))
