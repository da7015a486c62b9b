"""Counts what happens in runs from the entries that say so: the counters and the histogram of the metrics. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from backout.events import Event, Lifecycle, LifecycleEvent, read_lifecycle
from backout.ledger.records import EntryRecord
from backout.states import Direction, ReviewReason, RunState
from backout.views.metrics import (
    BUCKETS_SECONDS,
    COMPENSATION_FAILURES,
    LOST_ATTEMPTS,
    RETRIES,
    REVIEWS_OPENED,
    ROLLBACKS,
    RUNS_CREATED,
    RUNS_FINISHED,
    STEP_DURATION,
    STEPS,
    Durations,
    Metric,
    Sample,
)

MOST_OPEN_ATTEMPTS: Final = 100_000
"""So many starts are kept for durations; beyond that the oldest are forgotten, whose end was perhaps never seen."""

_FINISHED: Final = {
    Lifecycle.RUN_SUCCEEDED: RunState.SUCCEEDED,
    Lifecycle.RUN_ROLLED_BACK: RunState.ROLLED_BACK,
    Lifecycle.RUN_FAILED: RunState.FAILED,
    Lifecycle.RUN_CANCELLED: RunState.CANCELLED,
}
_OUTCOMES: Final = {
    Lifecycle.STEP_SUCCEEDED: "succeeded",
    Lifecycle.STEP_SKIPPED: "skipped",
    Lifecycle.STEP_FAILED: "failed",
    Lifecycle.ROLLBACK_STEP_SUCCEEDED: "succeeded",
    Lifecycle.ROLLBACK_STEP_FAILED: "failed",
}
_LOST: Final = (Lifecycle.ATTEMPT_LOST, Lifecycle.ROLLBACK_ATTEMPT_LOST)
_REASONS: Final = frozenset(reason.value for reason in ReviewReason)
_UNKNOWN_REASON: Final = "other"
_Attempt = tuple[object, ...]


class Counts:
    """What has happened since it was made; no value ever goes down, and each entry may be counted once only."""

    def __init__(self) -> None:
        self._totals: Counter[tuple[Metric, tuple[str, ...]]] = Counter()
        self._buckets: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}
        self._started: OrderedDict[_Attempt, datetime] = OrderedDict()

    def count(self, entry: EntryRecord, *, pipeline: str | None) -> None:
        """Count an entry; one whose run is gone counts for nothing, because no pipeline can be named.

        Args:
            entry: in the order of their ids, as far as that is possible.
            pipeline: of the entry's run.
        """
        if pipeline is None:
            return
        for told in read_lifecycle(entry, pipeline=pipeline):
            self._count_event(told, pipeline)
        if entry.event is Event.ROLLBACK_STARTED:
            self._add(ROLLBACKS, pipeline)
        # Questions have attempts too, but only read: no steps of the run.
        if entry.step is not None and entry.direction in (Direction.FORWARD, Direction.COMPENSATION):
            self._count_attempt(entry, (pipeline, entry.step, entry.direction.value))

    def samples(self) -> Iterator[Sample]:
        """Yield the counters."""
        for (metric, labels), value in self._totals.items():
            yield Sample(metric=metric, labels=labels, value=value)

    def durations(self) -> Iterator[Durations]:
        """Yield the histograms."""
        for labels, counts in self._buckets.items():
            yield Durations(metric=STEP_DURATION, labels=labels, counts=tuple(counts), sum_seconds=self._sums[labels])

    def _count_event(self, told: LifecycleEvent, pipeline: str) -> None:
        name = told.name
        if name is Lifecycle.RUN_CREATED:
            self._add(RUNS_CREATED, pipeline)
            self._begin_run(pipeline)
        elif name in _FINISHED:
            self._add(RUNS_FINISHED, pipeline, _FINISHED[name].value)
        elif name is Lifecycle.REVIEW_OPENED:
            reason = told.reason if told.reason in _REASONS else _UNKNOWN_REASON
            self._add(REVIEWS_OPENED, pipeline, reason or _UNKNOWN_REASON)
        elif told.step is not None and told.direction is not None:
            step = (pipeline, told.step, told.direction.value)
            if name in _OUTCOMES:
                self._add(STEPS, *step, _OUTCOMES[name])
            if name in _LOST:
                self._add(LOST_ATTEMPTS, *step)
            if name is Lifecycle.ROLLBACK_STEP_FAILED:
                self._add(COMPENSATION_FAILURES, pipeline, told.step)

    def _count_attempt(self, entry: EntryRecord, step: tuple[str, ...]) -> None:
        attempt = (entry.run_id, entry.round, entry.position, entry.direction, entry.attempt)
        if entry.event is Event.ATTEMPT_STARTED:
            self._begin_step(step)
            self._started[attempt] = entry.at
            if len(self._started) > MOST_OPEN_ATTEMPTS:
                self._started.popitem(last=False)
            return
        if entry.event is Event.RETRY_SCHEDULED:
            self._add(RETRIES, *step)
        # Whatever else names the attempt ends it, or says that it took another run's result, but for ids on its way.
        if entry.event is not Event.EXTERNAL_ID_RECORDED:
            started_at = self._started.pop(attempt, None)
            if started_at is not None and entry.event is Event.STEP_SUCCEEDED:
                self._observe(step, (entry.at - started_at).total_seconds())

    def _begin_run(self, pipeline: str) -> None:
        """Let the counters of a pipeline begin at 0: rate() does not see what a new one has begun with."""
        self._totals[ROLLBACKS, (pipeline,)] += 0
        for state in _FINISHED.values():
            self._totals[RUNS_FINISHED, (pipeline, state.value)] += 0

    def _begin_step(self, step: tuple[str, ...]) -> None:
        """Let those of a step begin at 0, and those of its compensation before that can fail."""
        self._totals[RETRIES, step] += 0
        self._totals[STEPS, (*step, "succeeded")] += 0
        self._totals[STEPS, (*step, "failed")] += 0
        self._totals[COMPENSATION_FAILURES, step[:2]] += 0

    def _observe(self, step: tuple[str, ...], seconds: float) -> None:
        counts = self._buckets.setdefault(step, [0] * (len(BUCKETS_SECONDS) + 1))
        counts[bisect_left(BUCKETS_SECONDS, seconds)] += 1
        # A clock that was set back would take away from a sum that may only grow.
        self._sums[step] = self._sums.get(step, 0.0) + max(seconds, 0.0)

    def _add(self, metric: Metric, *labels: str) -> None:
        self._totals[metric, labels] += 1
