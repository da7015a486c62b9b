"""What is read about one run: its rows, claims, entries and reviews; and what the sweeper takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, text

from backout.identifiers import RunId, new_claim_token, new_run_id
from backout.ledger import due, queries, transitions, undoing
from backout.ledger.records import StepKey
from backout.ledger.session import Ledger
from backout.states import Direction, ReviewReason, RollbackOutcome, RunState, StepState
from tests.support.ledgers import (
    LATER,
    LONG_AGO,
    claim,
    create_run,
    key_of,
    put_run,
    put_step,
    release,
    set_step,
    start_run,
    succeed,
)


class TestSteps:
    def test_they_come_in_the_order_of_what_happened(self, ledger: Ledger) -> None:
        """By round, forward before compensation, each direction in the order of start."""
        with ledger.transaction() as connection:
            run_id = put_run(connection, state=RunState.ROLLING_BACK)
            for position in (1, 0):
                put_step(connection, key_of(run_id, position, round_number=2), state=StepState.READY)
                put_step(connection, key_of(run_id, position), state=StepState.SUCCEEDED)
                compensation = key_of(run_id, position, Direction.COMPENSATION)
                put_step(connection, compensation, state=StepState.PENDING, start_order=2 - position)
            put_step(connection, key_of(new_run_id()), state=StepState.READY)
        found = ledger.read(lambda connection: queries.list_steps(connection, run_id))
        assert [(row.round, row.direction.value, row.position) for row in found] == [
            (1, "forward", 0),
            (1, "forward", 1),
            (1, "compensation", 1),
            (1, "compensation", 0),
            (2, "forward", 0),
            (2, "forward", 1),
        ]

    def test_a_row_knows_its_own_key(self, ledger: Ledger) -> None:
        """What was listed can be asked for again."""
        key = key_of(create_run(ledger))
        (found,) = ledger.read(lambda connection: queries.list_steps(connection, key.run_id))
        assert found.key == key

    @pytest.mark.parametrize("state", [state for state in StepState if state not in ("waiting", "kept")])
    def test_only_a_success_has_an_output(self, ledger: Ledger, state: StepState) -> None:
        """What was undone is void, what failed has none."""
        with ledger.transaction() as connection:
            run_id = put_run(connection, state=RunState.RUNNING)
            put_step(connection, key_of(run_id), state=state, output={"charge": 1})
        found = ledger.read(lambda connection: queries.find_output(connection, run_id, "step_0"))
        assert (found is not None) is (state is StepState.SUCCEEDED)

    def test_the_newest_round_has_the_output(self, ledger: Ledger) -> None:
        """After a restart the step's output is that of its last success."""
        with ledger.transaction() as connection:
            run_id = put_run(connection, state=RunState.RUNNING)
            for round_number in (1, 2):
                key = key_of(run_id, round_number=round_number)
                put_step(connection, key, state=StepState.SUCCEEDED, output=round_number)
            put_step(connection, key_of(run_id, round_number=3), state=StepState.READY)
            put_step(connection, key_of(run_id, 0, Direction.COMPENSATION), state=StepState.SUCCEEDED, output="undone")
        found = ledger.read(lambda connection: queries.find_output(connection, run_id, "step_0"))
        assert found is not None
        assert found.output == 2

    @pytest.mark.parametrize(
        ("state", "is_to_run"),
        [
            (StepState.PENDING, True),
            (StepState.READY, True),
            (StepState.RETRY_SCHEDULED, True),
            (StepState.RUNNING, False),
            (StepState.SUCCEEDED, False),
            (StepState.KEPT, False),
            (StepState.SKIPPED, False),
            (StepState.FAILED, False),
            (StepState.IN_DOUBT, False),
        ],
    )
    def test_compensations_that_are_still_to_run(self, ledger: Ledger, state: StepState, is_to_run: bool) -> None:
        """R5: what is left of the rollback, in the order of undoing; forward rows are none of it."""
        with ledger.transaction() as connection:
            run_id = put_run(connection, state=RunState.ROLLING_BACK)
            put_step(connection, key_of(run_id, 0), state=StepState.READY)
            put_step(connection, key_of(run_id, 0, Direction.COMPENSATION), state=StepState.PENDING, start_order=2)
            put_step(connection, key_of(run_id, 1, Direction.COMPENSATION), state=state, start_order=1)
        found = ledger.read(lambda connection: undoing.next_undos(connection, run_id))
        assert [row.position for row in found] == ([1, 0] if is_to_run else [0])


