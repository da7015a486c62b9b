"""Facts that are recorded without a change of state: external ids, heartbeats, resends, refused messages."""

from __future__ import annotations

import gc
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Update, select

from backout.events import Event
from backout.identifiers import TaskId, new_task_id
from backout.ledger import queries, transitions
from backout.ledger.models import entry
from backout.ledger.records import Claim, StepKey
from backout.ledger.session import Ledger
from backout.states import RunState, StepState
from tests.support.ledgers import (
    LONG_AGO,
    claim,
    claim_of,
    create_run,
    doubt,
    key_of,
    put_run,
    put_step,
    read_run,
    read_step,
    release,
    set_step,
    stale,
    start_run,
    succeed,
)
from tests.support.snapshots import compare, take_snapshot


def record_id(ledger: Ledger, claimed: Claim, name: str, value: str) -> bool:
    with ledger.change() as connection:
        return transitions.record_external_id(connection, claimed, name=name, value=value)


class TestExternalIds:
    def test_an_id_is_in_the_step_and_in_the_run(self, ledger: Ledger) -> None:
        """R14: it is committed before the next line of the user's function runs."""
        claimed = start_run(ledger)
        assert record_id(ledger, claimed, "charge", "ch-1")
        assert read_step(ledger, claimed.key).external_ids == {"charge": "ch-1"}
        assert read_run(ledger, claimed.key.run_id).external_ids == {"charge": "ch-1"}

    def test_ids_of_several_names_are_all_kept(self, ledger: Ledger) -> None:
        """R14: the second id does not replace the first."""
        claimed = start_run(ledger)
        for name in ("charge", "größe", "a.b", 'quo"te', "$x"):
            record_id(ledger, claimed, name, f"{name}-1")
        expected = {name: f"{name}-1" for name in ("charge", "größe", "a.b", 'quo"te', "$x")}
        assert read_step(ledger, claimed.key).external_ids == expected

    def test_the_same_name_again_replaces_the_id(self, ledger: Ledger) -> None:
        """The last id under a name is the one in use; the entries still have both."""
        claimed = start_run(ledger)
        record_id(ledger, claimed, "charge", "ch-1")
        record_id(ledger, claimed, "charge", "ch-2")
        assert read_step(ledger, claimed.key).external_ids == {"charge": "ch-2"}
        entries = ledger.read(lambda connection: queries.list_entries(connection, claimed.key.run_id))
        assert [e.detail["value"] for e in entries if e.event is Event.EXTERNAL_ID_RECORDED] == ["ch-1", "ch-2"]

    @pytest.mark.parametrize("end", [release, doubt, succeed])
    def test_ids_survive_the_end_of_the_attempt(self, ledger: Ledger, end: Callable[[Ledger, Claim], bool]) -> None:
        """R14: whatever became of the attempt, what it recorded stays."""
        claimed = start_run(ledger)
        record_id(ledger, claimed, "charge", "ch-1")
        assert end(ledger, claimed)
        assert read_step(ledger, claimed.key).external_ids == {"charge": "ch-1"}

    def test_the_next_attempt_is_told_of_them(self, ledger: Ledger) -> None:
        """R14: a second attempt sees what the first one left outside."""
        claimed = start_run(ledger)
        record_id(ledger, claimed, "charge", "ch-1")
        release(ledger, claimed)
        assert claim(ledger, claimed.key, attempt=2).external_ids == {"charge": "ch-1"}

    def test_the_next_step_is_told_of_them(self, ledger: Ledger) -> None:
        """The ids of all steps are facts of the run."""
        claimed = start_run(ledger)
        record_id(ledger, claimed, "charge", "ch-1")
        succeed(ledger, claimed, next_name="book")
        following = claim(ledger, key_of(claimed.key.run_id, 1))
        assert (following.external_ids, following.run.external_ids) == ({}, {"charge": "ch-1"})

    @pytest.mark.parametrize("is_other_attempt", [False, True])
    def test_an_attempt_without_its_claim_only_leaves_an_entry(self, ledger: Ledger, is_other_attempt: bool) -> None:
        """R3, R14: the id is not lost, and it is not taken for one of the present attempt either."""
        claimed = start_run(ledger)
        release(ledger, claimed)
        if is_other_attempt:
            claim(ledger, claimed.key, attempt=2)
        before = take_snapshot(ledger)
        assert record_id(ledger, claimed, "charge", "ch-1") is False
        difference = compare(before, take_snapshot(ledger))
        assert (difference.changed, list(difference.added)) == ({}, ["backout_entry"])
        (added,) = difference.added["backout_entry"]
        assert (added["event"], added["detail"]) == ("external_id_recorded", {"name": "charge", "value": "ch-1"})
        assert (added["attempt"], added["reason"]) == (1, "the attempt had lost its claim")

    def test_recording_many_keeps_no_memory(self, ledger: Ledger) -> None:
        """A worker that records ids for months stays as large as it is: its statements are made once."""
        claimed = start_run(ledger)
        record_id(ledger, claimed, "charge", "ch-0")
        before = count_statements()
        for number in range(20):
            record_id(ledger, claimed, "charge", f"ch-{number}")
        assert count_statements() == before


