"""Runs on Flower's `/metrics`: a collector beside Flower's own in prometheus_client's registry."""

from __future__ import annotations

import atexit
import time
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Final

from celery import Celery
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from backout.integrations.flower.refreshing import Refresher, Snapshot
from backout.tasks.doctor.about_runs import overdue_seconds
from backout.tasks.runtime import runtime_of
from backout.views.metrics import BUCKETS_SECONDS, LEDGER_UP, METRICS, METRICS_AGE, Kind, Metric, Sample

_FAMILIES: Final[dict[Kind, Any]] = {
    Kind.GAUGE: GaugeMetricFamily,
    Kind.COUNTER: CounterMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
}
_LIMITS: Final = (*(str(limit) for limit in BUCKETS_SECONDS), "+Inf")
_started: Final[list[Refresher]] = []


def start_metrics(app: Celery, *, every_seconds: float) -> None:
    """Begin to read the ledger of an app and to tell of it on `/metrics`; a second call does nothing.

    Args:
        app: Flower's.
        every_seconds: how often the ledger is read; 0 or less: never, and nothing is told.

    Raises:
        ConfigurationError: the app names no ledger.
    """
    if every_seconds <= 0 or _started:
        return
    runtime = runtime_of(app)
    refresher = Refresher(
        # The tables are verified in the thread: nobody waits for a database that is away.
        lambda: runtime.ledger,
        every_seconds=every_seconds,
        overdue_seconds=overdue_seconds(runtime.settings.sweep_interval_seconds),
    )
    _started.append(refresher)
    REGISTRY.register(RunsCollector(refresher))
    refresher.start()
    atexit.register(refresher.stop)


class RunsCollector:
    """Tells what was read of the ledger last. Flower asks it on the loop on which it does everything: it reads nothing.

    Args:
        refresher: who reads.
    """

    def __init__(self, refresher: Refresher) -> None:
        self._refresher = refresher

    def describe(self) -> Iterator[Any]:
        """Yield all metrics without values: the registry wants their names before there are any."""
        return (_family(metric) for metric in METRICS)

    def collect(self) -> Iterator[Any]:
        """Yield all metrics with the values that are known; before the first read hardly any are."""
        snapshot = self._refresher.snapshot
        families = {metric: _family(metric) for metric in METRICS}
        for sample in (*snapshot.gauges, *snapshot.counters, *self._tell_state(snapshot)):
            families[sample.metric].add_metric(sample.labels, sample.value)
        for durations in snapshot.durations:
            # Prometheus counts in each bucket what is in those before it.
            buckets = list(zip(_LIMITS, accumulate(durations.counts), strict=True))
            families[durations.metric].add_metric(durations.labels, buckets, durations.sum_seconds)
        return iter(families.values())

    def _tell_state(self, snapshot: Snapshot) -> Iterator[Sample]:
        yield Sample(metric=METRICS_AGE, value=time.monotonic() - snapshot.read_at)
        if self._refresher.is_hanging:
            yield Sample(metric=LEDGER_UP, value=0.0)
        elif snapshot.is_up is not None:
            yield Sample(metric=LEDGER_UP, value=float(snapshot.is_up))


def _family(metric: Metric) -> Any:
    return _FAMILIES[metric.kind](metric.name, metric.meaning, labels=metric.labels)
