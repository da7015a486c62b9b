"""What people, workers and integrations read: finding and listing runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from backout.identifiers import RunId
from backout.ledger import due, queries, undoing
from backout.ledger.session import Ledger
from backout.states import RunState
from tests.support.ledgers import (
    create_run,
    key_of,
    put_run,
    read_run,
    start_run,
)
from tests.support.snapshots import take_snapshot

UNKNOWN = RunId("01900000-0000-7000-8000-000000000000")


class TestFindRun:
    def test_an_unknown_run_is_none(self, ledger: Ledger) -> None:
        """Asking for a run that is not there is no error."""
        assert ledger.read(lambda connection: queries.find_run(connection, UNKNOWN)) is None

    def test_an_unknown_step_is_none(self, ledger: Ledger) -> None:
        """Asking for a row that is not there is no error."""
        assert ledger.read(lambda connection: queries.find_step(connection, key_of(UNKNOWN))) is None

    @pytest.mark.parametrize("query", [queries.load_plan, queries.load_input])
    def test_an_unknown_run_has_neither_plan_nor_input(
        self, ledger: Ledger, query: Callable[[Connection, RunId], object]
    ) -> None:
        """Asking for what belongs to a run that is not there is no error."""
        assert ledger.read(lambda connection: query(connection, UNKNOWN)) is None

    def test_its_input_is_read_back_as_it_was(self, ledger: Ledger) -> None:
        """JSON survives with its types, its order of keys and its characters."""
        value = {"b": [1, 2.5, True, None, "ü€😀"], "a": {"": {}}}
        run_id = create_run(ledger, input=value)
        stored = ledger.read(lambda connection: queries.load_input(connection, run_id))
        assert stored == value
        assert isinstance(stored, dict)
        assert list(stored) == ["b", "a"]


class TestFindRunIds:
    @pytest.fixture
    def run_ids(self, ledger: Ledger) -> list[RunId]:
        """Three runs, the first two of which begin alike."""
        made = [
            RunId("01900000-aaaa-7000-8000-000000000001"),
            RunId("01900000-aaaa-7000-8000-000000000002"),
            RunId("01900000-bbbb-7000-8000-000000000003"),
        ]
        return [create_run(ledger, id=run_id) for run_id in reversed(made)][::-1]

    @pytest.mark.parametrize(
        ("prefix", "found"),
        [
            ("01900000-aaaa-7000-8000-000000000001", [0]),
            ("01900000-b", [2]),
            ("01900000-B", [2]),
            ("01900000-a", [0, 1]),
            ("0190", [0, 1]),
            ("ffff", []),
            ("01900000AAAA7000", [0, 1]),
            ("", []),
            ("01900000_", []),
            ("01900000-aaaa-7000-8000-0000000000011", []),
            ("%", []),
            ("a'b", []),
        ],
    )
    def test_a_prefix_finds_the_runs_that_begin_with_it(
        self, ledger: Ledger, run_ids: list[RunId], prefix: str, found: list[int]
    ) -> None:
        """Oldest first, two at most: enough to know that a prefix is not unique. Wildcards are plain characters."""
        answer = ledger.read(lambda connection: queries.find_run_ids(connection, prefix))
        assert answer == [run_ids[number] for number in found]

    def test_more_can_be_asked_for(self, ledger: Ledger, run_ids: list[RunId]) -> None:
        """The limit is the caller's."""
        assert ledger.read(lambda connection: queries.find_run_ids(connection, "0190", limit=3)) == run_ids


class TestFindRunOfEvent:
    def test_it_finds_the_run_of_this_pipeline(self, ledger: Ledger) -> None:
        """R9: the second caller gets the first one's run, and not that of another pipeline."""
        create_run(ledger, pipeline="newsletter", source_event_id="form-1")
        run_id = create_run(ledger, source_event_id="form-1")
        found = ledger.read(lambda connection: queries.find_run_of_event(connection, "fulfil_order", "form-1"))
        assert found == run_id

    def test_there_may_be_none(self, ledger: Ledger) -> None:
        """Asking for an event that made no run is no error."""
        assert ledger.read(lambda connection: queries.find_run_of_event(connection, "fulfil_order", "form-1")) is None


