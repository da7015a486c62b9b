"""One valid claim at a time: who may run an attempt, and who may write its outcome."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy.exc import IntegrityError

from backout.identifiers import TaskId, new_claim_token
from backout.ledger import due, queries, transitions
from backout.ledger.records import Claim
from backout.ledger.session import Ledger
from backout.ledger.transitions.claims import CLOCK_SLACK_SECONDS
from backout.states import RunState, StepState
from tests.support.ledgers import (
    LATER,
    LONG_AGO,
    claim,
    create_run,
    describe_onward,
    doubt,
    key_of,
    read_run,
    read_step,
    release,
    retry_later,
    set_run,
    set_step,
    stale,
    start_run,
    succeed,
    try_claim,
)
from tests.support.snapshots import take_snapshot


class TestClaim:
    def test_it_carries_what_the_attempt_must_know(self, ledger: Ledger) -> None:
        """One statement answers all that the attempt needs: no second read on the path."""
        run_id = create_run(ledger, subject_id="customer-1")
        set_run(ledger, run_id, external_ids={"quote": "q-1"}, last_successful_step="price")
        token = new_claim_token()
        claimed = try_claim(ledger, key_of(run_id), token=token)
        assert claimed is not None
        assert (claimed.token, claimed.step, claimed.attempt, claimed.lost_attempts) == (token, "reserve", 1, 0)
        assert (claimed.start_order, claimed.idempotency_key) == (1, f"{run_id}:reserve")
        assert (claimed.task_id, claimed.external_ids) == (TaskId(run_id), {})
        assert (claimed.run.pipeline, claimed.run.definition_digest) == ("fulfil_order", "0" * 32)
        assert (claimed.run.subject_id, claimed.run.input) == ("customer-1", {"id": "order-1"})
        assert (claimed.run.external_ids, claimed.run.last_successful_step) == ({"quote": "q-1"}, "price")

    def test_it_expires_after_its_lease(self, ledger: Ledger) -> None:
        """R4: the sweeper looks at the row when the claim ends without a heartbeat, not earlier."""
        claimed = start_run(ledger)
        found = read_step(ledger, claimed.key)
        assert found.started_at is not None
        assert found.claim_expires_at == found.sweep_at
        assert found.claim_expires_at is not None
        assert found.claim_expires_at - found.started_at == timedelta(seconds=60)

    def test_its_entry_names_the_worker_and_the_attempt(self, ledger: Ledger) -> None:
        """R11: who runs which attempt is written down before it runs."""
        claimed = start_run(ledger)
        entry = ledger.read(lambda connection: queries.list_entries(connection, claimed.key.run_id))[-1]
        assert (entry.event, entry.actor, entry.attempt) == ("attempt_started", "worker-1", 1)

    def test_a_claimed_row_is_not_claimed_again(self, ledger: Ledger) -> None:
        """R3: a duplicate of the message ends here."""
        claimed = start_run(ledger)
        before = take_snapshot(ledger)
        assert try_claim(ledger, claimed.key) is None
        assert take_snapshot(ledger) == before

    def test_an_expired_claim_is_not_taken_over_by_a_message(self, ledger: Ledger) -> None:
        """R8: only the sweeper ends a claim, because it knows whether the step may run again."""
        claimed = start_run(ledger)
        set_step(ledger, claimed.key, claim_expires_at=LONG_AGO, sweep_at=LONG_AGO)
        assert try_claim(ledger, claimed.key) is None

    def test_the_first_start_is_kept_over_attempts(self, ledger: Ledger) -> None:
        """`started_at` is when the step first started, however often it was tried."""
        claimed = start_run(ledger)
        retry_later(ledger, claimed, delay_seconds=0)
        set_step(ledger, claimed.key, started_at=LONG_AGO)
        claim(ledger, claimed.key, attempt=2)
        assert read_step(ledger, claimed.key).started_at == LONG_AGO


class TestRetryTime:
    def test_a_retry_is_not_claimed_before_its_time(self, ledger: Ledger) -> None:
        """R12: a message that comes too early, a duplicate or an old countdown, does not shorten the delay."""
        claimed = start_run(ledger)
        retry_later(ledger, claimed, delay_seconds=30)
        before = take_snapshot(ledger)
        assert try_claim(ledger, claimed.key, attempt=2) is None
        assert take_snapshot(ledger) == before

    def test_a_retry_is_claimed_when_its_time_has_come(self, ledger: Ledger) -> None:
        """The next attempt runs under the same key, with the next number."""
        claimed = start_run(ledger)
        retry_later(ledger, claimed, delay_seconds=30)
        set_step(ledger, claimed.key, next_retry_at=LONG_AGO)
        again = claim(ledger, claimed.key, attempt=2)
        assert (again.attempt, again.idempotency_key) == (2, claimed.idempotency_key)
        assert again.token != claimed.token

    def test_a_message_may_come_a_little_early(self, ledger: Ledger) -> None:
        """The worker that counted the delay down has a clock of its own."""
        claimed = start_run(ledger)
        retry_later(ledger, claimed, delay_seconds=CLOCK_SLACK_SECONDS / 2)
        assert try_claim(ledger, claimed.key, attempt=2) is not None

    @pytest.mark.parametrize(("resend_seconds", "sends", "pause"), [(60.0, 1, 90), (None, 0, 30)])
    def test_the_sweeper_sends_what_has_no_message(
        self, ledger: Ledger, resend_seconds: float | None, sends: int, pause: int
    ) -> None:
        """R4: a short delay's message is sent again after its time; a long delay's first one comes from the sweeper."""
        claimed = start_run(ledger)
        retry_later(ledger, claimed, delay_seconds=30, resend_seconds=resend_seconds)
        found = read_step(ledger, claimed.key)
        assert found.sends == sends
        assert found.next_retry_at is not None
        assert found.sweep_at is not None
        assert found.sweep_at - found.next_retry_at == timedelta(seconds=pause - 30)


OUTCOMES = {
    "succeed": lambda ledger, claimed: succeed(ledger, claimed, output=1),
    "succeed with a next step": lambda ledger, claimed: succeed(ledger, claimed, next_name="charge"),
    "retry": lambda ledger, claimed: retry_later(ledger, claimed, delay_seconds=1),
    "release": release,
    "doubt": doubt,
}


@pytest.mark.parametrize("outcome", list(OUTCOMES))
class TestOutcome:
    def test_it_is_refused_under_a_token_that_is_not_the_claims(self, ledger: Ledger, outcome: str) -> None:
        """R3: an attempt that has lost its claim writes nothing."""
        claimed = start_run(ledger)
        before = take_snapshot(ledger)
        assert OUTCOMES[outcome](ledger, stale(claimed)) is False
        assert take_snapshot(ledger) == before

    @pytest.mark.parametrize("first", list(OUTCOMES))
    def test_a_second_one_under_the_same_token_is_refused(self, ledger: Ledger, first: str, outcome: str) -> None:
        """R3: an attempt has one outcome, whatever it says later."""
        claimed = start_run(ledger)
        assert OUTCOMES[first](ledger, claimed)
        before = take_snapshot(ledger)
        assert OUTCOMES[outcome](ledger, claimed) is False
        assert take_snapshot(ledger) == before

    def test_it_is_written_by_token_and_not_by_time(self, ledger: Ledger, outcome: str) -> None:
        """R3: a claim that has expired and that nobody ended is still the only one; its outcome counts."""
        claimed = start_run(ledger)
        set_step(ledger, claimed.key, claim_expires_at=LONG_AGO, sweep_at=LONG_AGO)
        assert OUTCOMES[outcome](ledger, claimed)

    def test_it_is_refused_when_another_attempt_has_begun(self, ledger: Ledger, outcome: str) -> None:
        """R3: the attempt before the present one cannot end it."""
        claimed = start_run(ledger)
        release(ledger, claimed)
        present = claim(ledger, claimed.key, attempt=2)
        before = take_snapshot(ledger)
        assert OUTCOMES[outcome](ledger, claimed) is False
        assert take_snapshot(ledger) == before
        assert OUTCOMES[outcome](ledger, present)


class TestLostAttempts:
    def test_a_released_claim_can_be_taken_again(self, ledger: Ledger) -> None:
        """R8: what may run again is ready at once, and the attempt that was lost is counted."""
        claimed = start_run(ledger)
        release(ledger, claimed)
        again = claim(ledger, claimed.key, attempt=2)
        assert (again.attempt, again.lost_attempts) == (2, 1)

    def test_a_released_row_is_swept_at_once(self, ledger: Ledger) -> None:
        """R4: no message is on its way for the next attempt, so the sweeper sends one at its next look."""
        claimed = start_run(ledger)
        release(ledger, claimed)
        with ledger.transaction() as connection:
            (row,) = due.take_due_steps(connection, limit=10)
        assert (row.key, row.state, row.sends) == (claimed.key, StepState.READY, 0)

    def test_a_step_in_doubt_is_not_claimed(self, ledger: Ledger) -> None:
        """R8: nothing runs a step in doubt again by itself, and the sweeper leaves it alone."""
        claimed = start_run(ledger)
        doubt(ledger, claimed)
        assert try_claim(ledger, claimed.key, attempt=2) is None
        assert read_step(ledger, claimed.key).sweep_at is None

    def test_the_reason_is_kept(self, ledger: Ledger) -> None:
        """R11: what ended the attempt is in the row and in the entry."""
        claimed = start_run(ledger)
        doubt(ledger, claimed)
        assert read_step(ledger, claimed.key).error == {"type": "in_doubt", "message": "the claim expired"}
        assert read_run(ledger, claimed.key.run_id).error_summary == "the claim expired"

    @pytest.mark.parametrize("outcome", ["retry", "release", "doubt", "succeed"])
    def test_each_outcome_counts_once(self, ledger: Ledger, outcome: str) -> None:
        """`attempt_count` is the number of attempts that have ended, in any way."""
        claimed = start_run(ledger)
        OUTCOMES[outcome](ledger, claimed)
        assert read_run(ledger, claimed.key.run_id).attempt_count == 1


class TestExclusiveKey:
    def test_another_run_cannot_claim_under_a_held_key(self, ledger: Ledger) -> None:
        """A key of one's own is held by one step of all runs; the claim of the second writes nothing."""
        claim(ledger, key_of(create_run(ledger)), exclusive_key="order-1")
        waiting = key_of(create_run(ledger))
        before = take_snapshot(ledger)
        with pytest.raises(IntegrityError):
            try_claim(ledger, waiting, exclusive_key="order-1")
        assert take_snapshot(ledger) == before

    def test_a_success_keeps_the_key(self, ledger: Ledger) -> None:
        """A second run that meets a recorded success finds it by its key."""
        claimed = claim(ledger, key_of(create_run(ledger)), exclusive_key="order-1")
        succeed(ledger, claimed, output="charged")
        holder = ledger.read(lambda connection: queries.find_key_holder(connection, "order-1"))
        assert holder is not None
        assert (holder.key, holder.state, holder.output) == (claimed.key, StepState.SUCCEEDED, "charged")

    @pytest.mark.parametrize("outcome", ["retry", "release", "doubt"])
    def test_an_attempt_without_a_final_outcome_keeps_the_key(self, ledger: Ledger, outcome: str) -> None:
        """The effect may exist, or is tried again: nobody else may begin it meanwhile."""
        claimed = claim(ledger, key_of(create_run(ledger)), exclusive_key="order-1")
        OUTCOMES[outcome](ledger, claimed)
        with pytest.raises(IntegrityError):
            try_claim(ledger, key_of(create_run(ledger)), exclusive_key="order-1")

    def test_a_failure_gives_the_key_free(self, ledger: Ledger) -> None:
        """After a step has failed for good, another run may try under the same key."""
        claimed = claim(ledger, key_of(create_run(ledger)), exclusive_key="order-1")
        fail(ledger, claimed)
        assert try_claim(ledger, key_of(create_run(ledger)), exclusive_key="order-1") is not None


