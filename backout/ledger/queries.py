"""Reads for people, workers and the sweeper; nothing here changes a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Column, Connection, Row, Select, func, literal, or_, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from backout.events import Event
from backout.identifiers import ClaimToken, RunId, TaskId
from backout.jsontext import JsonValue
from backout.ledger.dialects import now, skip_locked
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


def _values(row: Row[Any], enums: Mapping[str, type[StrEnum]]) -> dict[str, Any]:
    values = dict(row._mapping)
    for name, enum in enums.items():
        if values[name] is not None:
            values[name] = enum(values[name])
    return values


_RUN_ENUMS: Final = {"state": RunState, "rollback_outcome": RollbackOutcome}
_STEP_ENUMS: Final = {"state": StepState, "direction": Direction}
_ENTRY_ENUMS: Final = {"direction": Direction, "event": Event}
_REVIEW_ENUMS: Final = {"direction": Direction, "reason": ReviewReason}


def _columns(record: type[Any], table: Any) -> list[Column[Any]]:
    return [table.c[name] for name in record.__dataclass_fields__]


_RUNS: Final = select(*_columns(RunRecord, run))
_STEPS: Final = select(*_columns(StepRecord, step))
_ENTRIES: Final = select(*_columns(EntryRecord, entry))
_REVIEWS: Final = select(*_columns(ReviewRecord, review))


def find_run(connection: Connection, run_id: RunId) -> RunRecord | None:
    """Return a run; `None` when the ledger has no such run, also when the id is none: a person may have typed it."""
    try:
        UUID(run_id)
    except ValueError:
        return None
    row = connection.execute(_RUNS.where(run.c.id == run_id)).one_or_none()
    return RunRecord(**_values(row, _RUN_ENUMS)) if row is not None else None


def find_run_ids(connection: Connection, prefix: str, *, limit: int = 2) -> list[RunId]:
    """Return ids that start with a prefix, oldest first; two are enough to know that it is not unique."""
    digits = prefix.lower().replace("-", "")
    if not digits or len(digits) > 32 or not set(digits) <= set("0123456789abcdef"):
        return []
    # A range of ids instead of a comparison of text: it uses the primary key.
    first, last = (str(UUID(digits.ljust(32, fill))) for fill in "0f")
    statement = select(run.c.id).where(run.c.id.between(first, last)).order_by(run.c.id)
    return [RunId(row.id) for row in connection.execute(statement.limit(limit))]


def find_run_of_event(connection: Connection, pipeline: str, source_event_id: str) -> RunId | None:
    """Return the run of a source event; `None` when there is none."""
    statement = select(run.c.id).where(run.c.pipeline == pipeline, run.c.source_event_id == source_event_id)
    found = connection.execute(statement).scalar_one_or_none()
    return RunId(found) if found is not None else None


def list_runs(
    connection: Connection,
    *,
    pipeline: str | None = None,
    states: Sequence[RunState] = (),
    text: str | None = None,
    needs_person: bool = False,
    before: RunId | None = None,
    limit: int = 50,
) -> list[RunRecord]:
    """Return runs, newest first.

    Args:
        connection: any.
        pipeline: only of this pipeline.
        states: only in one of these states; empty: in any.
        text: only where the run id, the source event or the subject is this text.
        needs_person: only where a person must decide.
        before: only older than this run; the last id of one page leads to the next.
        limit: the most to return.
    """
    statement = _RUNS.order_by(run.c.id.desc()).limit(limit)
    if pipeline is not None:
        statement = statement.where(run.c.pipeline == pipeline)
    if states:
        statement = statement.where(run.c.state.in_([state.value for state in states]))
    if text is not None:
        matches = [run.c.source_event_id == text, run.c.subject_id == text]
        if text in (found := find_run_ids(connection, text)):
            matches.append(run.c.id == found[0])
        statement = statement.where(or_(*matches))
    if needs_person:
        statement = statement.where(run.c.requires_human_review)
    if before is not None:
        statement = statement.where(run.c.id < before)
    return [RunRecord(**_values(row, _RUN_ENUMS)) for row in connection.execute(statement)]


def list_steps(connection: Connection, run_id: RunId) -> list[StepRecord]:
    """Return all step rows of a run: by round, forward before compensation, in the order of start."""
    statement = _STEPS.where(step.c.run_id == run_id).order_by(
        step.c.round,
        step.c.direction.desc(),
        step.c.start_order,
    )
    return [StepRecord(**_values(row, _STEP_ENUMS)) for row in connection.execute(statement)]


def find_step(connection: Connection, key: StepKey) -> StepRecord | None:
    """Return one step row; `None` when there is none."""
    row = connection.execute(_where_key(_STEPS, key)).one_or_none()
    return StepRecord(**_values(row, _STEP_ENUMS)) if row is not None else None


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
    return StepRecord(**_values(row, _STEP_ENUMS)) if row is not None else None


def find_key_holder(connection: Connection, exclusive_key: str) -> StepRecord | None:
    """Return the step row that holds an idempotency key which is unique over runs; `None` when nobody does."""
    row = connection.execute(_STEPS.where(step.c.exclusive_key == exclusive_key)).one_or_none()
    return StepRecord(**_values(row, _STEP_ENUMS)) if row is not None else None


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


def list_reviews(connection: Connection, run_id: RunId | None = None, *, open_only: bool = False) -> list[ReviewRecord]:
    """Return reviews, oldest first, of one run or of all."""
    statement = _REVIEWS.order_by(review.c.opened_at, review.c.id)
    if run_id is not None:
        statement = statement.where(review.c.run_id == run_id)
    if open_only:
        statement = statement.where(review.c.decision.is_(None))
    return [ReviewRecord(**_values(row, _REVIEW_ENUMS)) for row in connection.execute(statement)]


def load_plan(connection: Connection, run_id: RunId) -> JsonValue:
    """Return the plan that was recorded with a run; `None` when the ledger has no such run."""
    plan: JsonValue = connection.execute(select(run.c.plan).where(run.c.id == run_id)).scalar_one_or_none()
    return plan


def load_input(connection: Connection, run_id: RunId) -> JsonValue:
    """Return the input of a run, as JSON; `None` when the ledger has no such run."""
    stored: JsonValue = connection.execute(select(run.c.input).where(run.c.id == run_id)).scalar_one_or_none()
    return stored


def find_rollback_cause(connection: Connection, run_id: RunId) -> tuple[str, str]:
    """Return why a run is rolled back, in one line, and who asked for it."""
    cause = connection.execute(select(run.c.error_summary).where(run.c.id == run_id)).scalar_one_or_none()
    actor = connection.execute(
        select(entry.c.actor)
        .where(entry.c.run_id == run_id, entry.c.event == Event.ROLLBACK_STARTED.value)
        .order_by(entry.c.id.desc())
        .limit(1),
    ).scalar_one_or_none()
    return cause or "", actor or ""


def count_by_state(connection: Connection, pipeline: str | None = None) -> dict[RunState, int]:
    """Return how many runs are in each state that has any."""
    statement = select(run.c.state, func.count().label("runs")).group_by(run.c.state)
    if pipeline is not None:
        statement = statement.where(run.c.pipeline == pipeline)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DueStep:
    """A row that the sweeper must do something about, with what it needs to know of the run."""

    key: StepKey
    step: str
    state: StepState
    attempt: int
    lost_attempts: int
    sends: int
    claim_token: ClaimToken | None
    task_id: TaskId
    external_ids: Mapping[str, str]
    pipeline: str
    definition_digest: str


_DUE: Final = skip_locked(
    select(
        step.c.run_id,
        step.c.round,
        step.c.position,
        step.c.direction,
        step.c.step,
        step.c.state,
        step.c.attempt,
        step.c.lost_attempts,
        step.c.sends,
        step.c.claim_token,
        step.c.task_id,
        step.c.external_ids,
    )
    .where(step.c.sweep_at.is_not(None), step.c.sweep_at <= now())
    .order_by(step.c.sweep_at)
)


def take_due_steps(connection: Connection, *, limit: int) -> list[DueStep]:
    """Return rows whose time has come, longest due first, locked until the transaction ends.

    Rows that another sweeper or a worker has locked are passed over. Needs a transaction.
    """
    rows = connection.execute(_DUE.limit(limit)).all()
    runs = {
        row.id: row
        for row in connection.execute(
            select(run.c.id, run.c.pipeline, run.c.definition_digest).where(run.c.id.in_({row.run_id for row in rows})),
        )
    }
    return [
        DueStep(
            key=StepKey(
                run_id=RunId(row.run_id),
                round=row.round,
                position=row.position,
                direction=Direction(row.direction),
            ),
            step=row.step,
            state=StepState(row.state),
            attempt=row.attempt,
            lost_attempts=row.lost_attempts,
            sends=row.sends,
            claim_token=row.claim_token,
            task_id=TaskId(row.task_id),
            external_ids=row.external_ids,
            pipeline=runs[row.run_id].pipeline,
            definition_digest=runs[row.run_id].definition_digest,
        )
        for row in rows
    ]


def find_claim(connection: Connection, key: StepKey) -> Claim | None:
    """Return the claim that is held on a row; `None` when nobody holds one."""
    statement = select(
        step.c.step,
        step.c.claim_token,
        step.c.attempt,
        step.c.lost_attempts,
        step.c.start_order,
        step.c.idempotency_key,
        step.c.task_id,
        step.c.external_ids,
        *(run.c[name].label(f"run_{name}") for name in RunFacts.__dataclass_fields__),
    ).join_from(step, run, run.c.id == step.c.run_id)
    running = statement.where(step.c.state == StepState.RUNNING.value)
    row = connection.execute(_where_key(running, key)).one_or_none()
    if row is None:
        return None
    return Claim(
        key=key,
        step=row.step,
        token=ClaimToken(row.claim_token),
        attempt=row.attempt,
        lost_attempts=row.lost_attempts,
        start_order=row.start_order,
        idempotency_key=row.idempotency_key,
        task_id=TaskId(row.task_id),
        external_ids=row.external_ids,
        run=RunFacts(**{name: row._mapping[f"run_{name}"] for name in RunFacts.__dataclass_fields__}),
    )


def next_compensations(connection: Connection, key: StepKey, *, limit: int = 100) -> list[StepRecord]:
    """Return the compensations of a run that are still to run, in the order of undoing.

    Args:
        connection: any.
        key: of a row of the run.
        limit: the most to return; each compensation asks, and a long rollback must not read all of it each time.
    """
    statement = _STEPS.where(
        step.c.run_id == key.run_id,
        step.c.direction == Direction.COMPENSATION.value,
        step.c.state.in_((StepState.PENDING.value, StepState.READY.value, StepState.RETRY_SCHEDULED.value)),
    ).order_by(step.c.start_order)
    return [StepRecord(**_values(row, _STEP_ENUMS)) for row in connection.execute(statement.limit(limit))]


def _where_key(statement: Select[Any], key: StepKey) -> Select[Any]:
    return statement.where(
        step.c.run_id == key.run_id,
        step.c.round == key.round,
        step.c.position == key.position,
        step.c.direction == literal(key.direction.value),
    )
