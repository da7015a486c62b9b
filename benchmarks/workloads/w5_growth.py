"""W5: ledgers with thousands and with millions of entries: what people read and what a step costs must not grow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

from benchmarks.lab import Lab
from benchmarks.results import Figures, Measure, Result
from benchmarks.rounds import Contest, say
from benchmarks.ways import BACKOUT, Way
from benchmarks.workers import Job, Worker, start_worker
from benchmarks.workloads import Setting

STEPS: Final = 5
SIZES: Final = (10_000, 1_000_000, 10_000_000)
"""In entries."""
QUICK_SIZES: Final = (1_000, 50_000)
RUNS_AT_ONCE: Final = 10_000
PIPELINES: Final = 100
READS: Final = 20
MOST_ROUNDS: Final = 4
WARM_UP: Final = 20
MEASURES: Final = (
    Measure(key="list_ms", title="list ms", decimals=1),
    Measure(key="list_narrowed_ms", title="list of a pipeline and state ms", decimals=1),
    Measure(key="show_ms", title="show ms", decimals=1),
    Measure(key="sweep_ms", title="sweeper's look ms", decimals=1),
    Measure(key="ms_per_step", title="ms/step", decimals=2),
    Measure(key="database_cpu_ms_per_step", title="PostgreSQL CPU ms/step", decimals=2),
)
NOTES: Final = (
    "The copies are of one run that succeeded, with ids and times of the last 90 days. list: the 50 newest runs; show: "
    "one run of any age with its steps and entries; the sweeper's look finds nothing to do. Each the median of 20.",
)


def run(setting: Setting) -> Sequence[Result]:
    """Measure ledgers of all sizes in turns."""
    sizes = QUICK_SIZES if setting.is_quick else SIZES
    ways = {f"{size:,} entries": size for size in sizes}
    contest = Contest(
        name="W5",
        start=lambda way: _start(way, lab=setting.lab, entries=ways[way.name]),
        take=partial(_take, pipelines=setting.pipelines or PIPELINES),
    )
    measured = [Way(name=name, module="benchmarks.apps.grown") for name in ways]
    turns = contest.run(measured, setting.at_most(MOST_ROUNDS))
    return [
        Result(
            key="W5",
            title=f"{BACKOUT} on PostgreSQL, ledgers of different sizes",
            measures=MEASURES,
            rounds=turns.rounds,
            left_out=turns.failures,
            failed=frozenset(turns.failures),
            notes=NOTES,
        )
    ]


@contextmanager
def _start(way: Way, *, lab: Lab, entries: int) -> Iterator[Worker]:
    with start_worker(way, lab=lab, job=Job(steps=STEPS, name_of_workload="grown")) as worker:
        worker.warm_up(WARM_UP)
        runs = entries // worker.ask("count_entries_of_one") + 1
        for first in range(0, runs, RUNS_AT_ONCE):
            worker.ask("fill", first, min(RUNS_AT_ONCE, runs - first))
        say(f"W5: {way.name}: filled with {runs:,} runs")
        worker.ask("settle")
        yield worker


def _take(worker: Worker, *, pipelines: int) -> Figures:
    figures: dict[str, float] = worker.ask("time_reads", READS)
    cost = worker.measure(pipelines)
    steps = pipelines * STEPS
    return {
        **figures,
        "ms_per_step": cost.seconds * 1000 / steps,
        "database_cpu_ms_per_step": cost.database_cpu_seconds * 1000 / steps,
    }
