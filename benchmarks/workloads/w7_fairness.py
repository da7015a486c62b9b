"""W7: one pipeline of 1,000 steps and short ones enqueued right after it: how long the short ones wait."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from benchmarks.results import Better, Figures, Measure, Result, percentile
from benchmarks.rounds import Contest, ready_worker
from benchmarks.workers import Job, Worker
from benchmarks.workloads import Setting

STEPS: Final = 5
SHORT_PIPELINES: Final = 50
LONG_STEPS: Final = 1000
QUICK_LONG_STEPS: Final = 200
MOST_ROUNDS: Final = 3
WARM_UP: Final = 10
MEASURES: Final = (
    Measure(key="short_p50_ms", title="short ones ended, p50 ms", better=Better.LOWER),
    Measure(key="short_p95_ms", title="p95 ms", better=Better.LOWER),
    Measure(key="long_ms", title="the long one, ms", better=Better.LOWER),
)


def run(setting: Setting) -> Sequence[Result]:
    """Measure when the short ones have ended."""
    ways, left_out = setting.only(
        lambda way: way.uses_celery and way.is_ordered,
        reason="only ways whose pipelines share the queue of one Celery worker are compared",
    )
    long_steps = QUICK_LONG_STEPS if setting.is_quick else LONG_STEPS
    short = setting.pipelines or SHORT_PIPELINES
    contest = Contest(
        name="W7",
        start=ready_worker(
            setting.lab, Job(steps=STEPS, long_steps=long_steps, name_of_workload="mixed"), warm_up=WARM_UP
        ),
        take=partial(_take, short=short),
    )
    turns = contest.run(ways, setting.at_most(MOST_ROUNDS))
    return [
        Result(
            key="W7",
            title=f"one pipeline of {long_steps:,} steps, and {short} of {STEPS} enqueued right after it, one worker",
            measures=MEASURES,
            rounds=turns.rounds,
            left_out={**left_out, **turns.failures},
            failed=frozenset(turns.failures),
            notes=("From the moment at which the worker finds all of them in its queue.",),
        )
    ]


def _take(worker: Worker, *, short: int) -> Figures:
    seconds, long_seconds = worker.measure_mixed(short)
    return {
        "short_p50_ms": percentile(seconds, 50) * 1000,
        "short_p95_ms": percentile(seconds, 95) * 1000,
        "long_ms": long_seconds * 1000,
    }
