"""Reads of entries for those who follow what happens, in one run or in all; nothing here changes a row."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, func, or_, select

from backout.events import Event
from backout.identifiers import RunId
from backout.ledger.models import entry, run
from backout.ledger.records import EntryRecord
from backout.states import Direction

RANGES: Final = 200
"""How many ranges of ids one statement asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedEntry:
    """An entry and the pipeline of its run; `None` where the entry has no run, or the run is gone."""

    entry: EntryRecord
    pipeline: str | None


_FOLLOWED: Final = (
    select(*(entry.c[name] for name in EntryRecord.__dataclass_fields__), run.c.pipeline)
    .join_from(entry, run, run.c.id == entry.c.run_id, isouter=True)
    .order_by(entry.c.id)
)


def list_entries_after(
    connection: Connection, after_id: int, *, limit: int, run_id: RunId | None = None
) -> list[FollowedEntry]:
    """Return the next entries of all runs, or of one, in the order of their ids.

    Ids are given out before the commit: an entry with a smaller id than one that was returned may still be on its way.
    """
    return _read(connection, _of(_FOLLOWED, run_id).where(entry.c.id > after_id).limit(limit))


def list_last_entries(connection: Connection, *, limit: int, run_id: RunId | None = None) -> list[FollowedEntry]:
    """Return the newest entries of all runs, or of one, in the order of their ids."""
    statement = _of(_FOLLOWED.order_by(None), run_id).order_by(entry.c.id.desc()).limit(limit)
    return _read(connection, statement)[::-1]


def list_entries_of(connection: Connection, run_ids: Collection[RunId]) -> list[FollowedEntry]:
    """Return all entries of some runs that are young, in the order of their ids."""
    return _read(connection, _FOLLOWED.where(entry.c.run_id.in_(run_ids)))


def list_entries_between(
    connection: Connection, ranges: Sequence[tuple[int, int]], *, limit: int
) -> list[FollowedEntry]:
    """Return entries whose ids are in one of some ranges, both ends included, in the order of the ranges.

    Args:
        connection: any.
        ranges: first and last id; a statement for each 200 of them.
        limit: the most to return.
    """
    found: list[FollowedEntry] = []
    for start in range(0, len(ranges), RANGES):
        if len(found) < limit:
            some = (entry.c.id.between(first, last) for first, last in ranges[start : start + RANGES])
            found += _read(connection, _FOLLOWED.where(or_(*some)).limit(limit - len(found)))
    return found


def find_last_ids(connection: Connection, run_ids: Collection[RunId]) -> dict[RunId, int]:
    """Return the id of the newest entry of each run that has any."""
    statement = select(entry.c.run_id, func.max(entry.c.id).label("id")).where(entry.c.run_id.in_(run_ids))
    return {RunId(row.run_id): row.id for row in connection.execute(statement.group_by(entry.c.run_id))}


def _of(statement: Select[Any], run_id: RunId | None) -> Select[Any]:
    return statement if run_id is None else statement.where(entry.c.run_id == run_id)


def _read(connection: Connection, statement: Select[Any]) -> list[FollowedEntry]:
    return [_followed(row) for row in connection.execute(statement)]


def _followed(row: Row[Any]) -> FollowedEntry:
    values = dict(row._mapping)
    pipeline = values.pop("pipeline")
    direction = Direction(values["direction"]) if values["direction"] is not None else None
    record = EntryRecord(**{**values, "direction": direction, "event": Event(values["event"])})
    return FollowedEntry(entry=record, pipeline=pipeline)
