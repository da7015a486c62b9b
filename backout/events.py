"""The catalogue of events: what entries say (`Event`), and what that means in the life of a run (`Lifecycle`).

Each change of state writes one entry in its own transaction (R11); some entries record a fact without a change of
state. The value of an `Event` is what the database stores. Lifecycle events are read from entries and from nothing
else, so that nothing is ever told that is not committed. Source: `semantics` sections 5 and 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Protocol

from backout.identifiers import RunId
from backout.states import Direction, ReviewReason, RollbackOutcome, RunState


class Event(StrEnum):
    """What an entry records."""

    RUN_CREATED = "run_created"
    """The run was enqueued. Detail: `source_event_id`, `subject_id`."""
    RUN_STARTED = "run_started"
    """The first attempt of the first step was claimed."""
    RUN_SUCCEEDED = "run_succeeded"
    """The last step was recorded; the run is closed."""
    RUN_PARKED = "run_parked"
    """What was done stays; the run waits until a person resumes it. Reason: why."""
    RUN_IN_REVIEW = "run_in_review"
    """A person must decide. Reason: the review's reason code. Detail: `review_id`."""
    ROLLBACK_STARTED = "rollback_started"
    """The rollback plan was computed and recorded. Detail: `compensations`, step names in the order of undoing."""
    ROLLBACK_FINISHED = "rollback_finished"
    """The last compensation was recorded. Detail: `outcome`, see `RollbackOutcome`; `state` if now paused."""
    ROLLBACK_CONTINUED = "rollback_continued"
    """By hand: a rollback that had stopped goes on, or a compensation runs again."""
    RUN_PAUSED = "run_paused"
    """By hand: nothing new starts until a person resumes the run."""
    RUN_RESUMED = "run_resumed"
    """By hand: the run goes on. Detail: `from`, the state it was in; `round`."""
    RUN_CANCELLED = "run_cancelled"
    """By hand: the run was stopped without a rollback."""
    RUN_CLOSED = "run_closed"
    """By hand: the run was closed as it is."""
    REVIEW_ASSIGNED = "review_assigned"
    """By hand: somebody took a review, or was given it. Detail: `review_id`, `assignee`."""
    REVIEW_RESOLVED = "review_resolved"
    """By hand: a person has decided. Detail: `review_id`, `decision`."""

    STEP_READY = "step_ready"
    """The step may be claimed; its message is sent after this commit."""
    COMPENSATION_PLANNED = "compensation_planned"
    """The compensation waits for the ones that must run before it."""
    STEP_KEPT = "step_kept"
    """By contract this step is not undone. Reason: the contract's reason."""
    STEP_SKIPPED = "step_skipped"
    """Nothing to run or to undo here. Reason: why."""
    ATTEMPT_STARTED = "attempt_started"
    """A worker holds the claim and calls the function next. Actor: the worker."""
    STEP_SUCCEEDED = "step_succeeded"
    """The outcome of the attempt is success; output and external ids are in the step row."""
    RETRY_SCHEDULED = "retry_scheduled"
    """The attempt failed and another one is due. Reason: the error. Detail: `delay_seconds`."""
    STEP_FAILED = "step_failed"
    """The attempt failed for good. Reason: the error."""
    CLAIM_RELEASED = "claim_released"
    """The attempt ended without an outcome; the contract says that it may run again. Reason: what ended it."""
    STEP_IN_DOUBT = "step_in_doubt"
    """The attempt ended without an outcome and its effect may exist. Reason: what ended it."""
    QUESTION_PLANNED = "question_planned"
    """A reconcile function will be asked before the step is undone."""
    QUESTION_ASKED = "question_asked"
    """A reconcile function may be called. Reason: why it is asked."""
    QUESTION_ANSWERED = "question_answered"
    """It answered. Detail: `answer` (see `Answer`) and what came with it, `output` or `why`."""
    DOUBT_CLEARED = "doubt_cleared"
    """The step had not happened; it may run again."""
    STEP_HELD = "step_held"
    """The row may not be claimed until a person has decided. Reason: why."""
    WAIT_STARTED = "wait_started"
    """The row may be claimed only later (R5). Reason: why."""
    WAIT_ENDED = "wait_ended"
    """What the row waited for is over; it may be claimed."""
    RETRY_HASTENED = "retry_hastened"
    """The run's deadline has passed; the attempt that was scheduled is due now, and will be refused."""
    STEP_REOPENED = "step_reopened"
    """By hand: the row runs again. Detail: what it said until now, `state`, `attempt`, `output`, `error`."""
    STEP_SETTLED = "step_settled"
    """By hand: a person says that it is done. Detail: `state` that it was in."""
    STEP_CLOSED = "step_closed"
    """By hand: the row will not run any more. Detail: `state` that it was in."""
    STEP_UNDONE = "step_undone"
    """The compensation of this step succeeded; its output is void."""

    EXTERNAL_ID_RECORDED = "external_id_recorded"
    """User code recorded an id of the outside world. Detail: `name`, `value`."""
    LATE_RESULT = "late_result"
    """An attempt answered after it had lost its claim; the answer is kept here and not applied (R3). Detail: it."""
    RESULT_REUSED = "result_reused"
    """Another run succeeded under the same idempotency key; its output is taken. Detail: `run_id`."""
    MESSAGE_RESENT = "message_resent"
    """The sweeper sent the message again. Reason: what it found."""
    MESSAGE_REFUSED = "message_refused"
    """A message could not be understood. Without a run if it named none. Reason: why. Detail: what came (cut)."""


