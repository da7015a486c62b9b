"""Purging from Python, and beside what people do to runs by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from backout import Purged, RunState, purge
from backout.compensations.actions import act
from backout.errors import UnknownRun
from backout.ledger.retention import Wanted, remove_runs
from backout.ledger.session import Ledger
from tests.support.ledgers import LATER, create_run
from tests.support.old_runs import count_rows, find_ids, put_entries, put_old_run
from tests.support.recorder import make_engine
from tests.support.scenes import REQUESTS, succeeded
from tests.support.threads import run_together

ALL = Wanted(finished_before=LATER)


class TestFromPython:
    def test_it_removes_what_ended_long_ago(self, ledger: Ledger) -> None:
        """Runs and refused messages, by the ledger's clock; what it returns says how many."""
        put_old_run(ledger, 1)
        young = create_run(ledger)
        with ledger.transaction() as connection:
            put_entries(connection, None)
        purged = purge(older_than=timedelta(days=90), engine=make_engine(ledger))
        assert purged == replace(purged, runs=1, steps=1, entries=2, reviews=1, stray_entries=2)
        assert find_ids(ledger) == [young]
        assert purge(older_than=timedelta(days=90), engine=make_engine(ledger)) == Purged()

    @pytest.mark.parametrize("narrow", [{"states": [RunState.FAILED]}, {"pipeline": "refund"}, {"limit": 1}])
    def test_narrowed_it_leaves_the_rest(self, ledger: Ledger, narrow: dict[str, Any]) -> None:
        """Whatever it is narrowed by, refused messages stay."""
        for number in range(2):
            put_old_run(ledger, number)
        with ledger.transaction() as connection:
            put_entries(connection, None)
        purged = purge(older_than=timedelta(days=90), engine=make_engine(ledger), **narrow)
        assert (purged.runs, purged.stray_entries) == (1 if "limit" in narrow else 0, 0)

    @pytest.mark.parametrize(
        "wrong",
        [{"batch": 0}, {"batch": 10_001}, {"limit": -1}, {"pause_seconds": -1.0}, {"states": [RunState.PAUSED]}],
    )
    def test_a_mistake_removes_nothing(self, ledger: Ledger, wrong: dict[str, Any]) -> None:
        """It is refused before anything is looked for."""
        put_old_run(ledger, 1)
        with pytest.raises(ValueError, match=r"batch must be|only final runs"):
            purge(older_than=timedelta(days=90), engine=make_engine(ledger), **wrong)
        assert len(find_ids(ledger)) == 1

    def test_an_age_below_nothing_is_refused(self, ledger: Ledger) -> None:
        """A sign that was mistyped must not remove what has just ended."""
        with pytest.raises(ValueError, match="no time negative"):
            purge(older_than=timedelta(days=-1), engine=make_engine(ledger))


class TestBesidePeople:
    def test_a_run_that_a_person_takes_back_goes_or_is_rolled_back(self, ledger: Ledger) -> None:
        """R13: of a purge and a late rollback one wins; the person is told that the run is gone, or it is all there."""
        for _ in range(5):
            run = succeeded(ledger)
            engine = make_engine(ledger)

            def roll_back() -> bool:
                try:
                    act(run.id, REQUESTS["rollback"], engine=engine, actor="ben", reason="late")  # noqa: B023 - now
                except UnknownRun:
                    return False
                return True

            purged, is_rolling_back = run_together(
                [lambda: sum(remove_runs(ledger, ALL), Purged()).runs == 1, roll_back]
            )
            assert purged is not is_rolling_back
            assert (run.id in find_ids(ledger)) is is_rolling_back
            if is_rolling_back:
                assert count_rows(ledger)["step"] > 5

    def test_a_run_that_is_gone_is_an_unknown_run(self, ledger: Ledger) -> None:
        """Whoever has kept its id is told so, whatever they ask for."""
        run = succeeded(ledger)
        assert sum(remove_runs(ledger, ALL), Purged()).runs == 1
        for request in REQUESTS.values():
            with pytest.raises(UnknownRun):
                act(run.id, request, engine=make_engine(ledger), actor="ben", reason="late")
        assert count_rows(ledger) == {"run": 0, "step": 0, "entry": 0, "review": 0}
