"""The arrows that are walked inside others: a run starts with its first claim and ends with its last outcome."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError

from backout.identifiers import ClaimToken, RunId, TaskId, new_claim_token
from backout.ledger import queries, transitions
from backout.ledger.session import Ledger
from backout.states import ACTIVE_RUN_STATES, TRANSITIONS, Direction, RunState, StepState
from tests.support import ledgers
from tests.support.ledgers import (
    LATER,
    claim,
    claim_of,
    create_run,
    describe_run,
    key_of,
    put_run,
    put_step,
    read_events,
    read_run,
    read_step,
    retry_later,
    set_run,
    set_step,
    start_run,
    succeed,
    try_claim,
)
from tests.support.snapshots import Difference, compare, take_snapshot

REACHABLE = sorted({RunState(s) for arrow in TRANSITIONS.values() if arrow.subject == "run" for s in arrow.targets})
NOTHING = Difference(changed={}, added={}, removed=())


class TestCreateRun:
    def test_run_and_first_step_are_stored_as_described(self, ledger: Ledger) -> None:
        """What was enqueued can be read back to the last field."""
        new = describe_run(source_event_id="form-1", subject_id="customer-1", input={"größe": [1, None, "✓"]})
        with ledger.transaction() as connection:
            assert transitions.create_run(connection, new, resend_seconds=60)
            plan = queries.load_plan(connection, new.id)
        found = read_run(ledger, new.id)
        assert (found.pipeline, found.definition_digest, plan) == (new.pipeline, new.definition_digest, new.plan)
        assert (found.source_event_id, found.subject_id, found.input) == ("form-1", "customer-1", new.input)
        assert (found.state, found.round, found.operator_state) == (RunState.PENDING, 1, "reserve_pending")
        assert (found.attempt_count, found.external_ids, found.requires_human_review) == (0, {}, False)
        assert found.created_at == found.updated_at
        assert found.created_at.utcoffset() is not None

    def test_first_step_is_ready_and_counted_as_sent(self, ledger: Ledger) -> None:
        """The first message goes out right after the commit; the sweeper looks only after the resend time."""
        found = read_step(ledger, key_of(create_run(ledger)))
        assert (found.state, found.step, found.start_order) == (StepState.READY, "reserve", 1)
        assert (found.attempt, found.sends) == (0, 1)
        assert found.sweep_at is not None
        assert found.dispatched_at is not None
        assert (found.sweep_at - found.dispatched_at).total_seconds() == pytest.approx(60, abs=1)

    def test_its_first_message_has_the_id_of_the_run(self, ledger: Ledger) -> None:
        """Flower's tree of a run has one root: the id that the caller was given."""
        run_id = create_run(ledger)
        assert read_step(ledger, key_of(run_id)).task_id == TaskId(run_id)

    def test_its_entries_say_who_enqueued_it(self, ledger: Ledger) -> None:
        """R11: the creation is an entry with the actor, the source event and the subject."""
        run_id = create_run(ledger, source_event_id="form-1", subject_id="customer-1", actor="anna")
        created, ready = ledger.read(lambda connection: queries.list_entries(connection, run_id))
        assert (created.event, created.actor, created.step) == ("run_created", "anna", None)
        assert created.detail == {"source_event_id": "form-1", "subject_id": "customer-1"}
        assert (ready.event, ready.step, ready.position, ready.direction) == ("step_ready", "reserve", 0, "forward")

    @pytest.mark.parametrize("state", REACHABLE)
    def test_a_second_run_of_one_source_event_is_not_created(self, ledger: Ledger, state: RunState) -> None:
        """R9: whatever became of the first run, its source event makes no other one."""
        with ledger.transaction() as connection:
            put_run(connection, state=state, source_event_id="form-1")
        before = take_snapshot(ledger)
        with ledger.transaction() as connection:
            new = describe_run(source_event_id="form-1")
            assert transitions.create_run(connection, new, resend_seconds=60) is False
        assert compare(before, take_snapshot(ledger)) == NOTHING

    def test_another_pipeline_may_have_the_same_source_event(self, ledger: Ledger) -> None:
        """R9 holds for each pipeline by itself."""
        create_run(ledger, source_event_id="form-1")
        create_run(ledger, source_event_id="form-1", pipeline="newsletter")

    def test_runs_without_a_source_event_do_not_meet(self, ledger: Ledger) -> None:
        """No source event is not a source event that two runs have in common."""
        create_run(ledger)
        create_run(ledger)

    def test_a_run_whose_entry_cannot_be_written_is_not_created(self, ledger: Ledger, refused_entries: None) -> None:
        """R11: there is no run without the entry of its creation."""
        before = take_snapshot(ledger)
        with pytest.raises(DBAPIError, match="entries are refused"):
            create_run(ledger)
        assert take_snapshot(ledger) == before


