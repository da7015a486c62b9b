"""Instants as people type them: `2h`, `3d`, `2025-11-22T05:20`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

_UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Since(click.ParamType[timedelta | datetime]):
    """A length of time before now, or an instant in ISO 8601; one without a zone is in the zone of this machine."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta | datetime:
        """Return how long ago, or the instant in UTC."""
        if isinstance(value, timedelta | datetime):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)", value.strip())
        try:
            if found is not None:
                return timedelta(**{_UNITS[found[2]]: float(found[1])})
            return datetime.fromisoformat(value.strip()).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time. Give 30m, 2h or 3d, or an instant such as 2025-11-22T05:20.", param, ctx)


def resolve_since(since: timedelta | datetime | None, now: datetime) -> datetime | None:
    """Return the instant that is meant, aware UTC; `None` when none was given."""
    return now - since if isinstance(since, timedelta) else since
