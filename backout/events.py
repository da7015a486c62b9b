"""The catalogue of entry events: what the ledger's `backout_entry.event` may say, and when.

Each change of state writes one entry in its own transaction (R11); some entries record a fact without a change of
state. The value is what the database stores. Source: `semantics` sections 5 and 6.
"""

from __future__ import annotations

from enum import StrEnum


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
    """The last compensation was recorded. Detail: `outcome`, see `RollbackOutcome`."""

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
