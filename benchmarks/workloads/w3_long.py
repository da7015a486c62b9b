"""W3: one pipeline of 200 and one of 1,000 steps: what a step costs must not grow with the length."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from benchmarks.results import Better, Figures, Measure, Result
from benchmarks.rounds import Contest, ready_worker
from benchmarks.workers import Job, Worker
from benchmarks.workloads import Setting

LENGTHS: Final = (200, 1000)
QUICK_LENGTHS: Final = (50, 200)
WARM_UP: Final = 2
"""As many as there are children: the first pipeline of a process also pays for what is made once."""
MOST_ROUNDS: Final = 3
"""The chain takes half a minute for one."""
MEASURES: Final = (
    Measure(key="ms_per_step", title="ms/step", decimals=2, better=Better.LOWER),
    Measure(key="worker_cpu_ms_per_step", title="CPU ms/step: workers", decimals=2),
    Measure(key="database_cpu_ms_per_step", title="PostgreSQL", decimals=2),
    Measure(key="broker_bytes_per_step", title="broker bytes/step"),
)
NOTES: Final = ("broker bytes: what the broker's clients sent to it.",)


def run(setting: Setting) -> Sequence[Result]:
    """Measure one long pipeline at a time."""
    lengths = QUICK_LENGTHS if setting.is_quick else LENGTHS
    return [_run_length(setting, steps) for steps in lengths]


def _run_length(setting: Setting, steps: int) -> Result:
    ways, left_out = setting.only(lambda way: way.is_ordered, reason="tasks alone have no order, so no long pipeline")
    contest = Contest(
        name=f"W3, {steps} steps",
        start=ready_worker(setting.lab, Job(steps=steps), warm_up=WARM_UP),
        take=partial(_take, steps=steps),
    )
    turns = contest.run(ways, setting.at_most(MOST_ROUNDS))
    return Result(
        key=f"W3-{steps}",
        title=f"one pipeline of {steps:,} steps",
        measures=MEASURES,
        rounds=turns.rounds,
        left_out={**left_out, **turns.failures},
        failed=frozenset(turns.failures),
        notes=NOTES,
    )


def _take(worker: Worker, *, steps: int) -> Figures:
    cost = worker.measure(1)
    return {
        "ms_per_step": cost.seconds * 1000 / steps,
        "worker_cpu_ms_per_step": cost.worker_cpu_seconds * 1000 / steps,
        "database_cpu_ms_per_step": cost.database_cpu_seconds * 1000 / steps,
        "broker_bytes_per_step": cost.broker_bytes / steps,
    }