class TestOwnKey:
    def test_the_first_attempt_sets_it(self, ledger: Ledger) -> None:
        """A key made from the input stands in the row in place of the one from run and step."""
        claimed = claim(ledger, key_of(create_run(ledger)), own_key="order-1", exclusive_key="charge:order-1")
        assert claimed.idempotency_key == "order-1"
        assert read_step(ledger, claimed.key).idempotency_key == "order-1"

    def test_later_attempts_keep_it(self, ledger: Ledger) -> None:
        """The key is the same for every attempt of the step, also when the function would now make another one."""
        claimed = claim(ledger, key_of(create_run(ledger)), own_key="order-1", exclusive_key="charge:order-1")
        release(ledger, claimed)
        again = claim(ledger, claimed.key, attempt=2, own_key="order-2", exclusive_key="charge:order-2")
        assert again.idempotency_key == "order-1"
        for exclusive_key, holder in (("charge:order-1", claimed.key), ("charge:order-2", None)):
            found = ledger.read(partial(queries.find_key_holder, exclusive_key=exclusive_key))
            assert (found.key if found else None) == holder

    def test_without_one_the_key_is_that_of_run_and_step(self, ledger: Ledger) -> None:
        """The default needs no function and is unique by itself."""
        claimed = start_run(ledger)
        assert claimed.idempotency_key == f"{claimed.key.run_id}:reserve"


