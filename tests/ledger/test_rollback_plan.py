"""The rows of a rollback: planned all at once, readied one after the other, each undoing its forward step."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError

from backout.identifiers import RunId, new_task_id
from backout.ledger import queries, transitions
from backout.ledger.records import StepKey
from backout.ledger.session import Ledger
from backout.ledger.transitions import NewCompensation
from backout.states import TRANSITIONS, Direction, RunState, StepState
from tests.support.ledgers import (
    LATER,
    claim,
    claim_of,
    key_of,
    put_run,
    put_step,
    read_events,
    read_step,
    succeed,
    try_claim,
)
from tests.support.snapshots import take_snapshot

PLANNED = {
    StepState.READY: "step_ready",
    StepState.PENDING: "compensation_planned",
    StepState.WAITING: "wait_started",
    StepState.KEPT: "step_kept",
    StepState.SKIPPED: "step_skipped",
}
"""The states in which a compensation may be planned, and the entry of each."""


@pytest.fixture
def run_id(ledger: Ledger) -> RunId:
    """A run that rolls back after three successes."""
    with ledger.transaction() as connection:
        found = put_run(connection, state=RunState.ROLLING_BACK)
        for position in range(3):
            put_step(connection, key_of(found, position), state=StepState.SUCCEEDED, exclusive_key=f"{position}")
    return found


def describe(run_id: RunId, position: int, state: StepState, *, reason: str = "") -> NewCompensation:
    return NewCompensation(
        key=key_of(run_id, position, Direction.COMPENSATION),
        step=f"step_{position}",
        state=state,
        start_order=3 - position,
        idempotency_key=f"{run_id}:step_{position}:compensation",
        task_id=new_task_id(),
        reason=reason,
        wait_until=LATER if state is StepState.WAITING else None,
    )


def plan(ledger: Ledger, *planned: NewCompensation) -> None:
    with ledger.transaction() as connection:
        transitions.plan_compensation(connection, planned, actor="anna", resend_seconds=60)


def test_the_states_of_a_plan_are_those_of_the_list_of_arrows() -> None:
    """The table above leaves out no state in which a compensation may be planned."""
    assert {state.value for state in PLANNED} == TRANSITIONS["plan_compensation"].targets


@pytest.mark.parametrize("state", list(PLANNED))
def test_a_row_is_stored_as_planned(ledger: Ledger, run_id: RunId, state: StepState) -> None:
    """A planned row is fresh: no attempt, no claim, no output."""
    new = describe(run_id, 2, state, reason="because")
    plan(ledger, new)
    found = read_step(ledger, new.key)
    assert (found.state, found.step, found.start_order, found.attempt) == (state, "step_2", 1, 0)
    assert (found.idempotency_key, found.task_id) == (new.idempotency_key, new.task_id)
    assert (found.claim_token, found.output, found.error, found.external_ids) == (None, None, None, {})


@pytest.mark.parametrize("state", list(PLANNED))
def test_only_a_row_that_is_due_is_looked_at_by_the_sweeper(ledger: Ledger, run_id: RunId, state: StepState) -> None:
    """R5: a compensation that must wait for another one is never sent."""
    new = describe(run_id, 2, state)
    plan(ledger, new)
    found = read_step(ledger, new.key)
    is_ready, is_looked_at = state is StepState.READY, state in (StepState.READY, StepState.WAITING)
    assert (found.sweep_at is not None) == is_looked_at
    assert (found.dispatched_at is not None, found.sends) == (is_ready, is_ready)


@pytest.mark.parametrize("state", list(PLANNED))
def test_each_planned_row_has_its_entry(ledger: Ledger, run_id: RunId, state: StepState) -> None:
    """R11: the plan is written down row by row, with who asked for it and why a row is kept or skipped."""
    plan(ledger, describe(run_id, 2, state, reason="the lead is useful by itself"))
    (entry,) = ledger.read(lambda connection: queries.list_entries(connection, run_id))
    assert (entry.event, entry.actor, entry.reason) == (PLANNED[state], "anna", "the lead is useful by itself")
    assert (entry.position, entry.direction, entry.step) == (2, Direction.COMPENSATION, "step_2")


@pytest.mark.parametrize("state", [state for state in StepState if state not in PLANNED])
def test_a_row_is_not_planned_in_any_other_state(ledger: Ledger, run_id: RunId, state: StepState) -> None:
    """A plan cannot say that something has already run."""
    before = take_snapshot(ledger)
    with pytest.raises(ValueError, match=f"planned as {state}"):
        plan(ledger, describe(run_id, 2, StepState.READY), describe(run_id, 1, state))
    assert take_snapshot(ledger) == before


def test_a_plan_is_not_recorded_twice(ledger: Ledger, run_id: RunId) -> None:
    """R6: a second plan of one round is refused as a whole, so that nothing is undone twice."""
    plan(ledger, describe(run_id, 1, StepState.READY))
    before = take_snapshot(ledger)
    with pytest.raises(IntegrityError):
        plan(ledger, describe(run_id, 2, StepState.READY), describe(run_id, 1, StepState.PENDING))
    assert take_snapshot(ledger) == before


def test_a_plan_whose_entry_cannot_be_written_is_not_recorded(
    ledger: Ledger, run_id: RunId, refused_entries: None
) -> None:
    """R11: no row of the plan without its entry."""
    before = take_snapshot(ledger)
    with pytest.raises(DBAPIError, match="entries are refused"):
        plan(ledger, describe(run_id, 2, StepState.READY))
    assert take_snapshot(ledger) == before


def test_a_pending_compensation_is_not_claimed(ledger: Ledger, run_id: RunId) -> None:
    """R5: a link of the chain that comes too early runs nothing."""
    new = describe(run_id, 1, StepState.PENDING)
    plan(ledger, new)
    assert try_claim(ledger, new.key) is None


def test_a_readied_compensation_is_claimed(ledger: Ledger, run_id: RunId) -> None:
    """After the one before it is recorded, the next may run."""
    new = describe(run_id, 1, StepState.PENDING)
    plan(ledger, new)
    with ledger.transaction() as connection:
        assert transitions.ready_step(connection, new.key, resend_seconds=60)
    assert claim(ledger, new.key).attempt == 1


def test_the_compensation_of_the_first_step_does_not_start_the_run(ledger: Ledger, run_id: RunId) -> None:
    """Only the first forward attempt starts a run, although its compensation has the same position."""
    new = describe(run_id, 0, StepState.READY)
    plan(ledger, new)
    claim(ledger, new.key)
    assert "run_started" not in read_events(ledger, run_id)


def test_undoing_names_the_forward_row_by_its_compensation(ledger: Ledger, run_id: RunId) -> None:
    """The key of the compensation is enough to mark the step that it undid."""
    with ledger.transaction() as connection:
        assert transitions.undo_step(connection, key_of(run_id, 1, Direction.COMPENSATION))
    assert read_step(ledger, key_of(run_id, 1)).state is StepState.UNDONE


def test_an_undone_step_gives_its_key_free(ledger: Ledger, run_id: RunId) -> None:
    """A key of one's own is held by a success; once that is undone, another run may use it."""
    with ledger.transaction() as connection:
        transitions.undo_step(connection, key_of(run_id, 1))
    assert ledger.read(lambda connection: queries.find_key_holder(connection, "1")) is None


