"""What the arrows by hand promise beyond their columns: the guard of what was seen, what is kept, what is let go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from backout.identifiers import new_task_id
from backout.ledger import queries, transitions
from backout.ledger.records import StepRecord
from backout.ledger.session import Ledger
from backout.states import ACTIVE_RUN_STATES, TRANSITIONS, Direction, ReviewReason, RollbackOutcome, RunState, StepState
from tests.support.ledgers import (
    LATER,
    LONG_AGO,
    claim,
    doubt,
    key_of,
    put_run,
    put_step,
    read_run,
    read_step,
    set_run,
    set_step,
    start_run,
    try_claim,
)
from tests.support.snapshots import compare, take_snapshot

BY: Final = {"actor": "anna", "reason": "the bank says so"}


def reopen(connection: Connection, row: StepRecord) -> object:
    return transitions.reopen_step(
        connection, row, state=StepState.READY, task_id=new_task_id(), resend_seconds=60, **BY
    )


def settle(connection: Connection, row: StepRecord) -> object:
    return transitions.settle_step(connection, row, output=None, **BY)


def close(connection: Connection, row: StepRecord) -> object:
    return transitions.close_step(connection, row, **BY)


ON_ROWS: Final = [
    pytest.param(reopen, StepState.FAILED, id="reopen_step"),
    pytest.param(settle, StepState.FAILED, id="settle_step"),
    pytest.param(close, StepState.RETRY_SCHEDULED, id="close_step"),
]
ON_RUNS: Final[dict[str, dict[str, Any]]] = {
    "pause_run": {},
    "cancel_run": {},
    "close_run": {},
    "resume_run": {"round_number": 1, "last_successful_step": None},
    "turn_run_back": {"compensations": (), "rollback_to": None},
    "continue_rollback": {},
}


def put_row(ledger: Ledger, state: StepState, *, run_state: RunState = RunState.IN_REVIEW) -> StepRecord:
    """Write a run with one row in this state; return the row as a person sees it."""
    with ledger.transaction() as connection:
        key = key_of(put_run(connection, state=run_state))
        put_step(connection, key, state=state)
    return read_step(ledger, key)


@pytest.mark.parametrize(("walk", "state"), ON_ROWS)
class TestRowThatWasSeen:
    def test_another_attempt_since_refuses_it(
        self, ledger: Ledger, walk: Callable[[Connection, StepRecord], object], state: StepState
    ) -> None:
        """R13: the row is in the same state again, but it has been tried meanwhile: nobody has seen that."""
        row = put_row(ledger, state)
        self.refuses(ledger, walk, replace(row, attempt=row.attempt - 1))

    def test_another_state_since_refuses_it(
        self, ledger: Ledger, walk: Callable[[Connection, StepRecord], object], state: StepState
    ) -> None:
        """R13: the arrow may start from either state, but the decision was made on the other one."""
        row = put_row(ledger, state)
        self.refuses(ledger, walk, replace(row, state=StepState.IN_DOUBT))

    @staticmethod
    def refuses(ledger: Ledger, walk: Callable[[Connection, StepRecord], object], seen: StepRecord) -> None:
        before = take_snapshot(ledger)
        with ledger.transaction() as connection:
            assert not walk(connection, seen)
        assert take_snapshot(ledger) == before


@pytest.mark.parametrize("function", sorted(ON_RUNS))
def test_run_in_another_state_than_seen_refuses_it(ledger: Ledger, function: str) -> None:
    """R13: both states are states that the arrow may start from, but only one was decided on."""
    arrow = "turn_run_back" if function == "continue_rollback" else function
    found, seen, *_ = [RunState(state) for state in sorted(TRANSITIONS[arrow].sources)]
    with ledger.transaction() as connection:
        run_id = put_run(connection, state=found)
    before = take_snapshot(ledger)
    with ledger.transaction() as connection:
        walk = getattr(transitions, function)
        assert not walk(connection, run_id, seen=seen, operator_state="x", **BY, **ON_RUNS[function])
    assert take_snapshot(ledger) == before


class TestReopenedRow:
    def test_it_has_its_retries_again(self, ledger: Ledger) -> None:
        """Failed attempts from before do not count; lost ones never did, so they are not forgiven twice."""
        row = put_row(ledger, StepState.FAILED, run_state=RunState.RUNNING)
        set_step(ledger, row.key, attempt=3, lost_attempts=1)
        with ledger.transaction() as connection:
            assert reopen(connection, read_step(ledger, row.key))
        claimed = claim(ledger, row.key, attempt=4)
        assert (claimed.attempt, claimed.forgiven_attempts, claimed.failed_attempts) == (4, 2, 1)

    def test_what_it_said_before_is_in_the_entry(self, ledger: Ledger) -> None:
        """R14: its output and its error survive what comes next."""
        row = put_row(ledger, StepState.SUCCEEDED)
        set_step(ledger, row.key, output={"charge": "ch-1"})
        with ledger.transaction() as connection:
            assert reopen(connection, read_step(ledger, row.key))
        (entry,) = ledger.read(lambda connection: queries.list_entries(connection, row.run_id))
        assert (entry.detail["state"], entry.detail["output"]) == ("succeeded", {"charge": "ch-1"})
        assert entry.detail["error"] == {"type": "builtins.OSError", "message": "the attempt before"}

    def test_its_key_stays(self, ledger: Ledger) -> None:
        """Whatever the attempts before have done outside is known there by this key."""
        row = put_row(ledger, StepState.FAILED)
        with ledger.transaction() as connection:
            assert reopen(connection, row)
        assert read_step(ledger, row.key).idempotency_key == row.idempotency_key


class TestClosedRow:
    @pytest.mark.parametrize("no_effect", [True, False])
    def test_what_its_last_attempt_said_stays(self, ledger: Ledger, *, no_effect: bool) -> None:
        """A rollback reads from it whether there may be something to undo."""
        row = put_row(ledger, StepState.RETRY_SCHEDULED)
        error = {"type": "backout.FailStep", "message": "no", "no_effect": no_effect}
        set_step(ledger, row.key, error=error)
        with ledger.transaction() as connection:
            assert close(connection, read_step(ledger, row.key))
        assert read_step(ledger, row.key).error == error

    def test_one_that_was_never_called_says_who_closed_it(self, ledger: Ledger) -> None:
        """It is skipped, and nobody takes it for one that skipped itself."""
        row = put_row(ledger, StepState.READY)
        with ledger.transaction() as connection:
            assert close(connection, row)
        found = read_step(ledger, row.key)
        assert (found.state, found.error) == (
            StepState.SKIPPED,
            {"type": transitions.CLOSED, "message": BY["reason"]},
        )


class TestStartedStep:
    def start(self, ledger: Ledger, row: StepRecord) -> None:
        with ledger.transaction() as connection:
            transitions.start_step(
                connection,
                replace(row.key, round=2),
                step_name="charge",
                start_order=1,
                idempotency_key="key:2",
                task_id=new_task_id(),
                resend_seconds=60,
                **BY,
            )

    def test_it_is_a_ready_row_with_its_entry(self, ledger: Ledger) -> None:
        """It can be claimed at once, the sweeper knows it, and the entry says who let it start."""
        row = put_row(ledger, StepState.UNDONE, run_state=RunState.RUNNING)
        before = take_snapshot(ledger)
        self.start(ledger, row)
        difference = compare(before, take_snapshot(ledger))
        assert (difference.changed, difference.removed) == ({}, ())
        (entry,) = difference.added["backout_entry"]
        assert (entry["event"], entry["round"], entry["actor"], entry["reason"]) == (
            "step_ready",
            2,
            "anna",
            BY["reason"],
        )
        new = read_step(ledger, replace(row.key, round=2))
        assert (new.state, new.attempt, new.sends, new.idempotency_key) == (StepState.READY, 0, 1, "key:2")
        assert new.sweep_at is not None
        assert claim(ledger, new.key).attempt == 1

    def test_a_row_is_never_made_twice(self, ledger: Ledger) -> None:
        """Of two who would start the same row, the database lets one."""
        row = put_row(ledger, StepState.UNDONE, run_state=RunState.RUNNING)
        self.start(ledger, row)
        before = take_snapshot(ledger)
        with pytest.raises(IntegrityError):
            self.start(ledger, row)
        assert take_snapshot(ledger) == before


STOPPED: Final = sorted(set(RunState) - ACTIVE_RUN_STATES - {RunState.WAITING})


@pytest.mark.parametrize("run_state", STOPPED)
@pytest.mark.parametrize("direction", [Direction.FORWARD, Direction.COMPENSATION, Direction.RECONCILE])
@pytest.mark.parametrize("state", [StepState.READY, StepState.RETRY_SCHEDULED])
def test_no_row_of_a_stopped_run_is_claimed(
    ledger: Ledger, run_state: RunState, direction: Direction, state: StepState
) -> None:
    """A message that comes after a person has stopped the run starts nothing, and writes nothing."""
    with ledger.transaction() as connection:
        key = key_of(put_run(connection, state=run_state), 0, direction)
        put_step(connection, key, state=state)
    before = take_snapshot(ledger)
    assert try_claim(ledger, key, attempt=1 if state is StepState.READY else 3) is None
    assert take_snapshot(ledger) == before


@pytest.mark.parametrize("run_state", sorted(ACTIVE_RUN_STATES))
def test_a_row_of_an_active_run_is_claimed(ledger: Ledger, run_state: RunState) -> None:
    """The other side of it: nothing else keeps these rows from running."""
    with ledger.transaction() as connection:
        key = key_of(put_run(connection, state=run_state))
        put_step(connection, key, state=StepState.READY)
    assert try_claim(ledger, key) is not None


class TestResumedRun:
    def resume(self, ledger: Ledger, run_id: Any, *, is_error_over: bool = False) -> None:
        with ledger.transaction() as connection:
            found = queries.find_run(connection, run_id)
            assert found is not None
            assert transitions.resume_run(
                connection,
                run_id,
                seen=found.state,
                operator_state="charge_pending",
                round_number=2,
                last_successful_step="reserve",
                is_error_over=is_error_over,
                **BY,
            )

    def test_nothing_is_left_of_an_earlier_rollback(self, ledger: Ledger) -> None:
        """How far the last rollback came, where it ended, and what the run had returned do not hold any more."""
        with ledger.transaction() as connection:
            run_id = put_run(
                connection,
                state=RunState.ROLLED_BACK,
                rollback_outcome=RollbackOutcome.COMPLETE.value,
                rollback_to=1,
                output={"order": "o-1"},
                error_summary="declined",
            )
        self.resume(ledger, run_id, is_error_over=True)
        found = read_run(ledger, run_id)
        assert (found.rollback_outcome, found.rollback_to) == (RollbackOutcome.NONE, None)
        assert (found.output, found.error_summary, found.finished_at) == (None, None, None)
        assert (found.round, found.last_successful_step) == (2, "reserve")

    def test_its_error_stays_while_it_is_not_over(self, ledger: Ledger) -> None:
        """A step that runs again after it failed has failed until it succeeds."""
        with ledger.transaction() as connection:
            run_id = put_run(connection, state=RunState.PARKED, error_summary="declined")
        self.resume(ledger, run_id)
        assert read_run(ledger, run_id).error_summary == "declined"

    @pytest.mark.parametrize(("deadline", "left"), [(LONG_AGO, None), (LATER, LATER), (None, None)])
    def test_only_a_deadline_that_has_passed_is_lifted(self, ledger: Ledger, deadline: Any, left: Any) -> None:
        """Whoever resumes a run after its deadline wants it to go on; one that is to come still holds."""
        with ledger.transaction() as connection:
            run_id = put_run(connection, state=RunState.PARKED, deadline_at=deadline)
        self.resume(ledger, run_id)
        assert read_run(ledger, run_id).deadline_at == left


class TestReview:
    def open(self, ledger: Ledger) -> int:
        claimed = start_run(ledger)
        assert doubt(ledger, claimed)
        with ledger.transaction() as connection:
            review_id = transitions.review_run(
                connection,
                claimed.key.run_id,
                reason=ReviewReason.CONFIRMATION_MISSING,
                about=claimed.key,
                step_name="reserve",
                evidence={},
                operator_state="reserve_in_doubt",
                rollback_outcome=RollbackOutcome.NONE,
            )
        assert review_id is not None
        return review_id

    @staticmethod
    def find(connection: Connection, review_id: int) -> Any:
        return queries.find_review(connection, review_id)

    def test_decided_once(self, ledger: Ledger) -> None:
        """R13: the second decision, made on the open review, writes nothing."""
        review_id = self.open(ledger)
        seen = ledger.read(lambda connection: self.find(connection, review_id))
        with ledger.transaction() as connection:
            assert transitions.resolve_review(connection, seen, decision="done", **BY)
        before = take_snapshot(ledger)
        with ledger.transaction() as connection:
            assert not transitions.resolve_review(connection, seen, decision="accept", **BY)
        assert take_snapshot(ledger) == before
        decided = ledger.read(lambda connection: self.find(connection, review_id))
        assert (decided.decision, decided.decided_by, decided.note) == ("done", "anna", BY["reason"])

    def test_the_run_asks_until_the_last_one_is_decided(self, ledger: Ledger) -> None:
        """The flag by which operators find runs goes down with the last open review of the run, not before."""
        review_id = self.open(ledger)
        seen = ledger.read(lambda connection: self.find(connection, review_id))
        set_run(ledger, seen.run_id, state=RunState.PAUSED.value)
        with ledger.transaction() as connection:
            other_id = transitions.review_run(
                connection,
                seen.run_id,
                reason=ReviewReason.SYSTEMS_DISAGREE,
                about=None,
                step_name=None,
                evidence={},
                operator_state="in_review",
                rollback_outcome=RollbackOutcome.NONE,
            )
        flags = []
        for one in (review_id, other_id):
            with ledger.transaction() as connection:
                assert transitions.resolve_review(connection, self.find(connection, one or 0), decision="done", **BY)
            flags.append(read_run(ledger, seen.run_id).requires_human_review)
        assert flags == [True, False]

    def test_taken_by_one_of_two(self, ledger: Ledger) -> None:
        """Two who saw that nobody looks after it cannot both take it."""
        review_id = self.open(ledger)
        seen = ledger.read(lambda connection: self.find(connection, review_id))
        with ledger.transaction() as connection:
            assert transitions.assign_review(connection, seen, assignee="anna", **BY)
            assert not transitions.assign_review(connection, seen, assignee="ben", **BY)
        assert ledger.read(lambda connection: self.find(connection, review_id)).assignee == "anna"
