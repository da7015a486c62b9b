"""What the ledger says of a run, as values: the shapes that queries return and people read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from backout.events import Event
from backout.identifiers import ClaimToken, RunId, TaskId
from backout.jsontext import JsonValue
from backout.states import Direction, ReviewReason, RollbackOutcome, RunState, StepState


@dataclass(frozen=True, slots=True, kw_only=True)
class StepKey:
    """Names one step row."""

    run_id: RunId
    round: int
    position: int
    direction: Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A row of a way back, and the task that is to run it: a link of the Celery chain that carries the way back.

    Attributes:
        attempts: made so far.
    """

    key: StepKey
    task_id: TaskId
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to run one attempt and to write its outcome.

    Attributes:
        attempt: 1 for the first.
        external_ids: of this step, recorded by earlier attempts.
        forgiven_attempts: failed ones from before a person asked for more.
    """

    key: StepKey
    step: str
    token: ClaimToken
    attempt: int
    lost_attempts: int
    start_order: int
    idempotency_key: str
    task_id: TaskId
    external_ids: Mapping[str, str]
    run: RunFacts
    forgiven_attempts: int = 0

    @classmethod
    def from_row(cls, row: Mapping[str, Any], *, key: StepKey, token: ClaimToken, run: RunFacts) -> Self:
        """Return the claim of a row with the columns that `queries.CLAIMED` names."""
        return cls(
            key=key,
            step=row["step"],
            token=token,
            attempt=row["attempt"],
            lost_attempts=row["lost_attempts"],
            start_order=row["start_order"],
            idempotency_key=row["idempotency_key"],
            task_id=TaskId(row["task_id"]),
            external_ids=row["external_ids"],
            forgiven_attempts=row["forgiven_attempts"],
            run=run,
        )

    @property
    def failed_attempts(self) -> int:
        """The attempts that count against the retries, this one included, should it fail."""
        return self.attempt - self.lost_attempts - self.forgiven_attempts


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What an attempt must know of its run.

    Attributes:
        state: when the claim was taken.
        deadline_at: aware UTC; `None`: the run may take for ever.
        rollback_to: as of `RunRecord`; a rollback keeps what it began with.
    """

    pipeline: str
    definition_digest: str
    subject_id: str | None
    input: JsonValue
    external_ids: Mapping[str, str]
    last_successful_step: str | None
    state: RunState = RunState.RUNNING
    deadline_at: datetime | None = None
    rollback_to: int | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the facts that stand in columns labelled `run_<name>`."""
        values = {name: row[f"run_{name}"] for name in cls.__dataclass_fields__}
        return cls(**{**values, "state": RunState(values["state"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One row of `backout_run`, without the plan. Instants are aware UTC.

    Attributes:
        rollback_to: position of the last step that a rollback leaves as it is; `None`: it undoes all.
    """

    id: RunId
    pipeline: str
    definition_digest: str
    source_event_id: str | None
    subject_id: str | None
    state: RunState
    round: int
    operator_state: str
    last_successful_step: str | None
    external_ids: Mapping[str, str]
    attempt_count: int
    next_retry_at: datetime | None
    requires_human_review: bool
    error_summary: str | None
    rollback_outcome: RollbackOutcome
    input: JsonValue
    output: JsonValue
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    deadline_at: datetime | None = None
    rollback_to: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One row of `backout_step`. `error` has the keys `type`, `message` and, if known, `code`."""

    run_id: RunId
    round: int
    position: int
    direction: Direction
    step: str
    state: StepState
    attempt: int
    lost_attempts: int
    start_order: int
    idempotency_key: str
    claim_token: ClaimToken | None
    claim_expires_at: datetime | None
    task_id: TaskId
    output: JsonValue
    external_ids: Mapping[str, str]
    error: Mapping[str, Any] | None
    next_retry_at: datetime | None
    exclusive_key: str | None = None
    sends: int
    sweep_at: datetime | None
    dispatched_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    claimed_by: str | None = None
    may_run_until: datetime | None = None
    forgiven_attempts: int = 0

    @property
    def key(self) -> StepKey:
        """The row's name."""
        return StepKey(run_id=self.run_id, round=self.round, position=self.position, direction=self.direction)

    @property
    def link(self) -> Link:
        """The row as a link of a chain."""
        return Link(key=self.key, task_id=self.task_id, attempts=self.attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRecord:
    """One row of `backout_entry`: something happened. Ordered by `id`."""

    id: int
    at: datetime
    run_id: RunId | None
    round: int | None
    position: int | None
    step: str | None
    direction: Direction | None
    attempt: int | None
    event: Event
    actor: str
    reason: str | None
    detail: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What an entry tells of an attempt that the attempt's row may not have any more."""

    position: int | None
    direction: Direction | None
    event: Event
    detail: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRecord:
    """One row of `backout_review`: what a person must decide, or has decided."""

    id: int
    run_id: RunId
    round: int
    position: int | None
    step: str | None
    direction: Direction | None
    reason: ReviewReason
    evidence: Mapping[str, Any]
    opened_at: datetime
    deadline_at: datetime | None
    assignee: str | None
    decision: str | None
    decided_by: str | None
    note: str | None
    decided_at: datetime | None
