"""W2: pipelines of five steps whose last one fails for good, so that the four before it are undone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from benchmarks.results import Better, Figures, Measure, Result
from benchmarks.rounds import Contest, ready_worker
from benchmarks.workers import Job, Worker
from benchmarks.workloads import Setting

STEPS: Final = 5
PIPELINES: Final = 200
QUICK_PIPELINES: Final = 40
WARM_UP: Final = 20
MEASURES: Final = (
    Measure(key="pipelines_per_second", title="pipelines/s", decimals=1, better=Better.HIGHER),
    Measure(key="worker_cpu_ms_per_pipeline", title="CPU ms/pipeline: workers", decimals=1),
    Measure(key="database_cpu_ms_per_pipeline", title="PostgreSQL", decimals=1),
    Measure(key="broker_cpu_ms_per_pipeline", title="broker", decimals=1),
)
NOTES: Final = (
    "The chain's link_error is called in the worker and sends a chain of the four undos. DBOS and Absurd undo in an "
    "except clause of the workflow, each undo a durable step.",
)


def run(setting: Setting) -> Sequence[Result]:
    """Measure the throughput of pipelines that are rolled back."""
    ways, left_out = setting.only(lambda way: way.is_ordered, reason="tasks alone know of no pipeline to undo")
    pipelines = setting.pipelines or (QUICK_PIPELINES if setting.is_quick else PIPELINES)
    contest = Contest(
        name="W2",
        start=ready_worker(setting.lab, Job(steps=STEPS, fails=True), warm_up=WARM_UP),
        take=partial(_take, pipelines=pipelines),
    )
    turns = contest.run(ways, setting.rounds)
    return [
        Result(
            key="W2",
            title=f"{pipelines} pipelines that fail at step {STEPS}, {STEPS - 1} steps undone in each",
            measures=MEASURES,
            rounds=turns.rounds,
            left_out={**left_out, **turns.failures},
            failed=frozenset(turns.failures),
            notes=NOTES,
        )
    ]


def _take(worker: Worker, *, pipelines: int) -> Figures:
    cost = worker.measure(pipelines)
    return {
        "pipelines_per_second": pipelines / cost.seconds,
        "worker_cpu_ms_per_pipeline": cost.worker_cpu_seconds * 1000 / pipelines,
        "database_cpu_ms_per_pipeline": cost.database_cpu_seconds * 1000 / pipelines,
        "broker_cpu_ms_per_pipeline": cost.broker_cpu_seconds * 1000 / pipelines,
    }