class TestListRuns:
    @pytest.fixture
    def run_ids(self, ledger: Ledger) -> list[RunId]:
        """Five runs, newest first; the odd ones are of another pipeline, the last is in review."""
        states = [RunState.RUNNING, RunState.SUCCEEDED, RunState.RUNNING, RunState.FAILED, RunState.IN_REVIEW]
        with ledger.transaction() as connection:
            made = [
                put_run(
                    connection,
                    id=RunId(f"01900000-0000-7000-8000-00000000000{number}"),
                    state=state,
                    pipeline="newsletter" if number % 2 else "fulfil_order",
                    source_event_id=f"form-{number}",
                    subject_id=f"customer-{number % 3}",
                    external_ids={"charge": f'ch "{number}" ü', "parcel": "p-1" if number else "form-3"},
                )
                for number, state in enumerate(states)
            ]
        return made[::-1]

    @pytest.mark.parametrize(
        ("filters", "found"),
        [
            ({}, [0, 1, 2, 3, 4]),
            ({"pipeline": "newsletter"}, [1, 3]),
            ({"pipeline": "nothing"}, []),
            ({"states": [RunState.RUNNING]}, [2, 4]),
            ({"states": [RunState.RUNNING, RunState.FAILED]}, [1, 2, 4]),
            ({"text": "form-3"}, [1, 4]),
            ({"text": "customer-1"}, [0, 3]),
            ({"text": "01900000-0000-7000-8000-000000000002"}, [2]),
            ({"text": 'ch "2" ü'}, [2]),
            ({"text": "p-1"}, [0, 1, 2, 3]),
            ({"text": "p-1", "limit": 2}, [0, 1]),
            ({"text": "p-1", "before": "01900000-0000-7000-8000-000000000002"}, [3]),
            ({"text": "p-1", "pipeline": "newsletter", "states": [RunState.FAILED]}, [1]),
            ({"text": "P-1"}, []),
            ({"text": "charge"}, []),
            ({"text": "form"}, []),
            ({"text": "no uuid; '"}, []),
            ({"needs_person": True}, [0]),
            ({"limit": 2}, [0, 1]),
            ({"pipeline": "fulfil_order", "states": [RunState.RUNNING], "text": "customer-2"}, [2]),
        ],
    )
    def test_filters_are_all_met(
        self, ledger: Ledger, run_ids: list[RunId], filters: dict[str, Any], found: list[int]
    ) -> None:
        """Newest first, and only what every filter lets through."""
        answer = ledger.read(lambda connection: queries.list_runs(connection, **filters))
        assert [record.id for record in answer] == [run_ids[number] for number in found]

    def test_what_has_changed_since_an_instant_is_found(self, ledger: Ledger, run_ids: list[RunId]) -> None:
        """The instant itself is included."""
        runs = ledger.read(queries.list_runs)
        newest = max(record.updated_at for record in runs)

        def since(instant: datetime) -> list[RunId]:
            found = ledger.read(lambda connection: queries.list_runs(connection, changed_since=instant))
            return [record.id for record in found]

        assert since(min(record.updated_at for record in runs)) == run_ids
        assert since(newest) == [record.id for record in runs if record.updated_at == newest]
        assert since(newest + timedelta(microseconds=1)) == []

    def test_what_was_enqueued_since_an_instant_is_found(self, ledger: Ledger, run_ids: list[RunId]) -> None:
        """By the time in the id; the instant itself is included."""
        enqueued_at = datetime.fromtimestamp(0x019000000000 / 1000, UTC)

        def since(instant: datetime) -> list[RunId]:
            found = ledger.read(lambda connection: queries.list_runs(connection, enqueued_since=instant))
            return [record.id for record in found]

        assert since(enqueued_at) == run_ids
        assert since(enqueued_at + timedelta(milliseconds=1)) == []

    def test_pages_follow_each_other_without_gap_or_repetition(self, ledger: Ledger, run_ids: list[RunId]) -> None:
        """The last id of one page leads to the next, also when newer runs have come meanwhile."""
        seen: list[RunId] = []
        while page := list_page(ledger, before=seen[-1] if seen else None):
            seen += page
            create_run(ledger)
        assert seen == run_ids

    def test_they_are_counted_by_state(self, ledger: Ledger, run_ids: list[RunId]) -> None:
        """Only states that have a run are named."""
        assert ledger.read(queries.count_by_state) == {
            RunState.RUNNING: 2,
            RunState.SUCCEEDED: 1,
            RunState.FAILED: 1,
            RunState.IN_REVIEW: 1,
        }

    def test_they_are_counted_up_to_a_bound(self, ledger: Ledger, run_ids: list[RunId]) -> None:
        """One more than the bound says that there are more."""
        counts = ledger.read(lambda connection: queries.count_by_state(connection, "fulfil_order", at_most=1))
        assert counts == {RunState.RUNNING: 2, RunState.IN_REVIEW: 1}

    def test_they_are_counted_for_one_pipeline(self, ledger: Ledger, run_ids: list[RunId]) -> None:
        """The same, of one pipeline."""
        counts = ledger.read(lambda connection: queries.count_by_state(connection, "newsletter"))
        assert counts == {RunState.SUCCEEDED: 1, RunState.FAILED: 1}


def list_page(ledger: Ledger, *, before: RunId | None) -> list[RunId]:
    records = ledger.read(lambda connection: queries.list_runs(connection, before=before, limit=2))
    return [record.id for record in records]


class TestClock:
    def test_it_is_the_databases_and_aware(self, ledger: Ledger) -> None:
        """Time comes from the database and has a time zone."""
        before = ledger.read(queries.read_clock)
        run_id = create_run(ledger)
        after = ledger.read(queries.read_clock)
        assert str(before.tzinfo) == "UTC"
        assert before <= read_run(ledger, run_id).created_at <= after


def test_reading_changes_nothing(ledger: Ledger) -> None:
    """No query writes, whatever it is asked."""
    claimed = start_run(ledger, source_event_id="form-1")
    run_id, key = claimed.key.run_id, claimed.key
    before = take_snapshot(ledger)
    with ledger.transaction() as connection:
        queries.find_run(connection, run_id)
        queries.find_run_ids(connection, run_id)
        queries.find_run_of_event(connection, "fulfil_order", "form-1")
        queries.list_runs(connection)
        queries.list_steps(connection, run_id)
        queries.find_step(connection, key)
        queries.find_output(connection, run_id, "reserve")
        queries.find_key_holder(connection, "x")
        queries.list_entries(connection, run_id)
        queries.list_reviews(connection)
        queries.load_plan(connection, run_id)
        queries.load_input(connection, run_id)
        undoing.find_background(connection, key)
        queries.count_by_state(connection)
        queries.read_clock(connection)
        due.take_due_steps(connection, limit=5)
        queries.find_claim(connection, key)
        undoing.next_undos(connection, run_id)
    assert take_snapshot(ledger) == before


@pytest.mark.parametrize("run_id", ["nonsense", "", "01900000", "'; DROP TABLE backout_run; --"])
def test_an_id_that_is_no_id_is_an_unknown_run(ledger: Ledger, run_id: str) -> None:
    """A person can type anything; on every database the answer is that there is no such run."""
    create_run(ledger)
    assert ledger.read(lambda connection: queries.find_run(connection, RunId(run_id))) is None
