"""Purging: which runs go, which stay, and that a run goes with all its rows or with none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError

from backout.identifiers import RunId
from backout.ledger import queries, strays, transitions
from backout.ledger.models import run
from backout.ledger.retention import REMOVABLE, Kept, Purged, Wanted, foresee_runs, remove_runs
from backout.ledger.session import Ledger
from backout.ledger.taking import take_run
from backout.states import RunState, StepState
from tests.support.ledgers import LATER, LONG_AGO, create_run, describe_run, on_postgresql, on_servers, set_run
from tests.support.old_runs import A_DAY, OPEN, count_rows, find_ids, put_entries, put_old_run
from tests.support.threads import TIMEOUT_SECONDS, Beside, run_together

CUTOFF = LONG_AGO + 30 * A_DAY
OLD = Wanted(finished_before=CUTOFF)
NO_ROWS = {"run": 0, "step": 0, "entry": 0, "review": 0}


def sum_up(batches: Iterable[Purged]) -> Purged:
    return sum(batches, Purged())


def purge(ledger: Ledger, wanted: Wanted = OLD, **options: Any) -> Purged:
    return sum_up(remove_runs(ledger, wanted, **options))


class TestWhichRunsGo:
    def test_a_run_goes_with_all_its_rows(self, ledger: Ledger) -> None:
        """Nothing of it stays, and what went is counted."""
        for number in range(3):
            put_old_run(ledger, number, source_event_id=f"form-{number}" if number else None)
        purged = purge(ledger)
        assert count_rows(ledger) == NO_ROWS
        assert (purged.runs, purged.states) == (3, {RunState.SUCCEEDED: 3})
        assert (purged.steps, purged.entries, purged.reviews) == (3, 6, 3)
        assert (purged.source_events, purged.keys, purged.kept) == (2, 0, {})

    def test_the_others_keep_all_their_rows(self, ledger: Ledger) -> None:
        """What finished later is not touched."""
        put_old_run(ledger, 1)
        young = put_old_run(ledger, 2, at=CUTOFF)
        assert purge(ledger).runs == 1
        assert find_ids(ledger) == [young]
        assert count_rows(ledger) == {"run": 1, "step": 1, "entry": 2, "review": 1}

    def test_age_counts_from_the_end_of_a_run(self, ledger: Ledger) -> None:
        """One that was enqueued long ago and finished lately stays."""
        late = put_old_run(ledger, 1, finished_at=CUTOFF)
        assert purge(ledger).runs == 0
        assert find_ids(ledger) == [late]

    @pytest.mark.parametrize("state", [state for state in RunState if state is not RunState.WAITING])
    def test_only_final_runs_go(self, ledger: Ledger, state: RunState) -> None:
        """A run that can still move on by itself or by the next person is never removed."""
        put_old_run(ledger, 1, state=state, finished_at=LONG_AGO if state in REMOVABLE else None)
        assert purge(ledger).runs == (state in REMOVABLE)
        assert bool(find_ids(ledger)) == (state not in REMOVABLE)

    def test_state_that_is_not_final_cannot_be_asked_for(self) -> None:
        """A mistake is refused before anything is looked for."""
        with pytest.raises(ValueError, match="in_review"):
            Wanted(finished_before=CUTOFF, states=(RunState.IN_REVIEW,))

    def test_states_and_pipeline_narrow(self, ledger: Ledger) -> None:
        """Only what fits all that was asked for."""
        ids = {
            (pipeline, state): put_old_run(ledger, number, pipeline=pipeline, state=state)
            for number, (pipeline, state) in enumerate(
                (pipeline, state)
                for pipeline in ("fulfil_order", "refund")
                for state in (RunState.SUCCEEDED, RunState.FAILED)
            )
        }
        wanted = Wanted(finished_before=CUTOFF, states=(RunState.SUCCEEDED,), pipeline="refund")
        assert purge(ledger, wanted).runs == 1
        assert set(find_ids(ledger)) == set(ids.values()) - {ids["refund", RunState.SUCCEEDED]}

    @pytest.mark.parametrize(
        ("kept", "values"),
        [
            (Kept.OPEN_REVIEW, {"review": OPEN}),
            (Kept.OPEN_REVIEW, {"requires_human_review": True}),
            (Kept.MAY_RUN, {"step": {"state": StepState.RUNNING}}),
            (Kept.MAY_RUN, {"step": {"state": StepState.READY}}),
            (Kept.MAY_RUN, {"step": {"state": StepState.FAILED, "may_run_until": LATER}}),
            (Kept.HOLDS_KEY, {"step": {"exclusive_key": "order-1"}}),
        ],
    )
    def test_a_run_that_is_still_needed_stays(self, ledger: Ledger, kept: Kept, values: dict[str, Any]) -> None:
        """However old it is; the reason is told, also beforehand."""
        put_old_run(ledger, 1, **values)
        put_old_run(ledger, 2)
        before = count_rows(ledger)
        assert sum_up(foresee_runs(ledger, OLD)).kept == {kept: 1}
        assert purge(ledger).kept == {kept: 1}
        assert count_rows(ledger) == {name: count // 2 for name, count in before.items()}

    def test_a_key_is_forgotten_only_if_that_is_asked_for(self, ledger: Ledger) -> None:
        """Afterwards nobody knows that the step has happened: another run may hold the key."""
        put_old_run(ledger, 1, step={"exclusive_key": "order-1"})
        assert purge(ledger, Wanted(finished_before=CUTOFF, forget_keys=True)).keys == 1
        assert ledger.read(lambda connection: queries.find_key_holder(connection, "order-1")) is None

    def test_a_source_event_starts_a_new_run_afterwards(self, ledger: Ledger) -> None:
        """R9 holds as long as the ledger has the run: with it goes the knowledge that the event was seen."""
        put_old_run(ledger, 1, source_event_id="form-1")
        again = describe_run(source_event_id="form-1")
        with ledger.transaction() as connection:
            assert not transitions.create_run(connection, again, resend_seconds=60)
        purge(ledger)
        with ledger.transaction() as connection:
            assert transitions.create_run(connection, again, resend_seconds=60)


class TestBatches:
    def test_each_is_bounded(self, ledger: Ledger) -> None:
        """One transaction never removes more runs than it was allowed to."""
        for number in range(7):
            put_old_run(ledger, number)
        assert [batch.runs for batch in remove_runs(ledger, OLD, batch=3)] == [3, 3, 1]

    def test_each_is_committed_when_it_is_told(self, ledger: Ledger) -> None:
        """Whoever stops in between has removed what was told, and nothing else."""
        ids = [put_old_run(ledger, number) for number in range(5)]
        next(remove_runs(ledger, OLD, batch=2))
        assert find_ids(ledger) == ids[2:]

    def test_runs_that_stay_do_not_stop_it(self, ledger: Ledger) -> None:
        """Also where a whole batch stays."""
        for number in range(6):
            put_old_run(ledger, number, review=OPEN if number < 4 else {})
        assert [batch.runs for batch in remove_runs(ledger, OLD, batch=2)] == [0, 0, 2]

    @pytest.mark.parametrize("limit", [1, 3, 4, 100])
    def test_no_more_than_the_limit_go(self, ledger: Ledger, limit: int) -> None:
        """A job that runs each night can be kept short; the oldest go first."""
        ids = [put_old_run(ledger, number) for number in range(5)]
        assert sum_up(foresee_runs(ledger, OLD, batch=2, limit=limit)).runs == min(limit, 5)
        assert purge(ledger, batch=2, limit=limit).runs == min(limit, 5)
        assert find_ids(ledger) == ids[limit:]

    @pytest.mark.parametrize("batch", [2, 100])
    def test_runs_that_stay_do_not_count_against_the_limit(self, ledger: Ledger, batch: int) -> None:
        """The oldest stay: those behind them go, and are not passed over."""
        ids = [put_old_run(ledger, number, review=OPEN if number < 3 else {}) for number in range(6)]
        assert sum_up(foresee_runs(ledger, OLD, batch=batch, limit=2)).runs == 2
        assert purge(ledger, batch=batch, limit=2).runs == 2
        assert find_ids(ledger) == [*ids[:3], ids[5]]

    def test_foreseeing_tells_the_same_and_removes_nothing(self, ledger: Ledger) -> None:
        """What a person agrees to is what is done."""
        for number in range(5):
            put_old_run(ledger, number, source_event_id=f"form-{number}")
        put_old_run(ledger, 9, state=RunState.CANCELLED, step={"exclusive_key": "order-1"})
        before = count_rows(ledger)
        foreseen = sum_up(foresee_runs(ledger, OLD, batch=2))
        assert count_rows(ledger) == before
        assert purge(ledger, batch=2) == foreseen

    def test_a_batch_that_fails_removes_nothing(self, ledger: Ledger) -> None:
        """A run goes with all its rows or with none: what is to be done first keeps it by failing."""
        put_old_run(ledger, 1)
        before = count_rows(ledger)

        def refuse(_connection: Connection, _ids: object) -> None:
            raise OSError("no space left on device")

        with pytest.raises(OSError, match="no space"):
            purge(ledger, before_removal=refuse)
        assert count_rows(ledger) == before

    @on_postgresql
    def test_a_database_that_refuses_in_the_middle_leaves_all_rows(self, ledger: Ledger) -> None:
        """The rows of the other tables come back with the transaction."""
        put_old_run(ledger, 1)
        before = count_rows(ledger)
        with ledger.transaction() as connection:
            connection.execute(text("CREATE RULE keep AS ON DELETE TO backout_run DO INSTEAD SELECT 1/0"))
        try:
            with pytest.raises(DBAPIError, match="division by zero"):
                purge(ledger)
        finally:
            with ledger.transaction() as connection:
                connection.execute(text("DROP RULE keep ON backout_run"))
        assert count_rows(ledger) == before


class TestRaces:
    @on_servers
    def test_a_person_who_holds_the_run_is_not_waited_for(self, ledger: Ledger) -> None:
        """It stays, and the person's change of state is what the next purge sees. SQLite has one writer."""
        held, other = put_old_run(ledger, 1), put_old_run(ledger, 2)
        with ledger.transaction() as connection:
            assert take_run(connection, held)
            purged = purge(ledger)
            reopen(connection, held)
        assert (purged.runs, purged.kept) == (1, {Kept.BUSY: 1})
        assert find_ids(ledger) == [held]
        assert other not in find_ids(ledger)
        assert purge(ledger).runs == 0

    def test_a_person_who_comes_while_it_goes_finds_no_run(self, ledger: Ledger) -> None:
        """Who comes second waits for the commit, and is told that there is no such run."""
        run_id = put_old_run(ledger, 1)
        with Beside() as beside:
            person: list[Any] = []

            def let_person_come(_connection: Connection, ids: object) -> None:
                assert ids == [run_id]
                person.append(beside.start(lambda: try_to_reopen(ledger, run_id)))

            assert purge(ledger, before_removal=let_person_come).runs == 1
            assert person[0].result(TIMEOUT_SECONDS) is False
        assert count_rows(ledger) == NO_ROWS

    def test_of_a_purge_and_a_person_one_wins(self, ledger: Ledger) -> None:
        """At the same instant: either the run is open again with all its rows, or nothing of it is left."""
        for number in range(10):
            run_id = put_old_run(ledger, number)
            purged, is_open = run_together([lambda: purge(ledger).runs == 1, lambda: try_to_reopen(ledger, run_id)])  # noqa: B023 - now
            assert purged is not is_open
            expected = {"run": 1, "step": 1, "entry": 2, "review": 1} if is_open else NO_ROWS
            assert count_rows(ledger) == expected
            if is_open:
                set_run(ledger, run_id, state=RunState.CANCELLED.value, finished_at=LONG_AGO)
                purge(ledger)

    def test_two_purges_at_once_remove_each_run_once(self, ledger: Ledger) -> None:
        """A cron job that still runs when the next one starts does no harm."""
        for number in range(20):
            put_old_run(ledger, number)
        first, second = run_together([lambda: purge(ledger, batch=3)] * 2)
        purge(ledger)
        assert first.runs + second.runs <= 20
        assert count_rows(ledger) == NO_ROWS


