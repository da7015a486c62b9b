"""Reads for people, workers and the sweeper; nothing here changes a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    case,
    func,
    literal,
    select,
)
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from backout.events import Event
from backout.identifiers import ClaimToken, RunId, run_ids_from
from backout.jsontext import JsonValue
from backout.ledger.change import constant
from backout.ledger.cursors import RecordingConnection
from backout.ledger.dialects import all_rows, as_committed, now
from backout.ledger.lists import Narrowed, count_each_state, newest_ids
from backout.ledger.models import entry, review, run, step
from backout.ledger.records import (
    Claim,
    EntryRecord,
    ReviewRecord,
    RunFacts,
    RunRecord,
    StepKey,
    StepRecord,
)
from backout.states import Direction, ReviewReason, RollbackOutcome, RunState, StepState


def _values(row: Row[Any] | Mapping[str, Any], enums: Mapping[str, type[StrEnum]]) -> dict[str, Any]:
    values = dict(row._mapping if isinstance(row, Row) else row)
    for name, enum in enums.items():
        if values[name] is not None:
            values[name] = enum(values[name])
    return values


_RUN_ENUMS: Final = {"state": RunState, "rollback_outcome": RollbackOutcome}
_STEP_ENUMS: Final = {"state": StepState, "direction": Direction}
_ENTRY_ENUMS: Final = {"direction": Direction, "event": Event}
_REVIEW_ENUMS: Final = {"direction": Direction, "reason": ReviewReason}


def place_of_direction() -> ColumnElement[int]:
    """Return where a row stands among the rows of its step: forward, questions, compensation."""
    order = (Direction.FORWARD, Direction.VERIFY, Direction.RECONCILE, Direction.COMPENSATION)
    places: dict[Any, Any] = {constant(way.value): constant(place) for place, way in enumerate(order)}
    return case(places, value=step.c.direction)


def columns_of(record: type[Any], table: Any) -> list[Column[Any]]:
    """Return the columns of a table that a record has, in the record's order."""
    return [table.c[name] for name in record.__dataclass_fields__]


_RUNS: Final = select(*columns_of(RunRecord, run))
_STEPS: Final = select(*columns_of(StepRecord, step))
_ENTRIES: Final = select(*columns_of(EntryRecord, entry))
_REVIEWS: Final = select(*columns_of(ReviewRecord, review))
_RUN: Final = _RUNS.where(run.c.id == bindparam("b_run_id", type_=run.c.id.type))
_STEPS_OF_RUN: Final = _STEPS.where(step.c.run_id == bindparam("b_run_id", type_=step.c.run_id.type)).order_by(
    step.c.round, place_of_direction(), step.c.start_order
)


def run_record(row: Row[Any] | Mapping[str, Any]) -> RunRecord:
    """Return a row of `backout_run` with the columns of a record."""
    return RunRecord(**_values(row, _RUN_ENUMS))


def entry_record(row: Row[Any]) -> EntryRecord:
    """Return a row of `backout_entry` with the columns of a record."""
    return EntryRecord(**_values(row, _ENTRY_ENUMS))


def step_record(row: Row[Any] | Mapping[str, Any]) -> StepRecord:
    """Return a row of `backout_step` with the columns of a record."""
    return StepRecord(**_values(row, _STEP_ENUMS))


def review_record(row: Row[Any]) -> ReviewRecord:
    """Return a row of `backout_review`."""
    return ReviewRecord(**_values(row, _REVIEW_ENUMS))


def find_run(connection: Connection, run_id: RunId) -> RunRecord | None:
    """Return a run; `None` when the ledger has no such run, also when the id is none: a person may have typed it."""
    try:
        UUID(run_id)
    except ValueError:
        return None
    rows = all_rows(connection, _RUN, {"b_run_id": run_id})
    return run_record(rows[0]) if rows else None


def find_run_ids(connection: Connection, prefix: str, *, limit: int = 2) -> list[RunId]:
    """Return ids that start with a prefix, oldest first; two are enough to know that it is not unique."""
    between = run_ids_from(prefix)
    if between is None:
        return []
    statement = select(run.c.id).where(run.c.id.between(*between)).order_by(run.c.id)
    return [RunId(row.id) for row in connection.execute(statement.limit(limit))]


def find_run_of_event(connection: Connection, pipeline: str, source_event_id: str) -> RunId | None:
    """Return the run of a source event; `None` when there is none."""
    found = connection.execute(_run_of_event(pipeline, source_event_id)).scalar_one_or_none()
    return RunId(found) if found is not None else None


