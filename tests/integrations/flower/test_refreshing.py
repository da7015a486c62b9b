"""What is kept for `/metrics`, without a Flower around it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from backout.integrations.flower.refreshing import Refresher, Snapshot
from backout.ledger import schema
from backout.ledger.session import Ledger
from tests.support.scenes import reserved, rolled_back, succeeded, undo_failed


def make(ledger: Ledger) -> Refresher:
    return Refresher(lambda: ledger, every_seconds=1.0, overdue_seconds=15.0)


def totals(snapshot: Snapshot) -> dict[tuple[str, ...], float]:
    """Return what is more than 0: name and labels, without the pipeline, to value."""
    samples = (*snapshot.gauges, *snapshot.counters)
    return {(one.metric.name.removeprefix("backout_"), *one.labels[1:]): one.value for one in samples if one.value}


def test_what_happened_since_the_start_is_counted_once(ledger: Ledger) -> None:
    """What was there before is in the gauges only; a second look adds nothing to the counters."""
    succeeded(ledger)
    refresher = make(ledger)
    refresher.refresh()
    assert not [sample for sample in refresher.snapshot.counters if sample.value]
    undo_failed(ledger)
    rolled_back(ledger)
    refresher.refresh()
    found = totals(refresher.snapshot)
    refresher.refresh()
    assert totals(refresher.snapshot) == {**found, ("review_oldest_seconds",): pytest.approx(0, abs=600)}
    del found["review_oldest_seconds",]
    succeeded_steps: dict[tuple[str, ...], int] = {
        **dict.fromkeys([("check_address", "forward"), ("reserve_stock", "forward"), ("charge_card", "forward")], 2),
        **{(step, "compensation"): 1 for step in ("book_courier", "charge_card", "reserve_stock")},
    }
    expected: dict[tuple[str, ...], float] = {
        ("runs", "succeeded"): 1,
        ("runs", "rolled_back"): 1,
        ("runs", "in_review"): 1,
        ("reviews_open",): 1,
        ("runs_created_total",): 2,
        ("runs_finished_total", "rolled_back"): 1,
        ("rollbacks_total",): 2,
        ("reviews_opened_total", "compensation_failed"): 1,
        ("compensation_failures_total", "book_courier"): 1,
        **{("steps_total", *step, "succeeded"): number for step, number in succeeded_steps.items()},
        ("steps_total", "book_courier", "forward", "failed"): 2,
        ("steps_total", "book_courier", "compensation", "failed"): 1,
        ("retries_total", "book_courier", "forward"): 2,
    }
    assert found == expected
    durations = {one.labels[1:]: sum(one.counts) for one in refresher.snapshot.durations}
    assert durations["charge_card", "forward"] == 2
    assert durations["charge_card", "compensation"] == 1


def test_a_ledger_that_is_away_is_told_and_found_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, however often it is tried; when it is back, counting begins."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'later' / 'ledger.sqlite3'}")
    refresher = make(ledger)
    assert refresher.snapshot.is_up is None
    with caplog.at_level(logging.INFO, logger="flower.backout"):
        refresher.refresh()
        refresher.refresh()
        assert refresher.snapshot.is_up is False
        (tmp_path / "later").mkdir()
        schema.upgrade(ledger)
        refresher.refresh()
    assert refresher.snapshot.is_up is True
    assert [record.levelname for record in caplog.records if record.name == "flower.backout"] == ["WARNING", "INFO"]
    reserved(ledger)
    refresher.refresh()
    assert totals(refresher.snapshot)["runs_created_total",] == 1
    ledger.dispose()
