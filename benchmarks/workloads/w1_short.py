"""W1: pipelines of five steps: how many steps a second, what one costs, and how long one pipeline takes alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from benchmarks.results import Better, Figures, Measure, Result, percentile
from benchmarks.rounds import Contest, ready_worker
from benchmarks.workers import Job, Worker
from benchmarks.workloads import Setting

STEPS: Final = 5
PIPELINES: Final = 300
QUICK_PIPELINES: Final = 60
ALONE: Final = 20
QUICK_ALONE: Final = 5
WARM_UP: Final = 20
MEASURES: Final = (
    Measure(key="steps_per_second", title="steps/s", better=Better.HIGHER),
    Measure(key="worker_cpu_ms_per_step", title="CPU ms/step: workers", decimals=2),
    Measure(key="database_cpu_ms_per_step", title="PostgreSQL", decimals=2),
    Measure(key="broker_cpu_ms_per_step", title="broker", decimals=2),
    Measure(key="alone_p50_ms", title="alone p50 ms", decimals=1, better=Better.LOWER),
    Measure(key="alone_p95_ms", title="p95 ms", decimals=1),
)
NOTES: Final = (
    "steps/s: from a filled queue to the last acknowledgement; enqueueing is not in it. alone: from before a pipeline "
    "is enqueued until its end is seen, nothing else to do, asked every ms.",
    "CPU: backout's sweeper is one of the worker's processes.",
)


def run(setting: Setting) -> Sequence[Result]:
    """Measure the throughput of many and the latency of one."""
    pipelines = setting.pipelines or (QUICK_PIPELINES if setting.is_quick else PIPELINES)
    alone = QUICK_ALONE if setting.is_quick else ALONE
    contest = Contest(
        name="W1",
        start=ready_worker(setting.lab, Job(steps=STEPS), warm_up=WARM_UP),
        take=partial(_take, pipelines=pipelines, alone=alone),
    )
    turns = contest.run(setting.ways, setting.rounds)
    return [
        Result(
            key="W1",
            title=f"{pipelines} pipelines of {STEPS} steps",
            measures=MEASURES,
            rounds=turns.rounds,
            left_out=turns.failures,
            failed=frozenset(turns.failures),
            notes=NOTES,
        )
    ]


def _take(worker: Worker, *, pipelines: int, alone: int) -> Figures:
    seconds = worker.measure_latency(alone) if worker.way.is_ordered else []
    cost = worker.measure(pipelines)
    steps = pipelines * STEPS
    figures = {
        "steps_per_second": steps / cost.seconds,
        "worker_cpu_ms_per_step": cost.worker_cpu_seconds * 1000 / steps,
        "database_cpu_ms_per_step": cost.database_cpu_seconds * 1000 / steps,
        "broker_cpu_ms_per_step": cost.broker_cpu_seconds * 1000 / steps,
    }
    if seconds:
        figures |= {"alone_p50_ms": percentile(seconds, 50) * 1000, "alone_p95_ms": percentile(seconds, 95) * 1000}
    return figures