def find_first_run_of_event(connection: RecordingConnection, pipeline: str, source_event_id: str) -> RunId | None:
    """Return the run for which `create_run` was refused on this connection, a caller's own perhaps.

    On MySQL it locks the row against changes until the end of the transaction: its default isolation, REPEATABLE READ,
    reads the database as it was when the transaction began to read, and INSERT sees it as it is.
    """
    statement = as_committed(connection, _run_of_event(pipeline, source_event_id))
    found = connection.execute(statement).scalar_one_or_none()
    return RunId(found) if found is not None else None


def _run_of_event(pipeline: str, source_event_id: str) -> Select[Any]:
    return select(run.c.id).where(run.c.pipeline == pipeline, run.c.source_event_id == source_event_id)


def list_runs(
    connection: Connection,
    *,
    pipeline: str | None = None,
    states: Sequence[RunState] = (),
    text: str | None = None,
    needs_person: bool = False,
    enqueued_since: datetime | None = None,
    changed_since: datetime | None = None,
    before: RunId | None = None,
    limit: int = 50,
) -> list[RunRecord]:
    """Return runs, newest first.

    Each way of narrowing has an index, with two exceptions: `changed_since` reads what the others let through, newest
    first, until there is enough; and outside PostgreSQL external ids are looked for among the newest 50,000 runs.

    Args:
        connection: any.
        pipeline: only of this pipeline.
        states: only in one of these states; empty: in any.
        text: only where the run id, the source event, the subject or one of the external ids is this text.
        needs_person: only where a person must decide.
        enqueued_since: only what was enqueued at this instant or later, aware UTC, as their ids say it.
        changed_since: only where something has changed at this instant or later, aware UTC.
        before: only older than this run; the last id of one page leads to the next.
        limit: the most to return.
    """
    wanted = Narrowed(
        pipeline=pipeline,
        states=states,
        text=text,
        needs_person=needs_person,
        enqueued_since=enqueued_since,
        changed_since=changed_since,
        before=before,
    )
    newest = newest_ids(connection, wanted, limit=limit).subquery()
    statement = _RUNS.join(newest, newest.c.id == run.c.id).order_by(run.c.id.desc())
    return [run_record(row) for row in connection.execute(statement)]


def list_steps(connection: Connection, run_id: RunId) -> list[StepRecord]:
    """Return all step rows of a run: by round, forward before compensation, in the order of start.

    Questions about steps stand between the two.
    """
    return [step_record(row) for row in all_rows(connection, _STEPS_OF_RUN, {"b_run_id": run_id})]


def find_step(connection: Connection, key: StepKey) -> StepRecord | None:
    """Return one step row; `None` when there is none."""
    row = connection.execute(_where_key(_STEPS, key)).one_or_none()
    return step_record(row) if row is not None else None


def find_output(connection: Connection, run_id: RunId, step_name: str) -> StepRecord | None:
    """Return the newest forward row of a step whose output is valid; `None` when it has not succeeded."""
    statement = (
        _STEPS.where(
            step.c.run_id == run_id,
            step.c.step == step_name,
            step.c.direction == Direction.FORWARD.value,
            step.c.state == StepState.SUCCEEDED.value,
        )
        .order_by(step.c.round.desc())
        .limit(1)
    )
    row = connection.execute(statement).one_or_none()
    return step_record(row) if row is not None else None


def find_key_holder(connection: Connection, exclusive_key: str) -> StepRecord | None:
    """Return the step row that holds an idempotency key which is unique over runs; `None` when nobody does."""
    row = connection.execute(_STEPS.where(step.c.exclusive_key == exclusive_key)).one_or_none()
    return step_record(row) if row is not None else None


def list_entries(
    connection: Connection,
    run_id: RunId,
    *,
    after_id: int = 0,
    limit: int = 10_000,
) -> list[EntryRecord]:
    """Return what happened to a run, in order, after an entry that is already known."""
    statement = _ENTRIES.where(entry.c.run_id == run_id, entry.c.id > after_id).order_by(entry.c.id).limit(limit)
    return [EntryRecord(**_values(row, _ENTRY_ENUMS)) for row in connection.execute(statement)]


def find_review(connection: Connection, review_id: int) -> ReviewRecord | None:
    """Return a review; `None` when the ledger has none of that id."""
    row = connection.execute(_REVIEWS.where(review.c.id == review_id)).one_or_none()
    return review_record(row) if row is not None else None