def test_a_failed_step_stays_failed_when_it_is_compensated(ledger: Ledger) -> None:
    """A step that failed after it had started is undone too, and history still says that it failed."""
    with ledger.transaction() as connection:
        run_id = put_run(connection, state=RunState.ROLLING_BACK)
        put_step(connection, key_of(run_id), state=StepState.FAILED)
        assert transitions.undo_step(connection, key_of(run_id)) is False
    assert read_step(ledger, key_of(run_id)).state is StepState.FAILED


def test_success_and_undoing_are_one_transaction(ledger: Ledger, run_id: RunId) -> None:
    """R4: a crash between the success of a compensation and the undoing of its step leaves neither."""
    key = key_of(run_id, 2, Direction.COMPENSATION)
    with ledger.transaction() as connection:
        put_step(connection, key, state=StepState.RUNNING)
    before = take_snapshot(ledger)
    with pytest.raises(KeyboardInterrupt):
        undo_and_crash(ledger, key)
    assert take_snapshot(ledger) == before


def undo_and_crash(ledger: Ledger, key: StepKey) -> None:
    with ledger.transaction() as connection:
        assert transitions.succeed_compensation(connection, claim_of(key), output=None, operator_state="…")
        raise KeyboardInterrupt


def test_a_recorded_compensation_is_not_run_again(ledger: Ledger, run_id: RunId) -> None:
    """R6: however often its message comes, a compensation that succeeded is not claimed again."""
    new = describe(run_id, 2, StepState.READY)
    plan(ledger, new)
    claimed = claim(ledger, new.key)
    with ledger.transaction() as connection:
        assert transitions.succeed_compensation(connection, claimed, output=None, operator_state="…")
    assert [try_claim(ledger, new.key, attempt=attempt) for attempt in (1, 2)] == [None, None]


def test_the_outputs_of_both_directions_are_apart(ledger: Ledger, run_id: RunId) -> None:
    """R14: what a compensation returns does not touch what the step returned."""
    with ledger.transaction() as connection:
        forward = key_of(run_id, 3)
        put_step(connection, forward, state=StepState.RUNNING)
        put_step(connection, key_of(run_id, 3, Direction.COMPENSATION), state=StepState.RUNNING)
    with ledger.transaction() as connection:
        undoing = claim_of(key_of(run_id, 3, Direction.COMPENSATION))
        transitions.succeed_compensation(connection, undoing, output="refund", operator_state="…")
    assert read_step(ledger, forward).output is None
    assert succeed(ledger, claim_of(forward), output="charge", next_name="next")
    assert read_step(ledger, undoing.key).output == "refund"


def test_step_in_doubt_that_was_undone_lets_its_own_key_go(ledger: Ledger) -> None:
    """Whatever the step's row says: another run that waits for the key may have it."""
    with ledger.transaction() as connection:
        run_id = put_run(connection, state=RunState.ROLLING_BACK)
        put_step(connection, key_of(run_id, 0), state=StepState.IN_DOUBT, exclusive_key="shop.charge:form-8812")
    with ledger.transaction() as connection:
        assert not transitions.undo_step(connection, key_of(run_id, 0))
        transitions.free_key(connection, key_of(run_id, 0, Direction.COMPENSATION))
    assert read_step(ledger, key_of(run_id, 0)).exclusive_key is None