class TestFindClaim:
    def test_it_is_the_claim_that_was_given(self, ledger: Ledger) -> None:
        """Whoever finds a running row knows the same as its holder."""
        claimed = start_run(ledger, subject_id="customer-1")
        assert ledger.read(lambda connection: queries.find_claim(connection, claimed.key)) == claimed

    @pytest.mark.parametrize("end", [release, succeed])
    def test_after_its_end_there_is_none(self, ledger: Ledger, end: Callable[..., bool]) -> None:
        """R3: a token that is left in the row is not a claim."""
        claimed = start_run(ledger)
        end(ledger, claimed)
        assert ledger.read(lambda connection: queries.find_claim(connection, claimed.key)) is None


class TestEntries:
    def test_they_come_in_order_and_from_where_one_stopped(self, ledger: Ledger) -> None:
        """Following a run means asking for what came after the last entry that is known."""
        claimed = start_run(ledger)
        start_run(ledger)
        seen = ledger.read(lambda connection: queries.list_entries(connection, claimed.key.run_id))
        succeed(ledger, claimed)
        new = ledger.read(lambda c: queries.list_entries(c, claimed.key.run_id, after_id=seen[-1].id))
        assert [entry.event for entry in seen] == ["run_created", "step_ready", "run_started", "attempt_started"]
        assert [entry.event for entry in new] == ["step_succeeded", "run_succeeded"]

    def test_a_limit_leaves_the_later_ones_out(self, ledger: Ledger) -> None:
        """The first page is the oldest part of the story."""
        claimed = start_run(ledger)
        found = ledger.read(lambda connection: queries.list_entries(connection, claimed.key.run_id, limit=2))
        assert [entry.event for entry in found] == ["run_created", "step_ready"]

    def test_an_entry_without_detail_has_none_in_the_database(self, ledger: Ledger) -> None:
        """A person with `psql` finds entries without detail by `detail IS NULL`, as the column's comment says."""
        claimed = start_run(ledger)
        succeed(ledger, claimed)
        with ledger.transaction() as connection:
            run_id = put_run(connection, state=RunState.RUNNING)
            transitions.park_run(connection, run_id, operator_state="…", reason="no stock")
            query = text("SELECT event FROM backout_entry WHERE detail IS NOT NULL ORDER BY id")
            assert connection.execute(query).scalars().all() == ["run_created"]