class Lifecycle(StrEnum):
    """What happens in the life of a run, by the names that signals, Celery events and `runs watch --all` use."""

    RUN_CREATED = "run_created"
    """The run was enqueued."""
    RUN_STARTED = "run_started"
    """The first attempt of its first step was claimed."""
    RUN_SUCCEEDED = "run_succeeded"
    """It is closed: all its steps are done."""
    RUN_FAILED = "run_failed"
    """It is closed, and what was done could not be undone in full, or a person has left it as it was."""
    RUN_ROLLED_BACK = "run_rolled_back"
    """It is closed, and what was done was undone."""
    RUN_PARKED = "run_parked"
    """What was done stays; it waits until a person resumes it."""
    RUN_PAUSED = "run_paused"
    """By hand: nothing new starts until a person resumes it; also at the end of a rollback to a step."""
    RUN_RESUMED = "run_resumed"
    """By hand: it goes on, or starts again in a new round."""
    RUN_CANCELLED = "run_cancelled"
    """By hand: it is closed, and what was done stays."""

    STEP_STARTED = "step_started"
    """The first attempt of a step begins."""
    STEP_SUCCEEDED = "step_succeeded"
    """The output of a step is recorded."""
    STEP_SKIPPED = "step_skipped"
    """The step said that there was nothing to do; the run goes on."""
    STEP_FAILED = "step_failed"
    """The step failed for good: no further attempt will be made."""

    ATTEMPT_STARTED = "attempt_started"
    """A worker holds the claim and calls the step's function next."""
    ATTEMPT_SUCCEEDED = "attempt_succeeded"
    """An attempt of a step answered, and well."""
    ATTEMPT_FAILED = "attempt_failed"
    """An attempt of a step failed, whether another one follows or not."""
    ATTEMPT_LOST = "attempt_lost"
    """An attempt of a step ended without an answer; a reconcile function may still find that it had succeeded."""

    ROLLBACK_STARTED = "rollback_started"
    """The run turned round: what was done is undone in reverse order of start. By hand also: it goes on."""
    ROLLBACK_SUCCEEDED = "rollback_succeeded"
    """Everything that was to be undone is undone."""
    ROLLBACK_FAILED = "rollback_failed"
    """The rollback came to its end with something not undone, or a compensation failed and a person is asked."""

    ROLLBACK_STEP_STARTED = "rollback_step_started"
    """The first attempt of a compensation begins."""
    ROLLBACK_STEP_SUCCEEDED = "rollback_step_succeeded"
    """A compensation is recorded as done."""
    ROLLBACK_STEP_FAILED = "rollback_step_failed"
    """A compensation failed for good."""

    ROLLBACK_ATTEMPT_STARTED = "rollback_attempt_started"
    """A worker holds the claim and calls the compensation next."""
    ROLLBACK_ATTEMPT_SUCCEEDED = "rollback_attempt_succeeded"
    """An attempt of a compensation answered, and well."""
    ROLLBACK_ATTEMPT_FAILED = "rollback_attempt_failed"
    """An attempt of a compensation failed, whether another one follows or not."""
    ROLLBACK_ATTEMPT_LOST = "rollback_attempt_lost"
    """An attempt of a compensation ended without an answer."""

    REVIEW_OPENED = "review_opened"
    """A person must decide. Reason: the review's reason code."""
    REVIEW_RESOLVED = "review_resolved"
    """A person has decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleEvent:
    """One thing that happened in the life of a run.

    Attributes:
        name: what happened.
        entry_id: of the entry that says so; one entry may mean several events.
        at: aware UTC, by the database's clock.
        run_id: of the run.
        pipeline: of the run; `None` where the ledger no longer has the run.
        step: of the step that it is about; `None`: about the run.
        direction: of what ran for the step; `None`: about the run.
        attempt: 1 for the first; `None`: about no attempt.
        actor: who or what did it.
        reason: why, in one line; `None`: the name says it all.
    """

    name: Lifecycle
    entry_id: int
    at: datetime
    run_id: RunId
    pipeline: str | None
    step: str | None
    direction: Direction | None
    attempt: int | None
    actor: str
    reason: str | None


class Entry(Protocol):
    """What an entry must say for its meaning to be read: an `EntryRecord` does."""

    @property
    def id(self) -> int:
        """Number of the entry."""

    @property
    def at(self) -> datetime:
        """Aware UTC."""

    @property
    def run_id(self) -> RunId | None:
        """`None`: a message that named no run."""

    @property
    def step(self) -> str | None:
        """`None`: about the run."""

    @property
    def direction(self) -> Direction | None:
        """`None`: about the run."""

    @property
    def attempt(self) -> int | None:
        """`None`: about no attempt."""

    @property
    def event(self) -> Event:
        """What it records."""

    @property
    def actor(self) -> str:
        """Who or what did it."""

    @property
    def reason(self) -> str | None:
        """`None`: the event says it all."""

    @property
    def detail(self) -> Any:
        """As the catalogue says."""


_OF_RUN: Final[Mapping[Event, tuple[Lifecycle, ...]]] = MappingProxyType(
    {
        Event.RUN_CREATED: (Lifecycle.RUN_CREATED,),
        Event.RUN_STARTED: (Lifecycle.RUN_STARTED,),
        Event.RUN_SUCCEEDED: (Lifecycle.RUN_SUCCEEDED,),
        Event.RUN_PARKED: (Lifecycle.RUN_PARKED,),
        Event.RUN_IN_REVIEW: (Lifecycle.REVIEW_OPENED,),
        Event.RUN_PAUSED: (Lifecycle.RUN_PAUSED,),
        Event.RUN_RESUMED: (Lifecycle.RUN_RESUMED,),
        Event.RUN_CANCELLED: (Lifecycle.RUN_CANCELLED,),
        Event.RUN_CLOSED: (Lifecycle.RUN_FAILED,),
        Event.REVIEW_RESOLVED: (Lifecycle.REVIEW_RESOLVED,),
        Event.ROLLBACK_STARTED: (Lifecycle.ROLLBACK_STARTED,),
        Event.ROLLBACK_CONTINUED: (Lifecycle.ROLLBACK_STARTED,),
        Event.ROLLBACK_FINISHED: (Lifecycle.ROLLBACK_SUCCEEDED, Lifecycle.RUN_ROLLED_BACK),
    }
)
_OF_STEP: Final[Mapping[Event, tuple[Lifecycle, ...]]] = MappingProxyType(
    {
        Event.ATTEMPT_STARTED: (Lifecycle.STEP_STARTED, Lifecycle.ATTEMPT_STARTED),
        Event.STEP_SUCCEEDED: (Lifecycle.ATTEMPT_SUCCEEDED, Lifecycle.STEP_SUCCEEDED),
        Event.STEP_SKIPPED: (Lifecycle.ATTEMPT_SUCCEEDED, Lifecycle.STEP_SKIPPED),
        Event.STEP_FAILED: (Lifecycle.ATTEMPT_FAILED, Lifecycle.STEP_FAILED),
        Event.RETRY_SCHEDULED: (Lifecycle.ATTEMPT_FAILED,),
        Event.CLAIM_RELEASED: (Lifecycle.ATTEMPT_LOST,),
        Event.STEP_IN_DOUBT: (Lifecycle.ATTEMPT_LOST,),
        Event.STEP_SETTLED: (Lifecycle.STEP_SUCCEEDED,),
    }
)
_OF_COMPENSATION: Final[Mapping[Event, tuple[Lifecycle, ...]]] = MappingProxyType(
    {
        Event.ATTEMPT_STARTED: (Lifecycle.ROLLBACK_STEP_STARTED, Lifecycle.ROLLBACK_ATTEMPT_STARTED),
        Event.STEP_SUCCEEDED: (Lifecycle.ROLLBACK_ATTEMPT_SUCCEEDED, Lifecycle.ROLLBACK_STEP_SUCCEEDED),
        # A compensation is skipped when it is planned, or when its step turns out not to have happened: it never began.
        Event.STEP_SKIPPED: (),
        Event.STEP_FAILED: (Lifecycle.ROLLBACK_ATTEMPT_FAILED, Lifecycle.ROLLBACK_STEP_FAILED),
        Event.RETRY_SCHEDULED: (Lifecycle.ROLLBACK_ATTEMPT_FAILED,),
        Event.CLAIM_RELEASED: (Lifecycle.ROLLBACK_ATTEMPT_LOST,),
        Event.STEP_IN_DOUBT: (Lifecycle.ROLLBACK_ATTEMPT_LOST,),
        Event.STEP_SETTLED: (Lifecycle.ROLLBACK_STEP_SUCCEEDED,),
    }
)
TOLD: Final = frozenset({*_OF_RUN, *_OF_STEP, *_OF_COMPENSATION})
"""The entry events that mean something in the life of a run; what they mean for questions is nothing."""
UNTOLD: Final = frozenset(
    {
        Event.STEP_READY,
        Event.COMPENSATION_PLANNED,
        Event.STEP_KEPT,
        Event.QUESTION_PLANNED,
        Event.QUESTION_ASKED,
        Event.QUESTION_ANSWERED,
        Event.DOUBT_CLEARED,
        Event.STEP_HELD,
        Event.WAIT_STARTED,
        Event.WAIT_ENDED,
        Event.RETRY_HASTENED,
        Event.STEP_UNDONE,
        Event.STEP_REOPENED,
        Event.STEP_CLOSED,
        Event.REVIEW_ASSIGNED,
        Event.EXTERNAL_ID_RECORDED,
        Event.LATE_RESULT,
        Event.RESULT_REUSED,
        Event.MESSAGE_RESENT,
        Event.MESSAGE_REFUSED,
    }
)
"""The entry events that mean nothing in the life of a run: what the engine does to get on, and facts."""
_FIRST_ONLY: Final = frozenset({Lifecycle.STEP_STARTED, Lifecycle.ROLLBACK_STEP_STARTED})


def read_lifecycle(entry: Entry, *, pipeline: str | None = None) -> tuple[LifecycleEvent, ...]:
    """Return what an entry means in the life of its run, in order; nothing where it means nothing. Pure.

    Args:
        entry: of the ledger.
        pipeline: of the entry's run, which the entry itself does not name.
    """
    if entry.run_id is None:
        return ()
    return tuple(
        LifecycleEvent(
            name=name,
            entry_id=entry.id,
            at=entry.at,
            run_id=entry.run_id,
            pipeline=pipeline,
            step=entry.step,
            direction=entry.direction,
            attempt=entry.attempt,
            actor=entry.actor,
            reason=entry.reason,
        )
        for name in _names(entry)
    )


def _names(entry: Entry) -> tuple[Lifecycle, ...]:
    match entry.event:
        case Event.ROLLBACK_FINISHED if entry.detail.get("state") == RunState.PAUSED.value:
            return (Lifecycle.ROLLBACK_SUCCEEDED, Lifecycle.RUN_PAUSED)
        case Event.ROLLBACK_FINISHED if entry.detail["outcome"] != RollbackOutcome.COMPLETE.value:
            return (Lifecycle.ROLLBACK_FAILED, Lifecycle.RUN_FAILED)
        case Event.RUN_IN_REVIEW if entry.reason == ReviewReason.COMPENSATION_FAILED.value:
            return (Lifecycle.ROLLBACK_FAILED, Lifecycle.REVIEW_OPENED)
    if entry.event in _OF_RUN:
        return _OF_RUN[entry.event]
    by_direction = {Direction.FORWARD: _OF_STEP, Direction.COMPENSATION: _OF_COMPENSATION}
    # Questions only read; they are no steps of the run.
    names = by_direction.get(entry.direction, {}).get(entry.event, ()) if entry.direction is not None else ()
    return names if entry.attempt == 1 else tuple(name for name in names if name not in _FIRST_ONLY)
