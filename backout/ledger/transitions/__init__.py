"""One function per arrow of `states.TRANSITIONS`: a guarded UPDATE and its entry, in the same transaction (R11).

None of them commits or sends. On the worker's path a lost race is a return value, never an exception.
`start_run` and `succeed_run` are walked inside the outcome that causes them: see `claim_step` and `succeed_step`.
"""

from backout.ledger.transitions.by_hand import CLOSED, close_step, reopen_step, settle_step, start_step
from backout.ledger.transitions.claims import claim_step, doubt_step, hold_step, release_claim, release_uncalled
from backout.ledger.transitions.creation import create_run, create_runs
from backout.ledger.transitions.facts import (
    extend_claim,
    free_key,
    hasten_retry,
    mark_resent,
    postpone_step,
    record_external_id,
    record_fact,
    record_late_result,
    record_refused_message,
)
from backout.ledger.transitions.following import NextClaim, NextStep
from backout.ledger.transitions.onward import (
    GoneOn,
    Onward,
    confirm_step,
    pass_failed_step,
    skip_step,
    succeed_step,
    verify_step,
)
from backout.ledger.transitions.outcomes import fail_step, schedule_retry
from backout.ledger.transitions.planning import NewCompensation, plan_again, plan_compensation
from backout.ledger.transitions.questions import (
    NewQuestion,
    answer_question,
    ask_question,
    clear_doubt,
    drop_compensation,
    end_wait,
)
from backout.ledger.transitions.reviews import assign_review, resolve_review
from backout.ledger.transitions.rollback import (
    claim_compensation,
    ready_step,
    skip_compensation,
    succeed_and_claim,
    succeed_and_ready,
    succeed_compensation,
    undo_step,
)
from backout.ledger.transitions.runs import (
    NewRun,
    begin_rollback,
    finish_rollback,
    park_run,
    review_run,
)
from backout.ledger.transitions.runs_by_hand import (
    cancel_run,
    close_run,
    continue_rollback,
    pause_run,
    resume_run,
    succeed_run,
    turn_run_back,
)

__all__ = [
    "CLOSED",
    "GoneOn",
    "NewCompensation",
    "NewQuestion",
    "NewRun",
    "NextClaim",
    "NextStep",
    "Onward",
    "answer_question",
    "ask_question",
    "assign_review",
    "begin_rollback",
    "cancel_run",
    "claim_compensation",
    "claim_step",
    "clear_doubt",
    "close_run",
    "close_step",
    "confirm_step",
    "continue_rollback",
    "create_run",
    "create_runs",
    "doubt_step",
    "drop_compensation",
    "end_wait",
    "extend_claim",
    "fail_step",
    "finish_rollback",
    "free_key",
    "hasten_retry",
    "hold_step",
    "mark_resent",
    "park_run",
    "pass_failed_step",
    "pause_run",
    "plan_again",
    "plan_compensation",
    "postpone_step",
    "ready_step",
    "record_external_id",
    "record_fact",
    "record_late_result",
    "record_refused_message",
    "release_claim",
    "release_uncalled",
    "reopen_step",
    "resolve_review",
    "resume_run",
    "review_run",
    "schedule_retry",
    "settle_step",
    "skip_compensation",
    "skip_step",
    "start_step",
    "succeed_and_claim",
    "succeed_and_ready",
    "succeed_compensation",
    "succeed_run",
    "succeed_step",
    "turn_run_back",
    "undo_step",
    "verify_step",
]