class TestStartRun:
    def test_the_first_claim_starts_the_run(self, ledger: Ledger) -> None:
        """A run is running from its first attempt on, in the same commit."""
        run_id = start_run(ledger).key.run_id
        assert read_run(ledger, run_id).state is RunState.RUNNING
        assert read_events(ledger, run_id) == ["run_created", "step_ready", "run_started", "attempt_started"]

    def test_a_second_attempt_of_the_first_step_does_not_start_it_again(self, ledger: Ledger) -> None:
        """A run starts once."""
        claimed = start_run(ledger)
        retry_later(ledger, claimed, delay_seconds=0)
        claim(ledger, claimed.key, attempt=2)
        assert read_events(ledger, claimed.key.run_id).count("run_started") == 1

    @pytest.mark.parametrize("attempt", [1, 2, 7])
    def test_a_message_with_a_wrong_attempt_starts_it_all_the_same(self, ledger: Ledger, attempt: int) -> None:
        """R12: the attempt in a message is only a hint; what the first claim does depends on the row."""
        run_id = create_run(ledger)
        claim(ledger, key_of(run_id), attempt=attempt)
        assert read_run(ledger, run_id).state is RunState.RUNNING
        assert read_events(ledger, run_id)[2:] == ["run_started", "attempt_started"]

    @pytest.mark.parametrize("position", [0, 1])
    @pytest.mark.parametrize("attempt", [1, 2, 3])
    def test_whatever_the_message_says_a_claim_ends_the_wait_for_a_retry(
        self, ledger: Ledger, position: int, attempt: int
    ) -> None:
        """R12: a duplicate of the first message that takes up the second attempt leaves no retry time in the run."""
        claimed = start_run(ledger)
        if position:
            succeed(ledger, claimed, next_name="charge")
            claimed = claim(ledger, key_of(claimed.key.run_id, 1))
        retry_later(ledger, claimed, delay_seconds=0)
        assert read_run(ledger, claimed.key.run_id).next_retry_at is not None
        claim(ledger, claimed.key, attempt=attempt)
        assert read_run(ledger, claimed.key.run_id).next_retry_at is None

    def test_a_run_whose_entry_cannot_be_written_is_not_started(self, ledger: Ledger) -> None:
        """R11: the claim, the start and both entries are one commit."""
        run_id = create_run(ledger)
        before = take_snapshot(ledger)
        with pytest.raises(DBAPIError), ledger.change() as connection:
            transitions.claim_step(
                connection,
                key_of(run_id),
                token=ledgers.token_of(key_of(run_id)),
                lease_seconds=60,
                worker=None,  # type: ignore[arg-type] # An entry must have an actor: the database refuses it.
                attempt=1,
            )
        assert take_snapshot(ledger) == before

    @pytest.mark.parametrize("state", [state for state in REACHABLE if state is not RunState.PENDING])
    def test_a_run_that_is_not_pending_keeps_its_state(self, ledger: Ledger, state: RunState) -> None:
        """R11: `start_run` may only start from pending, and no entry says that a run started which did not."""
        with ledger.transaction() as connection:
            run_id = put_run(connection, state=state)
            put_step(connection, key_of(run_id), state=StepState.READY)
        before = read_run(ledger, run_id)
        claimed = try_claim(ledger, key_of(run_id))
        assert read_run(ledger, run_id) == before
        # In a run that is stopped or final nothing starts at all.
        assert (claimed is not None) == (state in ACTIVE_RUN_STATES)
        assert read_events(ledger, run_id) == (["attempt_started"] if claimed else [])


