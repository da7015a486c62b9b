"""The catalogue of metrics: what a monitoring system may ask about runs, by which names and labels.

Nothing in a label but what definitions and this release name: pipelines, steps, directions, states, codes of reasons.
Who may read metrics may read nothing else, and a label with a value for each run would fill any monitoring system.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from backout.ledger.figures import Figures, RunCounts
from backout.ledger.statistics import OpenReviews
from backout.states import RunState

BUCKETS_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
"""Upper limits, included, by which durations are counted; one more holds all that are longer."""


class Kind(StrEnum):
    """How a metric changes. The value is Prometheus's name for it."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: as it is asked for; of a histogram without `_bucket`, `_sum`, `_count`.
        labels: their names, in the order of the values of a `Sample`.
        meaning: one sentence without a full stop; durations are seconds.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The value of a metric for some values of its labels."""

    metric: Metric
    labels: tuple[str, ...] = ()
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """What a histogram has counted for some values of its labels.

    Attributes:
        counts: how many fell in each bucket and in none before it; one more than there are `BUCKETS_SECONDS`.
        sum_seconds: of all of them.
    """

    metric: Metric
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    sum_seconds: float


_STEP: Final = ("pipeline", "step", "direction")

RUNS: Final = Metric("backout_runs", Kind.GAUGE, ("pipeline", "state"), "Runs in a state")
REVIEWS_OPEN: Final = Metric("backout_reviews_open", Kind.GAUGE, ("pipeline",), "Reviews that wait for a person")
REVIEWS_LATE: Final = Metric(
    "backout_reviews_late", Kind.GAUGE, ("pipeline",), "Reviews that wait for a person and whose deadline has passed"
)
REVIEW_OLDEST: Final = Metric(
    "backout_review_oldest_seconds", Kind.GAUGE, ("pipeline",), "How long the oldest open review has waited; 0: none"
)
OVERDUE_STEPS: Final = Metric(
    "backout_overdue_steps", Kind.GAUGE, (), "Steps that a sweeper should have looked at, and has not"
)
LEDGER_LAG: Final = Metric(
    "backout_ledger_lag_seconds",
    Kind.GAUGE,
    (),
    "How long the step that has been due for longest waits for a worker or a sweeper; 0: none is due",
)
SILENT_RUNS: Final = Metric(
    "backout_silent_runs",
    Kind.GAUGE,
    (),
    "Runs that should move and have nothing that will move them; more than 0 is a defect",
)
LEDGER_UP: Final = Metric("backout_ledger_up", Kind.GAUGE, (), "1: the ledger was read at the last try; 0: it was not")
METRICS_AGE: Final = Metric(
    "backout_metrics_age_seconds", Kind.GAUGE, (), "How old the other values are; it grows while the ledger is away"
)
RUNS_CREATED: Final = Metric("backout_runs_created_total", Kind.COUNTER, ("pipeline",), "Runs that were enqueued")
RUNS_FINISHED: Final = Metric(
    "backout_runs_finished_total", Kind.COUNTER, ("pipeline", "state"), "Runs that were closed, by the state they got"
)
STEPS: Final = Metric(
    "backout_steps_total",
    Kind.COUNTER,
    (*_STEP, "outcome"),
    "Steps and compensations that came to an outcome: `succeeded`, `skipped`, `failed` for good",
)
RETRIES: Final = Metric("backout_retries_total", Kind.COUNTER, _STEP, "Attempts that failed and are tried again")
LOST_ATTEMPTS: Final = Metric(
    "backout_lost_attempts_total", Kind.COUNTER, _STEP, "Attempts that ended without an answer, as of a killed worker"
)
ROLLBACKS: Final = Metric("backout_rollbacks_total", Kind.COUNTER, ("pipeline",), "Rollbacks that began")
COMPENSATION_FAILURES: Final = Metric(
    "backout_compensation_failures_total", Kind.COUNTER, ("pipeline", "step"), "Compensations that failed for good"
)
REVIEWS_OPENED: Final = Metric(
    "backout_reviews_opened_total", Kind.COUNTER, ("pipeline", "reason"), "Reviews that were opened, by reason code"
)
STEP_DURATION: Final = Metric(
    "backout_step_duration_seconds", Kind.HISTOGRAM, _STEP, "From the start of an attempt to its recorded success"
)

METRICS: Final = (
    RUNS,
    REVIEWS_OPEN,
    REVIEWS_LATE,
    REVIEW_OLDEST,
    OVERDUE_STEPS,
    LEDGER_LAG,
    SILENT_RUNS,
    LEDGER_UP,
    METRICS_AGE,
    RUNS_CREATED,
    RUNS_FINISHED,
    STEPS,
    RETRIES,
    LOST_ATTEMPTS,
    ROLLBACKS,
    COMPENSATION_FAILURES,
    REVIEWS_OPENED,
    STEP_DURATION,
)


def read_gauges(figures: Figures, final_runs: RunCounts, *, known: Iterable[str] = ()) -> Iterator[Sample]:
    """Yield what a ledger's figures say; pure.

    Args:
        figures: of now.
        final_runs: the runs that are final.
        known: pipelines that were told of before; they stay, with zeros: an alert about a value that is gone would
            neither end nor begin.
    """
    runs: Mapping[tuple[str, RunState], int] = {**final_runs, **figures.runs}
    for pipeline in sorted({*known, *figures.reviews, *(name for name, _ in runs)}):
        for state in RunState:
            yield Sample(metric=RUNS, labels=(pipeline, state.value), value=runs.get((pipeline, state), 0))
        yield from _read_reviews(pipeline, figures.reviews.get(pipeline), figures.now)
    yield Sample(metric=OVERDUE_STEPS, value=figures.overdue_steps)
    yield Sample(metric=LEDGER_LAG, value=figures.lag_seconds)
    yield Sample(metric=SILENT_RUNS, value=figures.silent_runs)


def _read_reviews(pipeline: str, reviews: OpenReviews | None, now: datetime) -> Iterator[Sample]:
    waits_seconds = max((now - reviews.oldest_at).total_seconds(), 0.0) if reviews else 0.0
    yield Sample(metric=REVIEWS_OPEN, labels=(pipeline,), value=reviews.reviews if reviews else 0)
    yield Sample(metric=REVIEWS_LATE, labels=(pipeline,), value=reviews.late if reviews else 0)
    yield Sample(metric=REVIEW_OLDEST, labels=(pipeline,), value=waits_seconds)
