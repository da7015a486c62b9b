"""Runs on `/metrics` of a real Flower."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

from backout.ledger.session import Ledger
from backout.testing.servers.rabbitmq import free_port
from backout.views.metrics import METRICS, Kind
from tests.integrations.flower.starting import LOGIN, Start
from tests.support.flowers import Flower
from tests.support.scenes import SCENES, rolled_back
from tests.support.waiting import wait_until

OFTEN = "--backout_metrics_seconds=1"


def ask(target: Flower) -> dict[tuple[str, ...], float]:
    """Return all that is told of runs: name and labels, in the order of the names of the labels, to value."""
    answer = target.client().get("/metrics")
    assert answer.status == 200, answer.text
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name.startswith("backout_")
    }


def wait_for(target: Flower, *sample: str, value: float) -> dict[tuple[str, ...], float]:
    """Wait until a sample has this value; return all that is told then."""

    def look() -> dict[tuple[str, ...], float] | None:
        told = ask(target)
        return told if told.get(sample) == value else None

    return wait_until(look, 10, f"{sample} is {value}")


def test_runs_are_told_on_metrics_and_nothing_private_is(start: Start, ledger: Ledger) -> None:
    """Gauges say what is there, counters what happened since Flower began, beside Flower's own."""
    for scene in SCENES.values():
        scene(ledger)
    running = start(LOGIN, OFTEN)
    first = wait_for(running, "backout_ledger_up", value=1)
    assert first["backout_runs", "fulfil_order", "parked"] == 1
    assert first["backout_reviews_open", "fulfil_order"] == 2
    assert first["backout_review_oldest_seconds", "fulfil_order"] > 0
    assert first["backout_metrics_age_seconds",] < 60
    assert ("backout_rollbacks_total", "fulfil_order") not in first, "it happened before"
    run = rolled_back(ledger)
    told = wait_for(running, "backout_runs_finished_total", "fulfil_order", "rolled_back", value=1)
    assert told["backout_rollbacks_total", "fulfil_order"] == 1
    assert told["backout_retries_total", "forward", "fulfil_order", "book_courier"] == 2
    assert told["backout_step_duration_seconds_count", "compensation", "fulfil_order", "charge_card"] == 1
    text = running.client().get("/metrics").text
    assert "flower_worker_online" in text or "flower_events" in text
    for private in (run.id, "customer-17", "no courier in that area", "worker-1"):
        assert private not in text
    types = dict(re.findall(r"^# TYPE (backout_\w+) (\w+)$", text, re.MULTILINE))
    assert {one.name: one.kind.value for one in METRICS} == types
    assert Kind.HISTOGRAM.value in types.values()


def test_without_its_ledger_metrics_still_answers(start: Start) -> None:
    """That the ledger is away is a value too."""
    away = f"--backout_database_url=postgresql+psycopg://nobody@127.0.0.1:{free_port()}/runs"
    running = start(LOGIN, OFTEN, away)
    wait_for(running, "backout_ledger_up", value=0)
    assert running.log.count("Metrics of runs stay as they are") == 1
    assert "Traceback" not in running.log
