"""Every way to walk an arrow of a step row, and exactly what it changes: the table behind the tests of arrows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection

from backout.events import Event
from backout.states import TRANSITIONS, Direction, StepState
from tests.ledger import walking
from tests.ledger.walking import Scene

FORWARD: Final = frozenset({Direction.FORWARD})
COMPENSATION: Final = frozenset({Direction.COMPENSATION})
RECONCILE: Final = frozenset({Direction.RECONCILE})
VERIFY: Final = frozenset({Direction.VERIFY})
ANY: Final = FORWARD | COMPENSATION | RECONCILE
"""What is true of the question whether a step has happened is true of the other question too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """One way to walk an arrow.

    Attributes:
        arrow: the name in `TRANSITIONS`.
        call: walks it; its answer is falsy when nothing was written.
        target: the state it ends in.
        step_columns: the columns of the step row that change.
        run_columns: the columns of the run that change, `updated_at` among them.
        of_source: what changes besides, in the step row and in the run, from one source only.
        events: the entries that are added, in order.
        new_rows: how many step rows are added.
        directions: the rows it is for.
        other_targets: the state it ends in, from the sources from which that is another one.
        is_in_transaction: it takes several statements, which need a transaction.
    """

    arrow: str
    call: Callable[[Connection, Scene], object]
    target: StepState
    step_columns: frozenset[str]
    run_columns: frozenset[str] = frozenset()
    of_source: Mapping[StepState, tuple[frozenset[str], frozenset[str]]] = field(default_factory=dict)
    events: tuple[Event, ...]
    new_rows: int = 0
    directions: frozenset[Direction] = ANY
    other_targets: Mapping[StepState, StepState] = field(default_factory=dict)
    is_in_transaction: bool = False

    @property
    def sources(self) -> frozenset[str]:
        """The states it may start from."""
        return TRANSITIONS[self.arrow].sources

    @property
    def is_by_hand(self) -> bool:
        """Whether only a person walks it: its entry has their name and their reason."""
        return TRANSITIONS[self.arrow].is_by_hand

    def target_of(self, scene: Scene) -> StepState:
        """Return the state that it ends in in this scene."""
        return self.other_targets.get(scene.state, self.target)

    def changes_of(self, scene: Scene) -> dict[tuple[str, tuple[Any, ...]], frozenset[str]]:
        """Return the rows that it changes in this scene, each with the names of the columns."""
        more_of_step, more_of_run = self.of_source.get(scene.state, (frozenset(), frozenset()))
        step_columns, run_columns = self.step_columns | more_of_step, self.run_columns | more_of_run
        if scene.key.direction is not Direction.FORWARD:
            step_columns -= {"exclusive_key"}  # Only a step holds one.
            run_columns -= {"error_summary"}  # It stays what caused the rollback.
        changes = {scene.row: step_columns}
        if run_columns:
            changes[scene.run_row] = run_columns
        return changes


_ENDED: Final = frozenset({"state", "claim_expires_at", "sweep_at"})
_FINISHED: Final = _ENDED | {"finished_at"}
_COUNTED: Final = frozenset({"updated_at", "attempt_count"})
_WENT_ON: Final = _COUNTED | {"operator_state"}
_CLOSED: Final = _WENT_ON | {"state", "finished_at"}
_NOTHING: Final[frozenset[str]] = frozenset()
_REOPENED: Final = frozenset({"state", "task_id", "claim_token", "forgiven_attempts"})
_WAS_FINISHED: Final = dict.fromkeys(
    (StepState.FAILED, StepState.SUCCEEDED, StepState.SKIPPED), (frozenset({"finished_at"}), _NOTHING)
)
_WAS_OPEN: Final = {
    StepState.PENDING: (frozenset({"error"}), _NOTHING),
    StepState.READY: (frozenset({"error", "sweep_at"}), _NOTHING),
    StepState.WAITING: (frozenset({"error", "sweep_at"}), _NOTHING),
    # What the last attempt said stays, and nobody else has the key any more than after a failure.
    StepState.RETRY_SCHEDULED: (frozenset({"next_retry_at", "sweep_at", "exclusive_key"}), _NOTHING),
    StepState.IN_DOUBT: (frozenset({"exclusive_key"}), _NOTHING),
}
_PLANNED_AGAIN: Final = frozenset({"state", "start_order", "task_id", "dispatched_at"})
_WAS_TRIED: Final = frozenset({"claim_token", "forgiven_attempts"})
_WAS_LEFT: Final = {
    StepState.FAILED: (_WAS_TRIED | {"finished_at"}, _NOTHING),
    StepState.SKIPPED: (_WAS_TRIED | {"finished_at"}, _NOTHING),
    StepState.IN_DOUBT: (_WAS_TRIED, _NOTHING),
    StepState.KEPT: (frozenset({"finished_at"}), _NOTHING),
}

