"""The numbers that monitoring asks for."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backout.ledger import figures, queries
from backout.ledger.figures import Figures
from backout.ledger.session import Ledger
from backout.states import RunState, StepState
from tests.support.ledgers import claim, create_run, key_of, put_run, put_step, retry_later, set_run, set_step
from tests.support.scenes import doubted, parked, rolled_back, succeeded, undo_failed


def look(ledger: Ledger) -> Figures:
    return ledger.read(lambda connection: figures.read_figures(connection, overdue_seconds=15.0))


def test_of_an_empty_ledger_there_is_nothing_to_tell(ledger: Ledger) -> None:
    """No pair of pipeline and state, no age."""
    found = look(ledger)
    assert found == Figures(now=found.now, runs={}, reviews={}, overdue_steps=0, lag_seconds=0.0, silent_runs=0)
    assert ledger.read(figures.count_final_runs) == {}


def test_what_is_open_is_told_for_each_pipeline(ledger: Ledger) -> None:
    """Runs by state, final ones apart; reviews with the age of the oldest; a silent run."""
    for scene in (parked, doubted, undo_failed, succeeded, rolled_back, rolled_back):
        scene(ledger)
    with ledger.transaction() as connection:
        silent = put_run(connection, state=RunState.RUNNING, pipeline="newsletter")
        put_step(connection, key_of(silent), state=StepState.SUCCEEDED)
    found = look(ledger)
    assert found.runs == {
        ("fulfil_order", RunState.PARKED): 1,
        ("fulfil_order", RunState.IN_REVIEW): 2,
        ("newsletter", RunState.RUNNING): 1,
    }
    assert {name: (one.reviews, one.late) for name, one in found.reviews.items()} == {"fulfil_order": (2, 0)}
    assert found.reviews["fulfil_order"].oldest_at <= found.now
    assert found.silent_runs == 1
    final = {("fulfil_order", RunState.SUCCEEDED): 1, ("fulfil_order", RunState.ROLLED_BACK): 2}
    assert ledger.read(figures.count_final_runs) == final


@pytest.mark.parametrize(
    ("lacking", "lag", "overdue"),
    [
        ("a worker", 600, 0),
        ("a worker, and it was sent again", 900, 0),
        ("a worker for its retry", 120, 0),
        ("a sweeper", 300, 1),
        ("nothing: its attempt runs", 0, 0),
        ("nothing: a person has stopped the run", 0, 0),
    ],
)
def test_lag_is_how_long_what_is_due_has_waited(ledger: Ledger, lacking: str, lag: int, overdue: int) -> None:
    """For a worker since it was asked for, whatever was sent again since then; for a sweeper since its time."""
    now = ledger.read(queries.read_clock)
    run_id = create_run(ledger)
    key = key_of(run_id)
    match lacking:
        case "a worker":
            set_step(ledger, key, sends=1, dispatched_at=now - timedelta(seconds=600))
        case "a worker, and it was sent again":
            set_step(ledger, key, sends=4, dispatched_at=now - timedelta(seconds=60))
            set_run(ledger, run_id, updated_at=now - timedelta(seconds=900))
        case "a worker for its retry":
            assert retry_later(ledger, claim(ledger, key), delay_seconds=0)
            set_step(ledger, key, next_retry_at=now - timedelta(seconds=120))
        case "a sweeper":
            claim(ledger, key)
            set_step(ledger, key, sweep_at=now - timedelta(seconds=300))
        case "nothing: its attempt runs":
            claim(ledger, key)
            set_step(ledger, key, dispatched_at=now - timedelta(seconds=600))
        case _:
            set_step(ledger, key, sends=1, dispatched_at=now - timedelta(seconds=600))
            set_run(ledger, run_id, state=RunState.PAUSED.value)
    found = look(ledger)
    assert found.lag_seconds == pytest.approx(lag, abs=30)
    assert found.overdue_steps == overdue
