"""W6: how much memory the processes of a worker take after some work, and Flower."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Final

from benchmarks.flower import start_flower
from benchmarks.lab import Lab
from benchmarks.processes import descendants, memory_of
from benchmarks.results import Figures, Measure, Result
from benchmarks.rounds import Contest, ready_worker
from benchmarks.workers import Job, Worker
from benchmarks.workloads import Setting

STEPS: Final = 5
PIPELINES: Final = 100
SETTLE_SECONDS: Final = 1.0
MEASURES: Final = (
    Measure(key="main_mb", title="main PSS MB", decimals=1),
    Measure(key="children_mb", title="children", decimals=1),
    Measure(key="sweeper_mb", title="sweeper", decimals=1),
    Measure(key="all_pss_mb", title="all PSS", decimals=1),
    Measure(key="all_rss_mb", title="all RSS", decimals=1),
    Measure(key="flower_mb", title="Flower PSS", decimals=1),
)
NOTES: Final = (
    "PSS: memory that processes share is divided among them. main: of two processes, the sum. children: the prefork "
    "children together. Flower: with this application, before anybody has opened a page.",
)


def run(setting: Setting) -> Sequence[Result]:
    """Measure once: memory does not depend on who else is busy."""
    contest = Contest(
        name="W6",
        start=ready_worker(setting.lab, Job(steps=STEPS, name_of_workload="memory"), warm_up=PIPELINES),
        take=partial(_take, lab=setting.lab),
    )
    turns = contest.run(setting.ways, setting.at_most(1))
    return [
        Result(
            key="W6",
            title=f"memory after {PIPELINES} pipelines of {STEPS} steps",
            measures=MEASURES,
            rounds=turns.rounds,
            left_out=turns.failures,
            failed=frozenset(turns.failures),
            notes=NOTES,
        )
    ]


def _take(worker: Worker, *, lab: Lab) -> Figures:
    worker.go_on()
    time.sleep(SETTLE_SECONDS)
    parts = {"main_mb": 0.0, "children_mb": 0.0, "sweeper_mb": 0.0}
    rss = 0.0
    for group in worker.groups:
        for number, process_id in enumerate((group.id, *descendants(group.id))):
            used = memory_of(process_id)
            part = "main_mb" if number == 0 else "sweeper_mb" if used.is_sweeper else "children_mb"
            parts[part] += used.pss_mb
            rss += used.rss_mb
    worker.pause()
    figures = {key: value for key, value in parts.items() if value}
    figures |= {"all_pss_mb": sum(parts.values()), "all_rss_mb": rss}
    if worker.way.uses_celery:
        with ExitStack() as stack:
            flower = stack.enter_context(start_flower(worker.way, lab=lab, variables=worker.variables))
            figures["flower_mb"] = sum(memory_of(one).pss_mb for one in (flower.id, *descendants(flower.id)))
    return figures