class TestFailure:
    def test_the_error_is_kept(self, ledger: Ledger) -> None:
        """R11: the error is in the row and, with its line, in the entry; what follows is up to the transaction."""
        claimed = start_run(ledger)
        fail(ledger, claimed)
        entry = ledger.read(lambda connection: queries.list_entries(connection, claimed.key.run_id))[-1]
        assert read_step(ledger, claimed.key).error == {"type": "OSError", "message": "gone"}
        assert (entry.event, entry.reason, entry.detail) == (
            "step_failed",
            "OSError: gone",
            {"type": "OSError", "message": "gone"},
        )
        assert read_run(ledger, claimed.key.run_id).state is RunState.RUNNING

    def test_a_failure_without_effect_says_so(self, ledger: Ledger) -> None:
        """A rollback leaves out a step that said that nothing happened."""
        claimed = start_run(ledger)
        fail(ledger, claimed, no_effect=True)
        assert read_step(ledger, claimed.key).error == {"type": "OSError", "message": "gone", "no_effect": True}

    def test_a_failure_that_the_run_goes_on_after_says_so_too(self, ledger: Ledger) -> None:
        """A step further on may fail: then its rollback leaves this one out just the same."""
        claimed = start_run(ledger)
        with ledger.change() as connection:
            assert transitions.pass_failed_step(
                connection,
                claimed,
                error={"type": "OSError", "message": "gone"},
                reason="OSError: gone",
                onward=describe_onward(claimed, "charge"),
                no_effect=True,
            )
        assert read_step(ledger, claimed.key).error == {"type": "OSError", "message": "gone", "no_effect": True}