def count_statements() -> int:
    """Count the UPDATE statements that are alive in this process."""
    gc.collect()
    # Not isinstance: it asks an object for its class, and Django's settings then want to be read.
    return sum(issubclass(type(item), Update) for item in gc.get_objects())


class TestHeartbeat:
    def test_it_holds_the_claim_from_now_on(self, ledger: Ledger) -> None:
        """An attempt that beats is not ended by the sweeper."""
        claimed = start_run(ledger)
        set_step(ledger, claimed.key, claim_expires_at=LONG_AGO, sweep_at=LONG_AGO)
        with ledger.change() as connection:
            now = queries.read_clock(connection)
            assert transitions.extend_claim(connection, claimed, lease_seconds=90)
        found = read_step(ledger, claimed.key)
        assert found.claim_expires_at == found.sweep_at
        assert found.claim_expires_at is not None
        assert timedelta(seconds=90) <= found.claim_expires_at - now < timedelta(seconds=95)

    def test_a_lost_claim_is_not_extended(self, ledger: Ledger) -> None:
        """R3: whoever has lost the claim learns it at the next beat and changes nothing."""
        claimed = start_run(ledger)
        release(ledger, claimed)
        claim(ledger, claimed.key, attempt=2)
        before = take_snapshot(ledger)
        with ledger.change() as connection:
            assert transitions.extend_claim(connection, claimed, lease_seconds=90) is False
        assert take_snapshot(ledger) == before


class TestResend:
    @pytest.mark.parametrize(("sends", "factor"), [(0, 1), (1, 2), (2, 4), (3, 8), (5, 32), (6, 64), (7, 64), (99, 64)])
    def test_the_pause_doubles_up_to_a_limit(self, ledger: Ledger, sends: int, factor: int) -> None:
        """R12: a message that nobody takes up is sent again for ever, but never in a storm."""
        key = key_of(create_run(ledger))
        set_step(ledger, key, sends=sends)
        assert resend(ledger, key_of(key.run_id), spread=1.0)
        found = read_step(ledger, key)
        assert found.sends == sends + 1
        assert found.sweep_at is not None
        assert found.dispatched_at is not None
        assert found.sweep_at - found.dispatched_at == timedelta(seconds=60 * factor)

    def test_chance_spreads_the_resends_of_many_rows(self, ledger: Ledger) -> None:
        """Rows that were due together are not due together again."""
        key = key_of(create_run(ledger))
        resend(ledger, key, spread=1.25)
        found = read_step(ledger, key)
        assert found.sweep_at is not None
        assert found.dispatched_at is not None
        assert found.sweep_at - found.dispatched_at == timedelta(seconds=150)

    def test_it_has_a_new_task_id(self, ledger: Ledger) -> None:
        """A message that a person revoked in Flower would be dropped under its old id for ever."""
        run_id = create_run(ledger)
        resend(ledger, key_of(run_id))
        assert read_step(ledger, key_of(run_id)).task_id != TaskId(run_id)

    def test_its_entry_says_who_sent_it_and_why(self, ledger: Ledger) -> None:
        """R11: a resend can be seen."""
        run_id = create_run(ledger)
        resend(ledger, key_of(run_id))
        last = ledger.read(lambda connection: queries.list_entries(connection, run_id))[-1]
        assert (last.event, last.actor, last.reason) == (Event.MESSAGE_RESENT, "sweeper-1", "nobody took it up")

    def test_claiming_begins_the_count_anew(self, ledger: Ledger) -> None:
        """The next attempt's message is not held up by the resends of this one."""
        key = key_of(create_run(ledger))
        resend(ledger, key)
        claim(ledger, key)
        assert read_step(ledger, key).sends == 0

    @pytest.mark.parametrize("state", [StepState.RUNNING, StepState.SUCCEEDED, StepState.PENDING, StepState.IN_DOUBT])
    def test_nothing_is_sent_for_a_row_that_is_not_due(self, ledger: Ledger, state: StepState) -> None:
        """R5: only a row that may be claimed gets a message."""
        with ledger.transaction() as connection:
            key = key_of(put_run(connection, state=RunState.RUNNING))
            put_step(connection, key, state=state)
        before = take_snapshot(ledger)
        assert resend(ledger, key) is False
        assert take_snapshot(ledger) == before


