"""Which runs a list shows, and how many there are: statements that stay on an index at a million runs.

A list is read as the newest few of each of several heads, such as one for each state, and then the newest of those: an
index on (state, id) gives the newest of one state at once, and those of several only by reading them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, func, literal, select, union, union_all

from backout.identifiers import RunId, first_run_id_at
from backout.ledger.dialects import dialect_of, holds_value
from backout.ledger.models import run
from backout.states import RunState

NEWEST_SEARCHED: Final = 50_000
"""Among so many of the newest runs an external id is looked for where a database has no index of them."""

_LEAST_ID: Final = RunId(str(UUID(int=0)))
_Conditions = tuple[ColumnElement[bool], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowed:
    """What a list is narrowed by; see `queries.list_runs`."""

    pipeline: str | None
    states: Sequence[RunState]
    text: str | None
    needs_person: bool
    enqueued_since: datetime | None
    changed_since: datetime | None
    before: RunId | None


def newest_ids(connection: Connection, wanted: Narrowed, *, limit: int) -> Select[Any]:
    """Return the statement that selects the ids of the newest runs, as `id`."""
    heads = [select(run.c.id).where(*head).order_by(run.c.id.desc()).limit(limit) for head in _heads(wanted)]
    if wanted.text is not None:
        heads.append(_with_external_id(connection, wanted, wanted.text))
    parts = [head.subquery() for head in heads]
    found = union(*(select(part.c.id) for part in parts)).subquery()
    return select(found.c.id).order_by(found.c.id.desc()).limit(limit)


def _heads(wanted: Narrowed) -> list[_Conditions]:
    filters = _filters(wanted)
    if wanted.text is not None:
        return [(*filters, *_state(wanted), match) for match in _matches(wanted.text)]
    if wanted.needs_person:
        return [(*filters, *_state(wanted))]
    if wanted.pipeline is None and not wanted.states:
        return [filters]
    return [(*filters, run.c.state == state.value) for state in wanted.states or RunState]


def _filters(wanted: Narrowed) -> _Conditions:
    """Return what is true of every run of the list, apart from its state and the text."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.pipeline is not None:
        conditions.append(run.c.pipeline == wanted.pipeline)
    if wanted.needs_person:
        conditions.append(run.c.requires_human_review)
    if wanted.enqueued_since is not None:
        conditions.append(run.c.id >= first_run_id_at(wanted.enqueued_since))
    if wanted.changed_since is not None:
        conditions.append(run.c.updated_at >= wanted.changed_since)
    if wanted.before is not None:
        conditions.append(run.c.id < wanted.before)
    return tuple(conditions)


def _state(wanted: Narrowed) -> _Conditions:
    return (run.c.state.in_([state.value for state in wanted.states]),) if wanted.states else ()


def _matches(text: str) -> list[ColumnElement[bool]]:
    matches: list[ColumnElement[bool]] = [run.c.source_event_id == text, run.c.subject_id == text]
    try:
        return [*matches, run.c.id == str(UUID(text))]
    except ValueError:
        return matches


def _with_external_id(connection: Connection, wanted: Narrowed, text: str) -> Select[Any]:
    # Not only the newest few: PostgreSQL takes one run in a hundred to have the value, whatever it is, and would look
    # for so few from the newest run on, through all of them.
    found = select(run.c.id).where(*_filters(wanted), *_state(wanted), holds_value(run.c.external_ids, text))
    if dialect_of(connection.dialect.name).indexes_json_values:
        return found
    return found.where(run.c.id >= _oldest_searched(wanted.before))


def _oldest_searched(before: RunId | None) -> ColumnElement[Any]:
    newest = select(run.c.id).order_by(run.c.id.desc()).offset(NEWEST_SEARCHED - 1).limit(1)
    if before is not None:
        newest = newest.where(run.c.id < before)
    # A ledger with fewer runs is searched from its first.
    return func.coalesce(newest.correlate(None).scalar_subquery(), literal(_LEAST_ID, run.c.id.type))


def count_each_state(pipeline: str | None, *, at_most: int) -> Select[Any]:
    """Return the statement that counts runs by `state`, as `runs`, and stops one after `at_most` in each state."""
    counted = [
        select(literal(state.value).label("state"), func.count().label("runs")).select_from(
            select(run.c.id).where(*_of(pipeline), run.c.state == state.value).limit(at_most + 1).subquery(),
        )
        for state in RunState
    ]
    by_state = union_all(*counted).subquery()
    return select(by_state.c.state, by_state.c.runs).where(by_state.c.runs > 0)


def _of(pipeline: str | None) -> _Conditions:
    return (run.c.pipeline == pipeline,) if pipeline is not None else ()