class TestSucceedRun:
    def test_the_last_success_closes_the_run_with_its_output(self, ledger: Ledger) -> None:
        """A run has succeeded in the same commit as its last step, and its output is that step's."""
        claimed = start_run(ledger)
        assert succeed(ledger, claimed, output={"done": True})
        found = read_run(ledger, claimed.key.run_id)
        assert (found.state, found.output) == (RunState.SUCCEEDED, {"done": True})
        assert (found.last_successful_step, found.operator_state) == ("reserve", "reserve_done")
        assert found.finished_at is not None
        assert read_events(ledger, claimed.key.run_id)[-2:] == ["step_succeeded", "run_succeeded"]

    @pytest.mark.parametrize("state", [state for state in REACHABLE if state is not RunState.RUNNING])
    def test_a_run_that_is_not_running_keeps_its_state(self, ledger: Ledger, state: RunState) -> None:
        """R11: `succeed_run` may only start from running; the step's own outcome is recorded all the same."""
        with ledger.transaction() as connection:
            run_id = put_run(connection, state=state)
            put_step(connection, key_of(run_id), state=StepState.RUNNING)
        before = read_run(ledger, run_id)
        assert succeed(ledger, claim_of(key_of(run_id)))
        assert read_step(ledger, key_of(run_id)).state is StepState.SUCCEEDED
        assert read_run(ledger, run_id) == before
        assert read_events(ledger, run_id) == ["step_succeeded"]


def with_claim(onward: transitions.Onward) -> tuple[transitions.Onward, ClaimToken]:
    """Return the same way on, with a claim on the next step."""
    token = new_claim_token()
    claim = transitions.NextClaim(
        token=token, lease_seconds=60, worker="worker-1", process="host/boot/pid/1", detail={"burst": "a message"}
    )
    assert onward.following is not None
    return replace(onward, following=replace(onward.following, claim=claim)), token


