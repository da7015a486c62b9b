"""A compensation that succeeds, its step undone, and the next one claimed or ready, in one change or not at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backout.identifiers import RunId, new_claim_token, new_task_id
from backout.ledger import queries, transitions
from backout.ledger.dialects import now
from backout.ledger.records import Claim, StepKey, StepRecord
from backout.ledger.session import Ledger
from backout.ledger.taking import take_run
from backout.ledger.transitions import NextClaim
from backout.states import ACTIVE_RUN_STATES, Direction, RunState, StepState
from tests.ledger.test_step_arrows import possible_states
from tests.support.ledgers import (
    claim_of,
    key_of,
    on_servers,
    put_run,
    put_step,
    read_events,
    read_run,
    read_step,
    set_run,
    set_step,
)
from tests.support.snapshots import take_snapshot


@pytest.fixture
def run_id(ledger: Ledger) -> RunId:
    """A run on its way back: the compensation of its last step runs, the one before it waits for its turn."""
    with ledger.transaction() as connection:
        found = put_run(connection, state=RunState.ROLLING_BACK)
        for position in range(2):
            put_step(connection, key_of(found, position), state=StepState.SUCCEEDED, exclusive_key=f"{position}")
        put_step(connection, running(found), state=StepState.RUNNING, start_order=1)
        put_step(connection, pending(found), state=StepState.PENDING, start_order=2)
    return found


def running(run_id: RunId) -> StepKey:
    return key_of(run_id, 1, Direction.COMPENSATION)


def pending(run_id: RunId) -> StepKey:
    return key_of(run_id, 0, Direction.COMPENSATION)


def ask() -> NextClaim:
    return NextClaim(
        token=new_claim_token(), lease_seconds=60, worker="worker-1", process="p-1", detail={"burst": "first"}
    )


def walk(ledger: Ledger, claim: Claim, following: StepRecord, asked: NextClaim | None = None) -> Claim | None:
    with ledger.change() as connection:
        return transitions.succeed_and_claim(
            connection,
            claim,
            output={"refund": 1},
            operator_state="undoing",
            following=following.link,
            asked=asked or ask(),
        )


def ready(ledger: Ledger, claim: Claim, following: StepRecord) -> str | None:
    with ledger.change() as connection:
        return transitions.succeed_and_ready(
            connection,
            claim,
            output={"refund": 1},
            operator_state="undoing",
            following=following.link,
            resend_seconds=60,
        )


def test_next_one_is_ready_and_the_step_is_undone(ledger: Ledger, run_id: RunId) -> None:
    """Its message goes out right after the commit; the sweeper looks after it."""
    name = ready(ledger, claim_of(running(run_id)), read_step(ledger, pending(run_id)))
    ended, undone, following = (read_step(ledger, key) for key in (running(run_id), key_of(run_id, 1), pending(run_id)))
    assert name == following.step
    assert (ended.state, ended.output) == (StepState.SUCCEEDED, {"refund": 1})
    assert (undone.state, undone.exclusive_key) == (StepState.UNDONE, None)
    assert (following.state, following.claim_token, following.sends) == (StepState.READY, None, 1)
    assert following.dispatched_at is not None
    assert following.sweep_at is not None
    assert (following.sweep_at - following.dispatched_at).total_seconds() == 60
    assert (read_run(ledger, run_id).operator_state, read_run(ledger, run_id).attempt_count) == ("undoing", 1)
    assert read_events(ledger, run_id) == ["step_succeeded", "step_undone", "step_ready"]


def test_next_one_runs_and_the_step_is_undone(ledger: Ledger, run_id: RunId) -> None:
    """Three rows and their run change in one commit."""
    asked = ask()
    claimed = walk(ledger, claim_of(running(run_id)), read_step(ledger, pending(run_id)), asked)
    assert claimed is not None
    ended, undone, following = (read_step(ledger, key) for key in (running(run_id), key_of(run_id, 1), pending(run_id)))
    assert (ended.state, ended.output) == (StepState.SUCCEEDED, {"refund": 1})
    assert (undone.state, undone.exclusive_key) == (StepState.UNDONE, None)
    assert (following.state, following.claim_token, following.claimed_by) == (StepState.RUNNING, asked.token, "p-1")
    assert read_step(ledger, key_of(run_id)).state is StepState.SUCCEEDED
    assert (read_run(ledger, run_id).operator_state, read_run(ledger, run_id).attempt_count) == ("undoing", 1)
    assert read_events(ledger, run_id) == ["step_succeeded", "step_undone", "attempt_started"]


def test_it_is_the_claim_that_anybody_finds(ledger: Ledger, run_id: RunId) -> None:
    """Its holder knows the same as whoever looks at the running row."""
    before = ledger.read(lambda connection: queries.find_claim(connection, running(run_id)))
    assert before is not None
    claimed = walk(ledger, before, read_step(ledger, pending(run_id)))
    assert claimed == ledger.read(lambda connection: queries.find_claim(connection, pending(run_id)))
    assert claimed is not None


def test_step_that_had_not_succeeded_keeps_its_state(ledger: Ledger, run_id: RunId) -> None:
    """History still says that it failed; its key of its own is free."""
    set_step(ledger, key_of(run_id, 1), state=StepState.IN_DOUBT.value, finished_at=None)
    assert walk(ledger, claim_of(running(run_id)), read_step(ledger, pending(run_id))) is not None
    found = read_step(ledger, key_of(run_id, 1))
    assert (found.state, found.exclusive_key) == (StepState.IN_DOUBT, None)
    assert read_events(ledger, run_id) == ["step_succeeded", "attempt_started"]


def test_success_alone_undoes_the_step_too(ledger: Ledger, run_id: RunId) -> None:
    """R4: where nothing is claimed, success and undoing are one change all the same."""
    with ledger.transaction() as connection:
        assert transitions.succeed_compensation(
            connection, claim_of(running(run_id)), output=None, operator_state="undoing"
        )
    assert read_step(ledger, key_of(run_id, 1)).state is StepState.UNDONE
    assert read_step(ledger, pending(run_id)).state is StepState.PENDING
    assert read_events(ledger, run_id) == ["step_succeeded", "step_undone"]


def put_question(ledger: Ledger, run_id: RunId) -> None:
    with ledger.transaction() as connection:
        put_step(connection, key_of(run_id, 0, Direction.RECONCILE), state=StepState.PENDING, start_order=2)


def put_earlier(ledger: Ledger, run_id: RunId) -> None:
    with ledger.transaction() as connection:
        put_step(connection, key_of(run_id, 2, Direction.COMPENSATION), state=StepState.READY, start_order=1)


CHANGES: dict[str, Callable[[Ledger, RunId], object]] = {
    "a question stands before it": put_question,
    "a person gave it another message": lambda ledger, run_id: set_step(ledger, pending(run_id), task_id=new_task_id()),
    "another one was let go before it": put_earlier,
    "the claim was lost": lambda ledger, run_id: set_step(ledger, running(run_id), claim_token=new_claim_token()),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_nothing_is_written_where_it_is_not_the_next_any_more(ledger: Ledger, run_id: RunId, change: str) -> None:
    """R5, R3: what was read before is asked again in the statement that relies on it."""
    following = read_step(ledger, pending(run_id))
    CHANGES[change](ledger, run_id)
    check_refused(ledger, claim_of(running(run_id)), following)


@pytest.mark.parametrize(
    "state", [state for state in possible_states(Direction.COMPENSATION) if state is not StepState.PENDING]
)
def test_nothing_is_written_where_the_next_is_in_another_state(ledger: Ledger, run_id: RunId, state: StepState) -> None:
    """R3, R6: what runs, or has succeeded, or waits, is not claimed."""
    with ledger.transaction() as connection:
        put_step(connection, key_of(run_id, 3, Direction.COMPENSATION), state=state, start_order=1)
    check_refused(ledger, claim_of(running(run_id)), read_step(ledger, key_of(run_id, 3, Direction.COMPENSATION)))


# No arrow leads to waiting yet.
@pytest.mark.parametrize("state", sorted(set(RunState) - ACTIVE_RUN_STATES - {RunState.WAITING}))
def test_nothing_is_claimed_in_a_run_that_was_stopped(ledger: Ledger, run_id: RunId, state: RunState) -> None:
    """R13: what a person has decided holds at once."""
    set_run(ledger, run_id, state=state.value, finished_at=now() if state.is_final else None)
    following = read_step(ledger, pending(run_id))
    check_refused(ledger, claim_of(running(run_id)), following)
    with ledger.transaction() as connection:
        assert transitions.claim_compensation(connection, claim_of(running(run_id)), following.link, ask()) is None


@on_servers
def test_run_that_a_person_holds_is_not_waited_for(ledger: Ledger, run_id: RunId) -> None:
    """R13: one statement that waited would not see what they have done; nothing is written, and the next one does."""
    following = read_step(ledger, pending(run_id))
    with ledger.transaction() as person:
        assert take_run(person, run_id)
        check_refused(ledger, claim_of(running(run_id)), following)
    assert walk(ledger, claim_of(running(run_id)), following) is not None


def check_refused(ledger: Ledger, claim: Claim, following: StepRecord) -> None:
    before = take_snapshot(ledger)
    assert walk(ledger, claim, following) is None
    assert ready(ledger, claim, following) is None
    assert take_snapshot(ledger) == before
