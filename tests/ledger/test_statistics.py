"""The numbers of pipelines, from runs that were recorded by their arrows, on every database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from backout.identifiers import RunId, enqueued_at
from backout.ledger import queries, statistics
from backout.ledger.session import Ledger
from backout.states import Direction, ReviewReason, RunState
from backout.views.statistics import PipelineStatistics, read_statistics
from tests.support.runs import ORDER_PLAN, RecordedRun
from tests.support.scenes import doubted, parked, retrying, rolled_back, succeeded

DAY = timedelta(days=1)
OLD = RunId("01800000-0000-7000-8000-000000000001")


def find(ledger: Ledger, name: str = "fulfil_order") -> PipelineStatistics:
    [found] = [one for one in read_statistics(ledger, DAY).pipelines if one.name == name]
    return found


def test_numbers_are_those_of_the_runs(ledger: Ledger) -> None:
    """How many, how they ended, what is open and since when, what waits for a person; old runs only where open."""
    succeeded(ledger)
    rolled_back(ledger)
    oldest, _, asking = parked(ledger), parked(ledger), doubted(ledger)
    RecordedRun(ledger=ledger, id=OLD, plan=replace(ORDER_PLAN, pipeline="newsletter"))
    found = find(ledger)
    assert found.runs == {
        RunState.SUCCEEDED: 1,
        RunState.ROLLED_BACK: 1,
        RunState.PARKED: 2,
        RunState.IN_REVIEW: 1,
    }
    assert (found.enqueued, found.finished) == (5, 2)
    assert [found.share(state) for state in (RunState.SUCCEEDED, RunState.ROLLED_BACK, RunState.FAILED)] == [
        0.5,
        0.5,
        0,
    ]
    opened = {one.state: (one.runs, one.oldest, one.oldest_at) for one in found.open_runs}
    assert opened == {
        RunState.PARKED: (2, oldest.id, enqueued_at(oldest.id)),
        RunState.IN_REVIEW: (1, asking.id, enqueued_at(asking.id)),
    }
    [review] = ledger.read(lambda connection: queries.list_reviews(connection, asking.id))
    assert found.reviews is not None
    assert (found.reviews.reviews, found.reviews.oldest_id, found.reviews.oldest_at) == (1, review.id, review.opened_at)
    old = find(ledger, "newsletter")
    assert (old.enqueued, old.steps, old.reviews, old.share(RunState.SUCCEEDED)) == (0, (), None, None)
    assert [one.oldest for one in old.open_runs] == [OLD]


def test_steps_are_told_with_what_undoes_them(ledger: Ledger) -> None:
    """In the order of the pipeline; failures with those that are tried again; times of attempts that succeeded."""
    rolled_back(ledger)
    retrying(ledger)
    found = {(step.step, step.direction): step for step in find(ledger).steps}
    forward, back = Direction.FORWARD, Direction.COMPENSATION
    assert list(found) == [
        ("check_address", forward),
        ("reserve_stock", forward),
        ("reserve_stock", back),
        ("charge_card", forward),
        ("charge_card", back),
        ("book_courier", forward),
        ("book_courier", back),
    ]
    charge, courier = found["charge_card", forward], found["book_courier", forward]
    assert (charge.attempts, charge.failures, charge.retries) == (2, 1, 0)
    assert charge.p50_seconds is not None
    assert 0 <= charge.p50_seconds <= 60
    assert courier.failures == courier.attempts > courier.retries == courier.attempts - 1
    assert courier.p95_seconds is None


def test_time_until_a_person_has_decided_is_no_latency(ledger: Ledger) -> None:
    """A step whose outcome a person has told took no time that says anything about the step."""
    run = RecordedRun(ledger=ledger)
    run.succeed("check_address", "reserve_stock")
    run.ask_person("charge_card", ReviewReason.CONFIRMATION_MISSING)
    [charge] = [step for step in find(ledger).steps if step.step == "charge_card"]
    assert (charge.attempts, charge.p50_seconds) == (1, None)


def test_only_the_newest_runs_are_counted_where_there_are_very_many(ledger: Ledger) -> None:
    """It is said from when on, and every number is bounded."""
    runs = [RecordedRun(ledger=ledger) for _ in range(3)]
    since = enqueued_at(OLD)

    def count(limit: int) -> statistics.Cohort:
        return ledger.read(lambda connection: statistics.count_cohort(connection, since=since, limit=limit))

    assert count(2).runs == {"fulfil_order": {RunState.PENDING: 2}}
    assert count(2).left_out == runs[0].id
    assert count(3).runs == {"fulfil_order": {RunState.PENDING: 3}}
    assert count(3).left_out is None
    sampled, _ = ledger.read(
        lambda connection: statistics.read_attempts(connection, "fulfil_order", since=since, most_runs=2)
    )
    assert sampled == 2
    [opened] = ledger.read(lambda connection: statistics.list_open_states(connection, "fulfil_order", count_to=1))
    assert (opened.runs, opened.oldest) == (2, runs[0].id)


def test_pipelines_are_listed_once_and_not_all(ledger: Ledger) -> None:
    """By name, up to a bound."""
    for name in ("b", "a", "b", "c"):
        RecordedRun(ledger=ledger, plan=replace(ORDER_PLAN, pipeline=name))
    assert ledger.read(lambda connection: statistics.list_pipelines(connection, limit=5)) == ["a", "b", "c"]
    assert ledger.read(lambda connection: statistics.list_pipelines(connection, limit=2)) == ["a", "b"]
