"""One function per arrow of `states.TRANSITIONS`: a guarded UPDATE and its entry, in the same transaction (R11).

None of them commits or sends. On the worker's path a lost race is a return value, never an exception.
`start_run` and `succeed_run` are walked inside the outcome that causes them: see `claim_step` and `succeed_step`.
"""

from backout.ledger.transitions.claims import claim_step, doubt_step, release_claim
from backout.ledger.transitions.facts import (
    extend_claim,
    mark_resent,
    postpone_step,
    record_external_id,
    record_fact,
    record_refused_message,
)
from backout.ledger.transitions.outcomes import (
    NextStep,
    fail_step,
    pass_failed_step,
    schedule_retry,
    skip_step,
    succeed_step,
)
from backout.ledger.transitions.rollback import (
    NewCompensation,
    plan_compensation,
    ready_step,
    skip_compensation,
    succeed_compensation,
    undo_step,
)
from backout.ledger.transitions.runs import (
    NewRun,
    begin_rollback,
    create_run,
    finish_rollback,
    park_run,
    review_run,
)

__all__ = [
    "NewCompensation",
    "NewRun",
    "NextStep",
    "begin_rollback",
    "claim_step",
    "create_run",
    "doubt_step",
    "extend_claim",
    "fail_step",
    "finish_rollback",
    "mark_resent",
    "park_run",
    "pass_failed_step",
    "plan_compensation",
    "postpone_step",
    "ready_step",
    "record_external_id",
    "record_fact",
    "record_refused_message",
    "release_claim",
    "review_run",
    "schedule_retry",
    "skip_compensation",
    "skip_step",
    "succeed_compensation",
    "succeed_step",
    "undo_step",
]