class TestPostponed:
    def test_a_ready_row_is_looked_at_later(self, ledger: Ledger) -> None:
        """A step that waits for another run's key is not sent again at once."""
        key = key_of(create_run(ledger))
        with ledger.change() as connection:
            now = queries.read_clock(connection)
            transitions.postpone_step(connection, key, seconds_from_now=600)
        sweep_at = read_step(ledger, key).sweep_at
        assert sweep_at is not None
        assert timedelta(seconds=600) <= sweep_at - now < timedelta(seconds=605)

    def test_a_claimed_row_keeps_its_time(self, ledger: Ledger) -> None:
        """The expiry of a claim is not put off by somebody who does not hold it."""
        claimed = start_run(ledger)
        before = take_snapshot(ledger)
        with ledger.change() as connection:
            transitions.postpone_step(connection, claimed.key, seconds_from_now=600)
        assert take_snapshot(ledger) == before


class TestOtherEntries:
    def test_a_late_result_is_kept(self, ledger: Ledger) -> None:
        """R3: the answer of an attempt that outlived its claim is not applied and not lost."""
        claimed = start_run(ledger)
        release(ledger, claimed)
        before = take_snapshot(ledger)
        with ledger.change() as connection:
            transitions.record_fact(
                connection, claimed, event=Event.LATE_RESULT, reason="too late", detail={"output": 1}
            )
        difference = compare(before, take_snapshot(ledger))
        assert difference.changed == {}
        (added,) = difference.added["backout_entry"]
        assert (added["event"], added["attempt"], added["detail"]) == ("late_result", 1, {"output": 1})

    def test_a_refused_message_is_kept_with_the_row_it_named(self, ledger: Ledger) -> None:
        """R10: what came is written down beside the run that it was for."""
        run_id = create_run(ledger)
        with ledger.change() as connection:
            transitions.record_refused_message(
                connection, key=key_of(run_id), actor="worker-1", reason="version 9", detail={"v": 9}
            )
        last = ledger.read(lambda connection: queries.list_entries(connection, run_id))[-1]
        assert (last.event, last.reason, last.detail, last.position) == ("message_refused", "version 9", {"v": 9}, 0)

    def test_a_refused_message_that_named_no_run_is_kept(self, ledger: Ledger) -> None:
        """R10: nothing is dropped, not even what nobody can place."""
        with ledger.change() as connection:
            transitions.record_refused_message(
                connection, key=None, actor="worker-1", reason="no ids", detail={"args": "[1]"}
            )
            row = connection.execute(select(entry)).one()
        assert (row.run_id, row.event, row.detail) == (None, "message_refused", {"args": "[1]"})


FACTS: dict[str, Callable[[Connection, Claim], object]] = {
    "free_key": lambda connection, claim: transitions.free_key(connection, claim.key),
    "record_external_id": lambda connection, claimed: transitions.record_external_id(
        connection, claimed, name="charge", value="ch-1"
    ),
    "record_fact": lambda connection, claimed: transitions.record_fact(
        connection, claimed, event=Event.RESULT_REUSED, reason="known"
    ),
    "record_refused_message": lambda connection, claimed: transitions.record_refused_message(
        connection, key=claimed.key, actor="worker-1", reason="odd", detail={}
    ),
    "extend_claim": lambda connection, claimed: transitions.extend_claim(connection, claimed, lease_seconds=60),
    "postpone_step": lambda connection, claimed: transitions.postpone_step(
        connection, claimed.key, seconds_from_now=60
    ),
    "mark_resent": lambda connection, claimed: transitions.mark_resent(
        connection, claimed.key, task_id=new_task_id(), resend_seconds=60, spread=1, actor="sweeper-1", reason="due"
    ),
}


@pytest.mark.parametrize("fact", list(FACTS))
@pytest.mark.parametrize("state", [state for state in StepState if state not in ("waiting", "kept")])
def test_facts_never_change_a_state(ledger: Ledger, fact: str, state: StepState) -> None:
    """Only arrows change states, and there is no arrow besides those in the list."""
    with ledger.transaction() as connection:
        key = key_of(put_run(connection, state=RunState.RUNNING))
        put_step(connection, key, state=state)
    with ledger.change() as connection:
        FACTS[fact](connection, stale(claim_of(key)))
        FACTS[fact](connection, claim_of(key))
    assert read_step(ledger, key).state is state
    assert read_run(ledger, key.run_id).state is RunState.RUNNING


def resend(ledger: Ledger, key: StepKey, *, spread: float = 1.0) -> bool:
    with ledger.transaction() as connection:
        return transitions.mark_resent(
            connection,
            key,
            task_id=new_task_id(),
            resend_seconds=60,
            spread=spread,
            actor="sweeper-1",
            reason="nobody took it up",
        )