def last_entry(connection: Connection, run_id: RunId) -> EntryRecord | None:
    """Return what happened last to a run; `None` when nothing did."""
    statement = _ENTRIES.where(entry.c.run_id == run_id).order_by(entry.c.id.desc()).limit(1)
    row = connection.execute(statement).one_or_none()
    return EntryRecord(**_values(row, _ENTRY_ENUMS)) if row is not None else None


def list_reviews(connection: Connection, run_id: RunId | None = None, *, open_only: bool = False) -> list[ReviewRecord]:
    """Return reviews, oldest first, of one run or of all."""
    statement = _REVIEWS.order_by(review.c.opened_at, review.c.id)
    if run_id is not None:
        statement = statement.where(review.c.run_id == run_id)
    if open_only:
        statement = statement.where(review.c.decision.is_(None))
    return [review_record(row) for row in connection.execute(statement)]


def load_plan(connection: Connection, run_id: RunId) -> JsonValue:
    """Return the plan that was recorded with a run; `None` when the ledger has no such run."""
    plan: JsonValue = connection.execute(select(run.c.plan).where(run.c.id == run_id)).scalar_one_or_none()
    return plan


def load_input(connection: Connection, run_id: RunId) -> JsonValue:
    """Return the input of a run, as JSON; `None` when the ledger has no such run."""
    stored: JsonValue = connection.execute(select(run.c.input).where(run.c.id == run_id)).scalar_one_or_none()
    return stored


def is_rollback_open(connection: Connection, run_id: RunId) -> bool:
    """Return whether a rollback of the run was started and has not come to its end, in whatever state the run is."""
    last = connection.execute(
        select(entry.c.event)
        .where(
            entry.c.run_id == run_id,
            entry.c.event.in_(
                (
                    Event.ROLLBACK_STARTED.value,
                    Event.ROLLBACK_CONTINUED.value,
                    Event.ROLLBACK_FINISHED.value,
                ),
            ),
        )
        .order_by(entry.c.id.desc())
        .limit(1),
    ).scalar_one_or_none()
    return last is not None and last != Event.ROLLBACK_FINISHED.value


def count_by_state(
    connection: Connection, pipeline: str | None = None, *, at_most: int | None = None
) -> dict[RunState, int]:
    """Return how many runs are in each state that has any.

    Args:
        connection: any.
        pipeline: only of this pipeline.
        at_most: count no further in any state, and say one more where there are more; `None`: count all, which reads
            an index entry for each run.
    """
    statement = select(run.c.state, func.count().label("runs")).group_by(run.c.state)
    if pipeline is not None:
        statement = statement.where(run.c.pipeline == pipeline)
    if at_most is not None:
        statement = count_each_state(pipeline, at_most=at_most)
    return {RunState(row.state): row.runs for row in connection.execute(statement)}


def read_clock(connection: Connection) -> datetime:
    """Return the database's time, aware UTC."""
    instant: datetime = connection.execute(select(now().label("now"))).scalar_one()
    return instant


def describe_failure(error: BaseException) -> str | None:
    """Return in one line what the database said when a query failed; `None` when the error is not the database's."""
    if not isinstance(error, SQLAlchemyError):
        return None
    said = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return " ".join(str(said).split())


CLAIMED: Final = (
    step.c.step,
    step.c.attempt,
    step.c.lost_attempts,
    step.c.start_order,
    step.c.idempotency_key,
    step.c.task_id,
    step.c.external_ids,
    step.c.forgiven_attempts,
)
"""What the holder of a claim must know of its row."""


def find_claim(connection: Connection, key: StepKey) -> Claim | None:
    """Return the claim that is held on a row; `None` when nobody holds one."""
    facts = (run.c[name].label(f"run_{name}") for name in RunFacts.__dataclass_fields__)
    statement = select(*CLAIMED, step.c.claim_token, *facts).join_from(step, run, run.c.id == step.c.run_id)
    running = statement.where(step.c.state == StepState.RUNNING.value)
    found = connection.execute(_where_key(running, key)).one_or_none()
    if found is None:
        return None
    row = found._asdict()
    return Claim.from_row(row, key=key, token=ClaimToken(row["claim_token"]), run=RunFacts.from_row(row))


def _where_key(statement: Select[Any], key: StepKey) -> Select[Any]:
    return statement.where(
        step.c.run_id == key.run_id,
        step.c.round == key.round,
        step.c.position == key.position,
        step.c.direction == literal(key.direction.value),
    )