def fail(ledger: Ledger, claimed: Claim, *, no_effect: bool = False) -> None:
    error = {"type": "OSError", "message": "gone"}
    with ledger.transaction() as connection:
        assert transitions.fail_step(connection, claimed, error=error, reason="OSError: gone", no_effect=no_effect)


class TestClockThatIsSetBack:
    """The database's clock jumps back by an hour: every instant that is stored lies an hour in the future."""

    def test_what_is_ready_is_claimed_all_the_same(self, ledger: Ledger) -> None:
        """A message needs no time."""
        key = key_of(create_run(ledger))
        set_step(ledger, key, sweep_at=LATER, dispatched_at=LATER)
        assert claim(ledger, key).attempt == 1

    def test_an_outcome_is_written_all_the_same(self, ledger: Ledger) -> None:
        """By token: the claim that now lasts an hour longer ends with its outcome."""
        claimed = start_run(ledger)
        set_step(ledger, claimed.key, claim_expires_at=LATER, sweep_at=LATER, started_at=LATER)
        assert succeed(ledger, claimed)
        assert read_run(ledger, claimed.key.run_id).state is RunState.SUCCEEDED

    def test_a_retry_is_not_lost(self, ledger: Ledger) -> None:
        """It comes later by as much: its message is too early, and the sweeper sends one when its time has come."""
        claimed = start_run(ledger)
        assert retry_later(ledger, claimed, delay_seconds=0)
        set_step(ledger, claimed.key, next_retry_at=LATER, sweep_at=LATER)
        assert try_claim(ledger, claimed.key, attempt=2) is None
        found = read_step(ledger, claimed.key)
        assert (found.state, found.sweep_at) == (StepState.RETRY_SCHEDULED, LATER)
