"""Every way to walk an arrow of a step row, and exactly what it changes: the table behind the tests of arrows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection

from backout.events import Event
from backout.identifiers import RunId, new_claim_token
from backout.ledger import transitions
from backout.ledger.records import Claim, StepKey
from backout.ledger.session import Ledger
from backout.states import TRANSITIONS, Direction, RunState, StepState
from tests.support.ledgers import LATER, claim_of, describe_next, key_of, put_run, put_step

ERROR: Final = {"type": "builtins.ValueError", "message": "this attempt"}
FORWARD: Final = frozenset({Direction.FORWARD})
COMPENSATION: Final = frozenset({Direction.COMPENSATION})
BOTH: Final = FORWARD | COMPENSATION


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One step row in one state, at position 1 of a run that is under way."""

    run_id: RunId
    key: StepKey
    claim: Claim
    state: StepState

    @property
    def row(self) -> tuple[str, tuple[Any, ...]]:
        """The name of the step row in a snapshot."""
        return "backout_step", (self.key.run_id, self.key.round, self.key.position, self.key.direction.value)

    @property
    def run_row(self) -> tuple[str, tuple[Any, ...]]:
        """The name of the run row in a snapshot."""
        return "backout_run", (self.run_id,)


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
    """

    arrow: str
    call: Callable[[Connection, Scene], object]
    target: StepState
    step_columns: frozenset[str]
    run_columns: frozenset[str] = frozenset()
    of_source: Mapping[StepState, tuple[frozenset[str], frozenset[str]]] = field(default_factory=dict)
    events: tuple[Event, ...]
    new_rows: int = 0
    directions: frozenset[Direction] = BOTH

    @property
    def sources(self) -> frozenset[str]:
        """The states it may start from."""
        return TRANSITIONS[self.arrow].sources

    def changes_of(self, scene: Scene) -> dict[tuple[str, tuple[Any, ...]], frozenset[str]]:
        """Return the rows that it changes in this scene, each with the names of the columns."""
        more_of_step, more_of_run = self.of_source.get(scene.state, (frozenset(), frozenset()))
        step_columns, run_columns = self.step_columns | more_of_step, self.run_columns | more_of_run
        if scene.key.direction is Direction.COMPENSATION:
            step_columns -= {"exclusive_key"}  # A compensation never holds one.
            run_columns -= {"error_summary"}  # It stays what caused the rollback.
        changes = {scene.row: step_columns}
        if run_columns:
            changes[scene.run_row] = run_columns
        return changes


def set_scene(ledger: Ledger, direction: Direction, state: StepState) -> Scene:
    """Write a run under way with one row in this state, finished rows around it, and another run just like it."""
    scene = _write_run(ledger, direction, state)
    _write_run(ledger, direction, state)
    return scene


def _write_run(ledger: Ledger, direction: Direction, state: StepState) -> Scene:
    run_state = RunState.RUNNING if direction is Direction.FORWARD else RunState.ROLLING_BACK
    holds_key = direction is Direction.FORWARD and state not in (StepState.READY, StepState.PENDING)
    with ledger.transaction() as connection:
        run_id = put_run(
            connection,
            state=run_state,
            next_retry_at=LATER if state is StepState.RETRY_SCHEDULED else None,
        )
        put_step(connection, key_of(run_id, 0), state=StepState.SUCCEEDED)
        key = key_of(run_id, 1, direction)
        put_step(connection, key, state=state, exclusive_key=f"own:{run_id}" if holds_key else None)
    return Scene(run_id=run_id, key=key, claim=claim_of(key), state=state)


def _claim(connection: Connection, scene: Scene) -> object:
    return transitions.claim_step(
        connection,
        scene.key,
        token=new_claim_token(),
        lease_seconds=60,
        worker="worker-1",
        attempt=1 if scene.state is StepState.READY else scene.claim.attempt + 1,
        exclusive_key=f"own:{scene.run_id}" if scene.key.direction is Direction.FORWARD else None,
    )


def _succeed(*, is_last: bool) -> Callable[[Connection, Scene], object]:
    def call(connection: Connection, scene: Scene) -> object:
        return transitions.succeed_step(
            connection,
            scene.claim,
            output={"charge": 1},
            following=None if is_last else describe_next(scene.claim, "book"),
            operator_state="step_1_done",
            resend_seconds=60,
        )

    return call


def _skip(*, is_last: bool) -> Callable[[Connection, Scene], object]:
    def call(connection: Connection, scene: Scene) -> object:
        return transitions.skip_step(
            connection,
            scene.claim,
            reason="nothing to charge",
            following=None if is_last else describe_next(scene.claim, "book"),
            operator_state="step_1_skipped",
            resend_seconds=60,
        )

    return call


def _pass_failed(*, is_last: bool) -> Callable[[Connection, Scene], object]:
    def call(connection: Connection, scene: Scene) -> object:
        return transitions.pass_failed_step(
            connection,
            scene.claim,
            error=ERROR,
            reason="ValueError: this attempt",
            following=None if is_last else describe_next(scene.claim, "book"),
            operator_state="step_1_failed",
            resend_seconds=60,
        )

    return call


def _fail(connection: Connection, scene: Scene) -> object:
    return transitions.fail_step(connection, scene.claim, error=ERROR, reason="ValueError: this attempt")


def _schedule_retry(connection: Connection, scene: Scene) -> object:
    return transitions.schedule_retry(
        connection,
        scene.claim,
        error=ERROR,
        reason="ValueError: this attempt",
        delay_seconds=10,
        resend_seconds=60,
    )


def _release(connection: Connection, scene: Scene) -> object:
    return transitions.release_claim(connection, scene.key, token=scene.claim.token, reason="the claim expired")


def _doubt(connection: Connection, scene: Scene) -> object:
    return transitions.doubt_step(connection, scene.key, token=scene.claim.token, reason="the claim expired")


def _succeed_compensation(connection: Connection, scene: Scene) -> object:
    return transitions.succeed_compensation(
        connection, scene.claim, output={"refund": 1}, operator_state="step_1_undone"
    )


def _skip_compensation(connection: Connection, scene: Scene) -> object:
    return transitions.skip_compensation(
        connection, scene.claim, reason="nothing to refund", operator_state="step_1_undone"
    )


def _ready(connection: Connection, scene: Scene) -> object:
    return transitions.ready_step(connection, scene.key, resend_seconds=60)


def _undo(connection: Connection, scene: Scene) -> object:
    return transitions.undo_step(connection, scene.key)


_ENDED: Final = frozenset({"state", "claim_expires_at", "sweep_at"})
_FINISHED: Final = _ENDED | {"finished_at"}
_COUNTED: Final = frozenset({"updated_at", "attempt_count"})
_WENT_ON: Final = _COUNTED | {"operator_state"}
_CLOSED: Final = _WENT_ON | {"state", "finished_at"}

WALKS: Final = {
    "claim_step": Walk(
        arrow="claim_step",
        call=_claim,
        target=StepState.RUNNING,
        step_columns=frozenset({"state", "attempt", "claim_token", "claim_expires_at", "sweep_at"}),
        of_source={
            StepState.READY: (frozenset({"started_at", "exclusive_key"}), frozenset()),
            StepState.RETRY_SCHEDULED: (frozenset({"next_retry_at"}), frozenset({"updated_at", "next_retry_at"})),
        },
        events=(Event.ATTEMPT_STARTED,),
    ),
    "succeed_step": Walk(
        arrow="succeed_step",
        call=_succeed(is_last=False),
        target=StepState.SUCCEEDED,
        step_columns=_FINISHED | {"output", "error"},
        run_columns=_WENT_ON | {"last_successful_step"},
        events=(Event.STEP_SUCCEEDED, Event.STEP_READY),
        new_rows=1,
        directions=FORWARD,
    ),
    "succeed_step, the last": Walk(
        arrow="succeed_step",
        call=_succeed(is_last=True),
        target=StepState.SUCCEEDED,
        step_columns=_FINISHED | {"output", "error"},
        run_columns=_CLOSED | {"last_successful_step", "output"},
        events=(Event.STEP_SUCCEEDED, Event.RUN_SUCCEEDED),
        directions=FORWARD,
    ),
    "skip_step": Walk(
        arrow="skip_step",
        call=_skip(is_last=False),
        target=StepState.SKIPPED,
        step_columns=_FINISHED | {"exclusive_key"},
        run_columns=_WENT_ON,
        events=(Event.STEP_SKIPPED, Event.STEP_READY),
        new_rows=1,
        directions=FORWARD,
    ),
    "skip_step, the last": Walk(
        arrow="skip_step",
        call=_skip(is_last=True),
        target=StepState.SKIPPED,
        step_columns=_FINISHED | {"exclusive_key"},
        run_columns=_CLOSED,
        events=(Event.STEP_SKIPPED, Event.RUN_SUCCEEDED),
        directions=FORWARD,
    ),
    "pass_failed_step": Walk(
        arrow="fail_step",
        call=_pass_failed(is_last=False),
        target=StepState.FAILED,
        step_columns=_FINISHED | {"error", "exclusive_key"},
        run_columns=_WENT_ON | {"error_summary"},
        events=(Event.STEP_FAILED, Event.STEP_READY),
        new_rows=1,
        directions=FORWARD,
    ),
    "pass_failed_step, the last": Walk(
        arrow="fail_step",
        call=_pass_failed(is_last=True),
        target=StepState.FAILED,
        step_columns=_FINISHED | {"error", "exclusive_key"},
        run_columns=_CLOSED | {"error_summary"},
        events=(Event.STEP_FAILED, Event.RUN_SUCCEEDED),
        directions=FORWARD,
    ),
    "fail_step": Walk(
        arrow="fail_step",
        call=_fail,
        target=StepState.FAILED,
        step_columns=_FINISHED | {"error", "exclusive_key"},
        run_columns=_COUNTED,
        events=(Event.STEP_FAILED,),
    ),
    "schedule_retry": Walk(
        arrow="schedule_retry",
        call=_schedule_retry,
        target=StepState.RETRY_SCHEDULED,
        step_columns=_ENDED | {"error", "next_retry_at", "sends"},
        run_columns=_COUNTED | {"next_retry_at", "error_summary"},
        events=(Event.RETRY_SCHEDULED,),
    ),
    "release_claim": Walk(
        arrow="release_claim",
        call=_release,
        target=StepState.READY,
        step_columns=_ENDED | {"claim_token", "lost_attempts", "error"},
        run_columns=_COUNTED,
        events=(Event.CLAIM_RELEASED,),
    ),
    "doubt_step": Walk(
        arrow="doubt_step",
        call=_doubt,
        target=StepState.IN_DOUBT,
        step_columns=_ENDED | {"claim_token", "lost_attempts", "error"},
        run_columns=_COUNTED | {"error_summary"},
        events=(Event.STEP_IN_DOUBT,),
    ),
    "succeed_compensation": Walk(
        arrow="succeed_step",
        call=_succeed_compensation,
        target=StepState.SUCCEEDED,
        step_columns=_FINISHED | {"output", "error"},
        run_columns=_WENT_ON,
        events=(Event.STEP_SUCCEEDED,),
        directions=COMPENSATION,
    ),
    "skip_compensation": Walk(
        arrow="skip_step",
        call=_skip_compensation,
        target=StepState.SKIPPED,
        step_columns=_FINISHED,
        run_columns=_WENT_ON,
        events=(Event.STEP_SKIPPED,),
        directions=COMPENSATION,
    ),
    "ready_step": Walk(
        arrow="ready_step",
        call=_ready,
        target=StepState.READY,
        step_columns=frozenset({"state", "sends", "sweep_at", "dispatched_at"}),
        events=(Event.STEP_READY,),
    ),
    "undo_step": Walk(
        arrow="undo_step",
        call=_undo,
        target=StepState.UNDONE,
        step_columns=frozenset({"state", "exclusive_key"}),
        events=(Event.STEP_UNDONE,),
        directions=FORWARD,
    ),
}