class TestCreateStep:
    def test_a_success_makes_the_next_step_ready(self, ledger: Ledger) -> None:
        """The next row is born in the same commit as the outcome before it, ready and counted as sent."""
        claimed = start_run(ledger)
        onward = ledgers.describe_onward(claimed, "charge")
        following = onward.following
        assert following is not None
        with ledger.change() as connection:
            transitions.succeed_step(connection, claimed, output=1, onward=onward)
        found = read_step(ledger, key_of(claimed.key.run_id, 1))
        assert (found.state, found.step, found.attempt, found.start_order) == (StepState.READY, "charge", 0, 2)
        assert (found.idempotency_key, found.task_id) == (following.idempotency_key, following.task_id)
        assert (found.sends, found.external_ids, found.output) == (1, {}, None)

    def test_a_success_may_claim_the_next_step_at_once(self, ledger: Ledger) -> None:
        """In a burst outcome and next claim are one commit; the claim is held as if it had been taken by itself."""
        claimed = start_run(ledger)
        onward, token = with_claim(ledgers.describe_onward(claimed, "charge"))
        with ledger.change() as connection:
            gone_on = transitions.succeed_step(connection, claimed, output=1, onward=onward)
        assert gone_on is not None
        key = key_of(claimed.key.run_id, 1)
        assert gone_on.claim == ledger.read(lambda connection: queries.find_claim(connection, key))
        found = read_step(ledger, key)
        assert (found.state, found.attempt, found.start_order, found.claim_token) == (StepState.RUNNING, 1, 2, token)
        assert (found.claimed_by, found.sends, found.dispatched_at) == ("host/boot/pid/1", 0, None)
        assert found.started_at is not None
        assert found.claim_expires_at is not None
        assert round((found.claim_expires_at - found.started_at).total_seconds()) == 60

    def test_a_claim_at_once_has_one_entry(self, ledger: Ledger) -> None:
        """R11: a row that is born claimed has changed once; its worker has started it, in which burst it says."""
        claimed = start_run(ledger)
        onward, _ = with_claim(ledgers.describe_onward(claimed, "charge"))
        with ledger.change() as connection:
            transitions.succeed_step(connection, claimed, output=1, onward=onward)
        last = ledger.read(lambda connection: queries.list_entries(connection, claimed.key.run_id))[-2:]
        assert [(entry.event, entry.actor, entry.position, entry.attempt, entry.detail) for entry in last] == [
            ("step_succeeded", "engine", 0, 1, None),
            ("attempt_started", "worker-1", 1, 1, {"burst": "a message"}),
        ]

    @pytest.mark.parametrize("state", [RunState.PAUSED, RunState.CANCELLED, RunState.IN_REVIEW, RunState.PARKED])
    def test_nothing_is_claimed_at_once_in_a_run_that_a_person_has_stopped(
        self, ledger: Ledger, state: RunState
    ) -> None:
        """R13: the outcome is recorded, the next row is ready and rests."""
        with ledger.transaction() as connection:
            run_id = put_run(connection, state=state)
            put_step(connection, key_of(run_id), state=StepState.RUNNING)
        claimed = claim_of(key_of(run_id))
        onward, _ = with_claim(ledgers.describe_onward(claimed, "charge"))
        with ledger.change() as connection:
            gone_on = transitions.succeed_step(connection, claimed, output=1, onward=onward)
        assert gone_on == transitions.GoneOn(claim=None)
        found = read_step(ledger, key_of(run_id, 1))
        assert (found.state, found.attempt, found.claim_token) == (StepState.READY, 0, None)
        assert read_events(ledger, run_id) == ["step_succeeded", "step_ready"]

    def test_a_lost_claim_claims_nothing(self, ledger: Ledger) -> None:
        """R3: an answer that comes too late writes nothing at all."""
        claimed = start_run(ledger)
        onward, _ = with_claim(ledgers.describe_onward(claimed, "charge"))
        late = replace(claimed, token=new_claim_token())
        with ledger.change() as connection:
            assert transitions.succeed_step(connection, late, output=1, onward=onward) is None
        assert ledger.read(lambda connection: queries.find_step(connection, key_of(claimed.key.run_id, 1))) is None

    def test_its_entry_names_the_next_step_and_no_attempt(self, ledger: Ledger) -> None:
        """R11: the birth of a row is an entry about that row, not about the one before it."""
        claimed = start_run(ledger)
        succeed(ledger, claimed, next_name="charge")
        ready = ledger.read(lambda connection: queries.list_entries(connection, claimed.key.run_id))[-1]
        assert (ready.event, ready.step, ready.position, ready.attempt) == ("step_ready", "charge", 1, None)

    @pytest.mark.parametrize("state", [state for state in StepState if state in (StepState.READY, StepState.SUCCEEDED)])
    def test_a_row_that_exists_is_never_made_again(self, ledger: Ledger, state: StepState) -> None:
        """R2: where the next row is there already, the outcome is refused as a whole and nothing was written."""
        claimed = start_run(ledger)
        with ledger.transaction() as connection:
            put_step(connection, key_of(claimed.key.run_id, 1), state=state)
        before = take_snapshot(ledger)
        with pytest.raises(IntegrityError):
            succeed(ledger, claimed, next_name="charge")
        assert take_snapshot(ledger) == before


def test_a_run_that_waited_for_a_retry_waits_no_longer_when_it_succeeds(ledger: Ledger) -> None:
    """A closed run shows no time of a next attempt."""
    claimed = start_run(ledger)
    retry_later(ledger, claimed, delay_seconds=0)
    succeed(ledger, claim(ledger, claimed.key, attempt=2))
    found = read_run(ledger, claimed.key.run_id)
    assert (found.state, found.next_retry_at) == (RunState.SUCCEEDED, None)


@pytest.mark.parametrize("direction", list(Direction))
def test_a_row_of_a_run_that_is_unknown_is_not_claimed(ledger: Ledger, direction: Direction) -> None:
    """R10: a message for a run that the ledger does not have claims nothing and writes nothing."""
    before = take_snapshot(ledger)
    assert try_claim(ledger, key_of(RunId("01900000-0000-7000-8000-000000000000"), 0, direction)) is None
    assert take_snapshot(ledger) == before


def test_the_clock_of_a_run_moves_with_each_outcome(ledger: Ledger) -> None:
    """`updated_at` tells when something was last recorded about the run."""
    claimed = start_run(ledger)
    set_run(ledger, claimed.key.run_id, updated_at=ledgers.LONG_AGO)
    set_step(ledger, claimed.key, claim_expires_at=LATER)
    succeed(ledger, claimed)
    assert read_run(ledger, claimed.key.run_id).updated_at > ledgers.LONG_AGO