class TestReviews:
    @pytest.fixture
    def review_id(self, ledger: Ledger) -> int:
        """A review about the second step of a run."""
        with ledger.transaction() as connection:
            run_id = put_run(connection, state=RunState.RUNNING)
            opened = open_review(connection, run_id, key_of(run_id, 1, Direction.COMPENSATION))
        assert opened is not None
        return opened

    def test_it_is_stored_as_asked(self, ledger: Ledger, review_id: int) -> None:
        """The reviewer sees why, about what, with which evidence and until when."""
        (found,) = ledger.read(queries.list_reviews)
        assert (found.id, found.reason, found.step) == (review_id, ReviewReason.COMPENSATION_FAILED, "charge")
        assert (found.round, found.position, found.direction) == (1, 1, Direction.COMPENSATION)
        assert (found.evidence, found.deadline_at) == ({"attempted": ["refund"]}, LATER)
        assert (found.decision, found.decided_by, found.decided_at, found.assignee) == (None, None, None, None)

    def test_the_run_says_that_a_person_must_decide(self, ledger: Ledger, review_id: int) -> None:
        """R4: a run that waits for a person shows it, with how far its rollback came."""
        (found,) = ledger.read(lambda connection: queries.list_runs(connection, needs_person=True))
        assert (found.state, found.rollback_outcome) == (RunState.IN_REVIEW, RollbackOutcome.PARTIAL)

    def test_its_entry_names_the_review(self, ledger: Ledger, review_id: int) -> None:
        """R11: the entry leads to the review."""
        (record,) = ledger.read(queries.list_reviews)
        (entry,) = ledger.read(lambda connection: queries.list_entries(connection, record.run_id))
        assert (entry.reason, entry.detail) == ("compensation_failed", {"review_id": review_id})

    def test_one_about_the_run_names_no_step(self, ledger: Ledger) -> None:
        """A review about the run belongs to its present round."""
        with ledger.transaction() as connection:
            run_id = put_run(connection, state=RunState.RUNNING, round=3)
            open_review(connection, run_id, None)
        (found,) = ledger.read(queries.list_reviews)
        assert (found.round, found.position, found.direction, found.step) == (3, None, None, None)

    def test_they_are_listed_oldest_first_of_one_run_or_all(self, ledger: Ledger, review_id: int) -> None:
        """Who has waited longest comes first."""
        with ledger.transaction() as connection:
            other = put_run(connection, state=RunState.ROLLING_BACK)
            second = open_review(connection, other, None)
        assert [found.id for found in ledger.read(queries.list_reviews)] == [review_id, second]
        of_other = ledger.read(lambda connection: queries.list_reviews(connection, other))
        assert [found.id for found in of_other] == [second]

    def test_decided_ones_can_be_left_out(self, ledger: Ledger, review_id: int) -> None:
        """What is left is what must still be decided."""
        with ledger.transaction() as connection:
            connection.execute(text("UPDATE backout_review SET decision = 'accept', decided_at = opened_at"))
        assert ledger.read(lambda connection: queries.list_reviews(connection, open_only=True)) == []
        assert len(ledger.read(queries.list_reviews)) == 1


def open_review(connection: Connection, run_id: RunId, about: StepKey | None) -> int | None:
    return transitions.review_run(
        connection,
        run_id,
        reason=ReviewReason.COMPENSATION_FAILED,
        about=about,
        step_name="charge" if about else None,
        evidence={"attempted": ["refund"]},
        operator_state="undoing_failed",
        rollback_outcome=RollbackOutcome.PARTIAL,
        deadline_at=LATER,
    )


class TestDueSteps:
    def test_the_longest_due_come_first(self, ledger: Ledger) -> None:
        """R4: a row that waits does not wait for ever because of newer ones."""
        keys = [key_of(create_run(ledger)) for _ in range(3)]
        for key, second in zip(keys, (30, 10, 20), strict=True):
            set_due(ledger, key, second)
        with ledger.transaction() as connection:
            rows = due.take_due_steps(connection, limit=2)
        assert [row.key for row in rows] == [keys[1], keys[2]]

    def test_rows_that_are_not_due_are_left_out(self, ledger: Ledger) -> None:
        """Neither a row whose time has not come nor one that has none."""
        create_run(ledger)
        succeed(ledger, start_run(ledger))
        with ledger.transaction() as connection:
            assert due.take_due_steps(connection, limit=10) == []

    def test_they_carry_what_the_sweeper_must_know(self, ledger: Ledger) -> None:
        """One look is enough to decide: state, attempts, claim, and the definition of the run."""
        token = new_claim_token()
        claimed = claim(ledger, key_of(create_run(ledger, pipeline="newsletter", definition_digest="d1")))
        set_due(ledger, claimed.key, 0, claim_token=token, claim_expires_at=LONG_AGO, claimed_by="vm/1/2")
        with ledger.transaction() as connection:
            (row,) = due.take_due_steps(connection, limit=10)
        assert (row.key, row.step, row.state, row.attempt) == (claimed.key, "reserve", StepState.RUNNING, 1)
        assert (row.sends, row.claimed_by, row.task_id) == (0, "vm/1/2", claimed.task_id)
        assert (row.definition_digest, row.run_state) == ("d1", RunState.RUNNING)


def set_due(ledger: Ledger, key: StepKey, second: int, **values: Any) -> None:
    set_step(ledger, key, sweep_at=LONG_AGO.replace(second=second), **values)
