"""The states of runs and steps, and the only list of arrows between them.

Everything that needs to know which change of state is legal derives from `TRANSITIONS`: the CHECK constraints of
the ledger, the guards inside its UPDATE statements, the tests that try each arrow from each state, the docs.
Source: `semantics` section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal


class RunState(StrEnum):
    """Where a run is. The value is what the database stores."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    PARKED = "parked"
    IN_REVIEW = "in_review"
    ROLLING_BACK = "rolling_back"
    SUCCEEDED = "succeeded"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True when nothing happens any more unless a person asks for it."""
        return self in FINAL_RUN_STATES

    @property
    def is_settled(self) -> bool:
        """True when the engine does nothing more by itself: final, or waiting for a person."""
        return self in SETTLED_RUN_STATES


FINAL_RUN_STATES: Final = frozenset(
    {RunState.SUCCEEDED, RunState.ROLLED_BACK, RunState.FAILED, RunState.CANCELLED},
)
OPEN_RUN_STATES: Final = frozenset(RunState) - FINAL_RUN_STATES
ACTIVE_RUN_STATES: Final = frozenset({RunState.PENDING, RunState.RUNNING, RunState.ROLLING_BACK})
"""States in which a row of the run may be claimed."""
SETTLED_RUN_STATES: Final = FINAL_RUN_STATES | {RunState.IN_REVIEW, RunState.PARKED, RunState.PAUSED}


class StepState(StrEnum):
    """Where a step is, in either direction. The value is what the database stores."""

    PENDING = "pending"
    READY = "ready"
    RUNNING = "running"
    RETRY_SCHEDULED = "retry_scheduled"
    WAITING = "waiting"
    IN_DOUBT = "in_doubt"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    KEPT = "kept"
    UNDONE = "undone"

    @property
    def is_finished(self) -> bool:
        """True when the row has a finish time: no attempt of it is running or expected."""
        return self in FINISHED_STEP_STATES


FINISHED_STEP_STATES: Final = frozenset(
    {
        StepState.SUCCEEDED,
        StepState.FAILED,
        StepState.SKIPPED,
        StepState.KEPT,
        StepState.UNDONE,
    },
)


class Direction(StrEnum):
    """What a step row runs: the step itself, the compensation that undoes it, or a question about it."""

    FORWARD = "forward"
    COMPENSATION = "compensation"
    RECONCILE = "reconcile"
    """The question whether a step in doubt has happened."""
    VERIFY = "verify"
    """The question whether what a step has published is live."""

    @property
    def is_question(self) -> bool:
        """True for what only reads: it may be asked any number of times."""
        return self in (Direction.RECONCILE, Direction.VERIFY)


class Answer(StrEnum):
    """What a question about a step was answered."""

    DONE = "done"
    """It has happened, or it is live."""
    NOT_DONE = "not_done"
    UNKNOWN = "unknown"
    """Nobody but a person can tell."""


class RollbackOutcome(StrEnum):
    """How far the rollback of a run came; kept apart from the error that caused it."""

    NONE = "none"
    COMPLETE = "complete"
    PARTIAL = "partial"
    FAILED = "failed"


class ReviewReason(StrEnum):
    """Why a person is asked. Stable codes, see `semantics` section 5."""

    CONFIRMATION_MISSING = "confirmation_missing"
    RETRIES_EXHAUSTED_AFTER_WRITE = "retries_exhausted_after_write"
    SYSTEMS_DISAGREE = "systems_disagree"
    MAY_HAVE_DUPLICATED = "may_have_duplicated"
    NOT_LIVE_AFTER_PUBLISH = "not_live_after_publish"
    CREDENTIALS_FAILED = "credentials_failed"
    COMPENSATION_FAILED = "compensation_failed"
    IRREVERSIBLE_PASSED = "irreversible_passed"
    DEFINITION_MISSING = "definition_missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """One legal change of state.

    Attributes:
        subject: what changes, a run or a step.
        sources: the states it may start from; empty when all that it can do is to create the row.
        targets: the states it may end in; more than one only where the contract of the step decides.
        creates: it makes the row where there is none.
        is_by_hand: only a person walks it, or the engine in a run that a person has started again.
    """

    subject: Literal["run", "step"]
    sources: frozenset[str]
    targets: frozenset[str]
    creates: bool
    is_by_hand: bool = False


def _by_hand(arrow: Arrow) -> Arrow:
    return replace(arrow, is_by_hand=True)


def _step(sources: set[StepState], *targets: StepState, creates: bool = False) -> Arrow:
    is_new = creates or not sources
    return Arrow(subject="step", sources=frozenset(sources), targets=frozenset(targets), creates=is_new)


def _run(sources: set[RunState], *targets: RunState) -> Arrow:
    return Arrow(subject="run", sources=frozenset(sources), targets=frozenset(targets), creates=not sources)


TRANSITIONS: Final[Mapping[str, Arrow]] = MappingProxyType(
    {
        # A step row is born ready (the next forward step; running, where the worker that ended the step before goes on
        # at once) or with the rollback plan (all compensations at once).
        "create_step": _step(set(), StepState.READY, StepState.RUNNING),
        "plan_compensation": _step(
            set(),
            StepState.PENDING,
            StepState.READY,
            StepState.WAITING,
            StepState.KEPT,
            StepState.SKIPPED,
        ),
        "ready_step": _step({StepState.PENDING}, StepState.READY),
        # A question waits while an attempt that nobody hears of may still have its effect (R5, R8).
        # Asked for the first time it creates its row; asked again, whatever was known before is out of date.
        "ask_question": _step(
            {StepState.RUNNING, StepState.RETRY_SCHEDULED, StepState.SUCCEEDED, StepState.FAILED},
            StepState.PENDING,
            StepState.READY,
            StepState.WAITING,
            creates=True,
        ),
        "end_wait": _step({StepState.WAITING}, StepState.READY),
        # Nobody may claim it until a person has decided.
        "hold_step": _step({StepState.READY, StepState.RETRY_SCHEDULED}, StepState.PENDING),
        # Its turn has come, and the worker that ended the one before goes on at once: it was never ready.
        "claim_compensation": _step({StepState.PENDING}, StepState.RUNNING),
        "claim_step": _step({StepState.READY, StepState.RETRY_SCHEDULED}, StepState.RUNNING),
        "succeed_step": _step({StepState.RUNNING}, StepState.SUCCEEDED),
        "skip_step": _step({StepState.RUNNING}, StepState.SKIPPED),
        "fail_step": _step({StepState.RUNNING}, StepState.FAILED),
        "schedule_retry": _step({StepState.RUNNING}, StepState.RETRY_SCHEDULED),
        # The claim ended without an outcome: again under the same key if the contract allows it, else in doubt (R8).
        "release_claim": _step({StepState.RUNNING}, StepState.READY),
        "doubt_step": _step({StepState.RUNNING}, StepState.IN_DOUBT),
        # What a reconcile function found out about a step in doubt (R8), or about one that is to be undone.
        "confirm_step": _step({StepState.IN_DOUBT}, StepState.SUCCEEDED),
        "clear_doubt": _step({StepState.IN_DOUBT}, StepState.READY),
        "drop_compensation": _step({StepState.PENDING}, StepState.SKIPPED),
        "undo_step": _step({StepState.SUCCEEDED}, StepState.UNDONE),
        # By hand. A person lets a row run that had ended, says how it ended, or closes one that will not run; a later
        # rollback plans what an earlier one has left standing anew, in the same row.
        "reopen_step": _by_hand(
            _step(
                {StepState.FAILED, StepState.IN_DOUBT, StepState.SUCCEEDED, StepState.SKIPPED},
                StepState.READY,
                StepState.PENDING,
            ),
        ),
        # A question that was answered without anybody knowing more is settled from succeeded.
        "settle_step": _by_hand(
            _step(
                {StepState.PENDING, StepState.FAILED, StepState.IN_DOUBT, StepState.SUCCEEDED},
                StepState.SUCCEEDED,
            ),
        ),
        "close_step": _by_hand(
            _step(
                {
                    StepState.PENDING,
                    StepState.READY,
                    StepState.RETRY_SCHEDULED,
                    StepState.WAITING,
                    StepState.IN_DOUBT,
                },
                StepState.SKIPPED,
                StepState.FAILED,
            ),
        ),
        "plan_again": _by_hand(
            _step(
                {StepState.FAILED, StepState.IN_DOUBT, StepState.SKIPPED, StepState.KEPT},
                StepState.PENDING,
                StepState.READY,
                StepState.WAITING,
            ),
        ),
        "create_run": _run(set(), RunState.PENDING),
        "start_run": _run({RunState.PENDING}, RunState.RUNNING),
        "succeed_run": _run({RunState.RUNNING}, RunState.SUCCEEDED),
        "park_run": _run({RunState.RUNNING}, RunState.PARKED),
        "review_run": _run(
            {RunState.PENDING, RunState.RUNNING, RunState.ROLLING_BACK, RunState.PAUSED},
            RunState.IN_REVIEW,
        ),
        "begin_rollback": _run({RunState.RUNNING}, RunState.ROLLING_BACK),
        # A rollback to a step ends paused: a person says whether the run goes on from there.
        "finish_rollback": _run({RunState.ROLLING_BACK}, RunState.ROLLED_BACK, RunState.FAILED, RunState.PAUSED),
        # By hand.
        "pause_run": _by_hand(
            _run({RunState.PENDING, RunState.RUNNING, RunState.ROLLING_BACK}, RunState.PAUSED),
        ),
        "resume_run": _by_hand(
            _run(
                {
                    RunState.PENDING,
                    RunState.RUNNING,
                    RunState.PAUSED,
                    RunState.PARKED,
                    RunState.IN_REVIEW,
                    RunState.ROLLED_BACK,
                    RunState.FAILED,
                    RunState.CANCELLED,
                },
                RunState.RUNNING,
            ),
        ),
        "turn_run_back": _by_hand(
            _run(set(RunState) - {RunState.WAITING, RunState.ROLLING_BACK}, RunState.ROLLING_BACK),
        ),
        "cancel_run": _by_hand(
            _run(
                {RunState.PENDING, RunState.RUNNING, RunState.PAUSED, RunState.PARKED, RunState.IN_REVIEW},
                RunState.CANCELLED,
            ),
        ),
        "close_run": _by_hand(_run({RunState.PAUSED, RunState.PARKED, RunState.IN_REVIEW}, RunState.FAILED)),
    },
)
"""Arrow name to arrow. Each name is a function of `backout.ledger.transitions`; a test compares the two."""


def sources(arrow: str) -> tuple[str, ...]:
    """Return the states that an arrow may start from, sorted so that the SQL built from them is always the same."""
    return tuple(sorted(TRANSITIONS[arrow].sources))