WALKS: Final = {
    "claim_step": Walk(
        arrow="claim_step",
        call=walking.walk_claim,
        target=StepState.RUNNING,
        step_columns=frozenset({"state", "attempt", "claim_token", "claim_expires_at", "sweep_at"}),
        of_source={
            StepState.READY: (frozenset({"started_at", "exclusive_key"}), frozenset()),
            StepState.RETRY_SCHEDULED: (frozenset({"next_retry_at"}), frozenset({"updated_at", "next_retry_at"})),
        },
        events=(Event.ATTEMPT_STARTED,),
    ),
    "claim_compensation": Walk(
        arrow="claim_compensation",
        call=walking.walk_claim_compensation,
        target=StepState.RUNNING,
        step_columns=frozenset({"state", "attempt", "claim_token", "claim_expires_at", "sweep_at", "started_at"}),
        events=(Event.ATTEMPT_STARTED,),
        directions=COMPENSATION,
        is_in_transaction=True,
    ),
    "succeed_step": Walk(
        arrow="succeed_step",
        call=walking.walk_succeed(is_last=False),
        target=StepState.SUCCEEDED,
        step_columns=_FINISHED | {"output", "error"},
        run_columns=_WENT_ON | {"last_successful_step"},
        events=(Event.STEP_SUCCEEDED, Event.STEP_READY),
        new_rows=1,
        directions=FORWARD,
    ),
    "succeed_step, the last": Walk(
        arrow="succeed_step",
        call=walking.walk_succeed(is_last=True),
        target=StepState.SUCCEEDED,
        step_columns=_FINISHED | {"output", "error"},
        run_columns=_CLOSED | {"last_successful_step", "output"},
        events=(Event.STEP_SUCCEEDED, Event.RUN_SUCCEEDED),
        directions=FORWARD,
    ),
    "skip_step": Walk(
        arrow="skip_step",
        call=walking.walk_skip(is_last=False),
        target=StepState.SKIPPED,
        step_columns=_FINISHED | {"exclusive_key"},
        run_columns=_WENT_ON,
        events=(Event.STEP_SKIPPED, Event.STEP_READY),
        new_rows=1,
        directions=FORWARD,
    ),
    "skip_step, the last": Walk(
        arrow="skip_step",
        call=walking.walk_skip(is_last=True),
        target=StepState.SKIPPED,
        step_columns=_FINISHED | {"exclusive_key"},
        run_columns=_CLOSED,
        events=(Event.STEP_SKIPPED, Event.RUN_SUCCEEDED),
        directions=FORWARD,
    ),
    "pass_failed_step": Walk(
        arrow="fail_step",
        call=walking.walk_pass_failed(is_last=False),
        target=StepState.FAILED,
        step_columns=_FINISHED | {"error", "exclusive_key"},
        run_columns=_WENT_ON | {"error_summary"},
        events=(Event.STEP_FAILED, Event.STEP_READY),
        new_rows=1,
        directions=FORWARD,
    ),
    "pass_failed_step, the last": Walk(
        arrow="fail_step",
        call=walking.walk_pass_failed(is_last=True),
        target=StepState.FAILED,
        step_columns=_FINISHED | {"error", "exclusive_key"},
        run_columns=_CLOSED | {"error_summary"},
        events=(Event.STEP_FAILED, Event.RUN_SUCCEEDED),
        directions=FORWARD,
    ),
    "fail_step": Walk(
        arrow="fail_step",
        call=walking.walk_fail,
        target=StepState.FAILED,
        step_columns=_FINISHED | {"error", "exclusive_key"},
        run_columns=_COUNTED,
        events=(Event.STEP_FAILED,),
    ),
    "schedule_retry": Walk(
        arrow="schedule_retry",
        call=walking.walk_schedule_retry,
        target=StepState.RETRY_SCHEDULED,
        step_columns=_ENDED | {"error", "next_retry_at", "sends"},
        run_columns=_COUNTED | {"next_retry_at", "error_summary"},
        events=(Event.RETRY_SCHEDULED,),
    ),
    "release_claim": Walk(
        arrow="release_claim",
        call=walking.walk_release,
        target=StepState.READY,
        step_columns=_ENDED | {"claim_token", "lost_attempts", "error"},
        run_columns=_COUNTED,
        events=(Event.CLAIM_RELEASED,),
    ),
    "release_uncalled": Walk(
        arrow="release_claim",
        call=walking.walk_release_uncalled,
        target=StepState.READY,
        step_columns=_ENDED | {"claim_token", "attempt"},
        events=(Event.CLAIM_RELEASED,),
    ),
    "hold_step": Walk(
        arrow="hold_step",
        call=walking.walk_hold,
        target=StepState.PENDING,
        step_columns=frozenset({"state", "sweep_at"}),
        of_source={StepState.RETRY_SCHEDULED: (frozenset({"next_retry_at"}), frozenset())},
        events=(Event.STEP_HELD,),
    ),
    "doubt_step": Walk(
        arrow="doubt_step",
        call=walking.walk_doubt,
        target=StepState.IN_DOUBT,
        step_columns=_ENDED | {"claim_token", "lost_attempts", "error"},
        run_columns=_WENT_ON | {"error_summary"},
        events=(Event.STEP_IN_DOUBT,),
    ),
    "succeed_compensation": Walk(
        arrow="succeed_step",
        call=walking.walk_succeed_compensation,
        target=StepState.SUCCEEDED,
        step_columns=_FINISHED | {"output", "error"},
        run_columns=_WENT_ON,
        events=(Event.STEP_SUCCEEDED,),
        directions=COMPENSATION,
    ),
    "skip_compensation": Walk(
        arrow="skip_step",
        call=walking.walk_skip_compensation,
        target=StepState.SKIPPED,
        step_columns=_FINISHED,
        run_columns=_WENT_ON,
        events=(Event.STEP_SKIPPED,),
        directions=COMPENSATION,
    ),
    "answer_question": Walk(
        arrow="succeed_step",
        call=walking.walk_answer,
        target=StepState.SUCCEEDED,
        step_columns=_FINISHED | {"output", "error"},
        events=(Event.QUESTION_ANSWERED,),
        directions=RECONCILE | VERIFY,
    ),
    "verify_step": Walk(
        arrow="succeed_step",
        call=walking.walk_verify(is_last=False),
        target=StepState.SUCCEEDED,
        step_columns=_FINISHED | {"output", "error"},
        run_columns=frozenset({"updated_at", "operator_state", "last_successful_step"}),
        events=(Event.QUESTION_ANSWERED, Event.STEP_READY),
        new_rows=1,
        directions=VERIFY,
    ),
    "verify_step, the last": Walk(
        arrow="succeed_step",
        call=walking.walk_verify(is_last=True),
        target=StepState.SUCCEEDED,
        step_columns=_FINISHED | {"output", "error"},
        run_columns=frozenset(
            {"updated_at", "operator_state", "last_successful_step", "state", "finished_at", "output"}
        ),
        events=(Event.QUESTION_ANSWERED, Event.RUN_SUCCEEDED),
        directions=VERIFY,
    ),
    "confirm_step": Walk(
        arrow="confirm_step",
        call=walking.walk_confirm(is_last=False),
        target=StepState.SUCCEEDED,
        step_columns=frozenset({"state", "finished_at", "output", "error"}),
        run_columns=frozenset({"updated_at", "operator_state", "last_successful_step"}),
        events=(Event.STEP_SUCCEEDED, Event.STEP_READY),
        new_rows=1,
        directions=FORWARD,
    ),
    "confirm_step, the last": Walk(
        arrow="confirm_step",
        call=walking.walk_confirm(is_last=True),
        target=StepState.SUCCEEDED,
        step_columns=frozenset({"state", "finished_at", "output", "error"}),
        run_columns=frozenset(
            {"updated_at", "operator_state", "last_successful_step", "state", "finished_at", "output"}
        ),
        events=(Event.STEP_SUCCEEDED, Event.RUN_SUCCEEDED),
        directions=FORWARD,
    ),
    "clear_doubt": Walk(
        arrow="clear_doubt",
        call=walking.walk_clear,
        target=StepState.READY,
        step_columns=frozenset({"state", "sends", "sweep_at", "dispatched_at", "task_id"}),
        run_columns=frozenset({"updated_at", "operator_state"}),
        events=(Event.DOUBT_CLEARED,),
        directions=FORWARD,
    ),
    "ask_question": Walk(
        arrow="ask_question",
        call=walking.walk_ask_again,
        target=StepState.READY,
        step_columns=frozenset(
            {
                "state",
                "attempt",
                "start_order",
                "idempotency_key",
                "claim_token",
                "task_id",
                "error",
                "sends",
                "sweep_at",
                "dispatched_at",
                "started_at",
            }
        ),
        of_source={
            StepState.RUNNING: (frozenset({"claim_expires_at"}), frozenset()),
            StepState.RETRY_SCHEDULED: (frozenset({"next_retry_at"}), frozenset()),
            StepState.SUCCEEDED: (frozenset({"finished_at"}), frozenset()),
            StepState.FAILED: (frozenset({"finished_at"}), frozenset()),
        },
        events=(Event.QUESTION_ASKED,),
        directions=RECONCILE,
    ),
    "drop_compensation": Walk(
        arrow="drop_compensation",
        call=walking.walk_drop,
        target=StepState.SKIPPED,
        step_columns=frozenset({"state", "finished_at"}),
        events=(Event.STEP_SKIPPED,),
        directions=COMPENSATION,
    ),
    "end_wait": Walk(
        arrow="end_wait",
        call=walking.walk_end_wait,
        target=StepState.READY,
        step_columns=frozenset({"state", "sweep_at"}),
        events=(Event.WAIT_ENDED,),
        directions=COMPENSATION | RECONCILE,
    ),
    "ready_step": Walk(
        arrow="ready_step",
        call=walking.walk_ready,
        target=StepState.READY,
        step_columns=frozenset({"state", "sends", "sweep_at", "dispatched_at"}),
        events=(Event.STEP_READY,),
    ),
    "undo_step": Walk(
        arrow="undo_step",
        call=walking.walk_undo,
        target=StepState.UNDONE,
        step_columns=frozenset({"state", "exclusive_key"}),
        events=(Event.STEP_UNDONE,),
        directions=FORWARD,
    ),
    "reopen_step": Walk(
        arrow="reopen_step",
        call=walking.walk_reopen(StepState.READY),
        target=StepState.READY,
        step_columns=_REOPENED | {"sends", "sweep_at", "dispatched_at"},
        of_source=_WAS_FINISHED,
        events=(Event.STEP_REOPENED,),
    ),
    "reopen_step, for its turn": Walk(
        arrow="reopen_step",
        call=walking.walk_reopen(StepState.PENDING),
        target=StepState.PENDING,
        step_columns=_REOPENED,
        of_source=_WAS_FINISHED,
        events=(Event.STEP_REOPENED,),
    ),
    "settle_step": Walk(
        arrow="settle_step",
        call=walking.walk_settle,
        target=StepState.SUCCEEDED,
        step_columns=frozenset({"output", "finished_at"}),
        of_source={
            StepState.PENDING: (frozenset({"state"}), frozenset()),
            StepState.FAILED: (frozenset({"state", "error", "claim_token"}), frozenset()),
            StepState.IN_DOUBT: (frozenset({"state", "error", "claim_token"}), frozenset()),
            StepState.SUCCEEDED: (frozenset({"error", "claim_token"}), frozenset()),
        },
        events=(Event.STEP_SETTLED,),
    ),
    "close_step": Walk(
        arrow="close_step",
        call=walking.walk_close,
        target=StepState.FAILED,
        other_targets=dict.fromkeys((StepState.PENDING, StepState.READY, StepState.WAITING), StepState.SKIPPED),
        step_columns=frozenset({"state", "finished_at"}),
        of_source=_WAS_OPEN,
        events=(Event.STEP_CLOSED,),
        directions=FORWARD | COMPENSATION,
    ),
    "close_step, a question": Walk(
        arrow="close_step",
        call=walking.walk_close,
        target=StepState.FAILED,
        step_columns=frozenset({"state", "finished_at"}),
        of_source=_WAS_OPEN,
        events=(Event.STEP_CLOSED,),
        directions=RECONCILE | VERIFY,
    ),
    "plan_again": Walk(
        arrow="plan_again",
        call=walking.walk_plan_again(StepState.READY),
        target=StepState.READY,
        step_columns=_PLANNED_AGAIN | {"sends", "sweep_at"},
        of_source=_WAS_LEFT,
        events=(Event.STEP_READY,),
        directions=COMPENSATION,
        is_in_transaction=True,
    ),
    "plan_again, for its turn": Walk(
        arrow="plan_again",
        call=walking.walk_plan_again(StepState.PENDING),
        target=StepState.PENDING,
        step_columns=_PLANNED_AGAIN,
        of_source=_WAS_LEFT,
        events=(Event.COMPENSATION_PLANNED,),
        directions=COMPENSATION,
        is_in_transaction=True,
    ),
    "plan_again, for later": Walk(
        arrow="plan_again",
        call=walking.walk_plan_again(StepState.WAITING),
        target=StepState.WAITING,
        step_columns=_PLANNED_AGAIN | {"sweep_at"},
        of_source=_WAS_LEFT,
        events=(Event.WAIT_STARTED,),
        directions=COMPENSATION,
        is_in_transaction=True,
    ),
}