def try_to_reopen(ledger: Ledger, run_id: RunId) -> bool:
    """Do what an action by hand does: lock, look, write."""

    def work() -> bool:
        with ledger.transaction() as connection:
            if not take_run(connection, run_id):
                return False
            reopen(connection, run_id)
            return True

    return ledger.repeat(work)


def reopen(connection: Connection, run_id: RunId) -> None:
    found = connection.execute(select(run.c.state).where(run.c.id == run_id)).scalar_one()
    assert found == RunState.SUCCEEDED.value
    changed = run.update().where(run.c.id == run_id)
    connection.execute(changed.values(state=RunState.PAUSED.value, finished_at=None))


class TestStrays:
    def test_refused_messages_go_by_age(self, ledger: Ledger) -> None:
        """Those that named no run, however many; younger ones stay."""
        with ledger.transaction() as connection:
            for _ in range(3):
                put_entries(connection, None)
            put_entries(connection, None, at=CUTOFF)
        assert tell_strays(ledger, strays.foresee_strays) == 6
        assert tell_strays(ledger, strays.remove_strays) == 6
        assert count_rows(ledger)["entry"] == 2

    def test_what_was_told_of_a_run_that_is_gone_goes_too(self, ledger: Ledger) -> None:
        """A late answer, a message that came twice: kept for as long as everything else."""
        runs = [put_old_run(ledger, number) for number in range(5)]
        purge(ledger, limit=3)
        with ledger.transaction() as connection:
            for run_id in runs:
                put_entries(connection, run_id)
                put_entries(connection, run_id, at=CUTOFF)
        assert tell_strays(ledger, strays.foresee_strays) == 6
        assert tell_strays(ledger, strays.remove_strays) == 6
        assert count_rows(ledger)["entry"] == 2 * 2 + 5 * 2 + 2 * 2

    def test_entries_of_runs_are_no_strays(self, ledger: Ledger) -> None:
        """Neither of a run that stays nor of one that was just enqueued."""
        put_old_run(ledger, 1, review=OPEN)
        create_run(ledger)
        before = count_rows(ledger)
        assert tell_strays(ledger, strays.remove_strays) == 0
        assert count_rows(ledger) == before


def tell_strays(ledger: Ledger, look: Callable[..., Iterable[Purged]]) -> int:
    return sum_up(look(ledger, before=CUTOFF, batch=2)).stray_entries


def test_numbers_of_two_batches_add_up() -> None:
    """Also of states and reasons that only one of them has."""
    one = Purged(runs=1, states={RunState.FAILED: 1}, kept={Kept.BUSY: 2}, entries=4)
    other = Purged(runs=2, states={RunState.SUCCEEDED: 2}, stray_entries=1)
    both = Purged(
        runs=3,
        states={RunState.FAILED: 1, RunState.SUCCEEDED: 2},
        kept={Kept.BUSY: 2},
        entries=4,
        stray_entries=1,
    )
    assert one + other == both


def test_it_is_gentle_if_asked(ledger: Ledger) -> None:
    """A pause between batches changes nothing else."""
    for number in range(3):
        put_old_run(ledger, number)
    assert purge(ledger, batch=1, pause_seconds=timedelta(milliseconds=1).total_seconds()).runs == 3
