"""A run with one step row in one state, and every way to walk an arrow of that row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from backout.identifiers import RunId, new_claim_token, new_task_id
from backout.ledger import queries, transitions
from backout.ledger.records import Claim, StepKey, StepRecord
from backout.ledger.session import Ledger
from backout.ledger.transitions import Onward
from backout.states import Direction, RunState, StepState
from tests.support.ledgers import LATER, claim_of, describe_next, key_of, put_run, put_step

ERROR: Final = {"type": "builtins.ValueError", "message": "this attempt"}


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


def set_scene(ledger: Ledger, direction: Direction, state: StepState) -> Scene:
    """Write a run under way with one row in this state, finished rows around it, and another run just like it."""
    scene = _write_run(ledger, direction, state)
    _write_run(ledger, direction, state)
    return scene


def _write_run(ledger: Ledger, direction: Direction, state: StepState) -> Scene:
    run_state = RunState.ROLLING_BACK if direction is Direction.COMPENSATION else RunState.RUNNING
    fresh = (StepState.READY, StepState.PENDING, StepState.WAITING)
    holds_key = direction is Direction.FORWARD and state not in fresh
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


def walk_claim(connection: Connection, scene: Scene) -> object:
    return transitions.claim_step(
        connection,
        scene.key,
        token=new_claim_token(),
        lease_seconds=60,
        worker="worker-1",
        attempt=1 if scene.state is StepState.READY else scene.claim.attempt + 1,
        exclusive_key=f"own:{scene.run_id}" if scene.key.direction is Direction.FORWARD else None,
    )


def walk_claim_compensation(connection: Connection, scene: Scene) -> object:
    asked = transitions.NextClaim(
        token=new_claim_token(), lease_seconds=60, worker="worker-1", process=None, detail={"burst": "b"}
    )
    return transitions.claim_compensation(connection, scene.claim, as_seen(connection, scene).link, asked)


def _onward(scene: Scene, operator_state: str, *, is_last: bool) -> Onward:
    following = None if is_last else describe_next(scene.claim, "book")
    return Onward(following=following, operator_state=operator_state, resend_seconds=60)


def walk_confirm(*, is_last: bool) -> Callable[[Connection, Scene], object]:
    def call(connection: Connection, scene: Scene) -> object:
        doubted = queries.find_step(connection, scene.key)
        assert doubted is not None
        return transitions.confirm_step(
            connection,
            doubted,
            output={"charge": 1},
            reason="the bank has it",
            onward=_onward(scene, "step_1_done", is_last=is_last),
        )

    return call


def walk_verify(*, is_last: bool) -> Callable[[Connection, Scene], object]:
    def call(connection: Connection, scene: Scene) -> object:
        onward = _onward(scene, "step_1_live", is_last=is_last)
        return transitions.verify_step(connection, scene.claim, run_output={"page": 1}, onward=onward)

    return call


def walk_answer(connection: Connection, scene: Scene) -> object:
    return transitions.answer_question(connection, scene.claim, answer={"answer": "not_done"})


def walk_ask_again(connection: Connection, scene: Scene) -> object:
    new = transitions.NewQuestion(
        key=scene.key,
        step="step_1",
        state=StepState.READY,
        start_order=7,
        idempotency_key="as asked before",
        task_id=new_task_id(),
        reason="it was cut off again",
    )
    before = queries.find_step(connection, scene.key)
    transitions.ask_question(connection, new, resend_seconds=60)
    return before != queries.find_step(connection, scene.key)


def walk_clear(connection: Connection, scene: Scene) -> object:
    return transitions.clear_doubt(
        connection,
        scene.key,
        task_id=new_task_id(),
        reason="the bank does not have it",
        operator_state="step_1_pending",
        resend_seconds=60,
    )


def walk_drop(connection: Connection, scene: Scene) -> object:
    return transitions.drop_compensation(connection, scene.key, reason="the bank does not have it")


def walk_end_wait(connection: Connection, scene: Scene) -> object:
    return transitions.end_wait(connection, scene.key, resend_seconds=60, actor="sweeper")


def walk_succeed(*, is_last: bool) -> Callable[[Connection, Scene], object]:
    def call(connection: Connection, scene: Scene) -> object:
        return transitions.succeed_step(
            connection,
            scene.claim,
            output={"charge": 1},
            onward=_onward(scene, "step_1_done", is_last=is_last),
        )

    return call


def walk_skip(*, is_last: bool) -> Callable[[Connection, Scene], object]:
    def call(connection: Connection, scene: Scene) -> object:
        return transitions.skip_step(
            connection,
            scene.claim,
            reason="nothing to charge",
            onward=_onward(scene, "step_1_skipped", is_last=is_last),
        )

    return call


def walk_pass_failed(*, is_last: bool) -> Callable[[Connection, Scene], object]:
    def call(connection: Connection, scene: Scene) -> object:
        return transitions.pass_failed_step(
            connection,
            scene.claim,
            error=ERROR,
            reason="ValueError: this attempt",
            onward=_onward(scene, "step_1_failed", is_last=is_last),
        )

    return call


def walk_fail(connection: Connection, scene: Scene) -> object:
    return transitions.fail_step(connection, scene.claim, error=ERROR, reason="ValueError: this attempt")


def walk_schedule_retry(connection: Connection, scene: Scene) -> object:
    return transitions.schedule_retry(
        connection,
        scene.claim,
        error=ERROR,
        reason="ValueError: this attempt",
        delay_seconds=10,
        resend_seconds=60,
    )


def walk_release(connection: Connection, scene: Scene) -> object:
    return transitions.release_claim(connection, scene.key, token=scene.claim.token, reason="the claim expired")


def walk_release_uncalled(connection: Connection, scene: Scene) -> object:
    return transitions.release_uncalled(
        connection, scene.claim, reason="this worker cannot run the step", actor="worker-1", sweep_seconds=60
    )


def walk_hold(connection: Connection, scene: Scene) -> object:
    return transitions.hold_step(connection, scene.key, reason="no worker knows it")


def walk_doubt(connection: Connection, scene: Scene) -> object:
    return transitions.doubt_step(
        connection,
        scene.key,
        token=scene.claim.token,
        reason="the claim expired",
        operator_state="step_1_in_doubt",
    )


def walk_succeed_compensation(connection: Connection, scene: Scene) -> object:
    return transitions.succeed_compensation(
        connection, scene.claim, output={"refund": 1}, operator_state="step_1_undone"
    )


def walk_skip_compensation(connection: Connection, scene: Scene) -> object:
    return transitions.skip_compensation(
        connection, scene.claim, reason="nothing to refund", operator_state="step_1_undone"
    )


def walk_ready(connection: Connection, scene: Scene) -> object:
    return transitions.ready_step(connection, scene.key, resend_seconds=60)


def walk_undo(connection: Connection, scene: Scene) -> object:
    return transitions.undo_step(connection, scene.key)


BY_HAND: Final = {"actor": "anna", "reason": "the bank says so"}


def as_seen(connection: Connection, scene: Scene) -> StepRecord:
    """Return the row as a person sees it just now."""
    row = queries.find_step(connection, scene.key)
    assert row is not None
    return row


def walk_reopen(state: StepState) -> Callable[[Connection, Scene], object]:
    def call(connection: Connection, scene: Scene) -> object:
        row = as_seen(connection, scene)
        return transitions.reopen_step(
            connection, row, state=state, task_id=new_task_id(), resend_seconds=60, **BY_HAND
        )

    return call


def walk_settle(connection: Connection, scene: Scene) -> object:
    return transitions.settle_step(connection, as_seen(connection, scene), output={"charge": 1}, **BY_HAND)


def walk_close(connection: Connection, scene: Scene) -> object:
    return transitions.close_step(connection, as_seen(connection, scene), **BY_HAND)


def walk_plan_again(state: StepState) -> Callable[[Connection, Scene], object]:
    def call(connection: Connection, scene: Scene) -> object:
        row = transitions.NewCompensation(
            key=scene.key,
            step="step_1",
            state=state,
            start_order=7,
            idempotency_key="not taken over",
            task_id=new_task_id(),
            wait_until=LATER if state is StepState.WAITING else None,
            is_planned_again=True,
        )
        try:
            transitions.plan_compensation(connection, [row], actor="anna", resend_seconds=60)
        except RuntimeError:
            return False
        return True

    return call
