"""W4: how many pipelines a second can be enqueued, one by one and in a batch; no worker runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final

from benchmarks.lab import Lab
from benchmarks.results import Better, Figures, Measure, Result
from benchmarks.rounds import Contest
from benchmarks.ways import Way
from benchmarks.workers import Feeder, Job, start_feeder
from benchmarks.workloads import Setting

STEPS: Final = 5
PIPELINES: Final = 300
QUICK_PIPELINES: Final = 60
BATCH_FACTOR: Final = 10
"""A batch is so many times longer, because it is meant to be faster."""
MEASURES: Final = (
    Measure(key="enqueued_per_second", title="one by one /s", better=Better.HIGHER),
    Measure(key="cpu_ms_per_enqueue", title="CPU ms", decimals=2),
    Measure(key="enqueued_per_second_in_batch", title="in a batch /s"),
    Measure(key="cpu_ms_per_enqueue_in_batch", title="CPU ms", decimals=2),
    Measure(key="batch_ratio", title="batch : one by one", decimals=1),
)


def run(setting: Setting) -> Sequence[Result]:
    """Measure both."""
    pipelines = setting.pipelines or (QUICK_PIPELINES if setting.is_quick else PIPELINES)
    contest = Contest(
        name="W4", start=partial(_start, lab=setting.lab), take=partial(_take, pipelines=pipelines, lab=setting.lab)
    )
    ways, left_out = setting.only(
        lambda way: way.is_ordered, reason="each task is sent by itself, so there is no pipeline to enqueue"
    )
    turns = contest.run(ways, setting.rounds)
    batch = pipelines * BATCH_FACTOR
    return [
        Result(
            key="W4",
            title=f"enqueue {pipelines} pipelines of {STEPS} steps one by one, {batch:,} in a batch",
            measures=MEASURES,
            rounds=turns.rounds,
            left_out={**left_out, **turns.failures},
            failed=frozenset(turns.failures),
            notes=(
                "A chain is only sent to the broker; backout, DBOS and Absurd commit each pipeline to their database. "
                "CPU: of the process that enqueues. -: the way has no call for a batch.",
            ),
        )
    ]


@contextmanager
def _start(way: Way, *, lab: Lab) -> Iterator[tuple[Way, Feeder]]:
    with ExitStack() as stack:
        job = Job(steps=STEPS, name_of_workload="enqueue")
        feeder = start_feeder(way, lab=lab, job=job, stack=stack)
        feeder.ask("enqueue", 5)
        yield way, feeder


def _take(player: tuple[Way, Feeder], *, pipelines: int, lab: Lab) -> Figures:
    way, feeder = player
    single = feeder.ask("enqueue", pipelines)
    figures = {
        "enqueued_per_second": pipelines / single["seconds"],
        "cpu_ms_per_enqueue": single["cpu_seconds"] * 1000 / pipelines,
    }
    batch = pipelines * BATCH_FACTOR
    many = feeder.ask("enqueue_many", batch)
    if many is not None:
        figures |= {
            "enqueued_per_second_in_batch": batch / many["seconds"],
            "cpu_ms_per_enqueue_in_batch": many["cpu_seconds"] * 1000 / batch,
            "batch_ratio": batch / many["seconds"] / figures["enqueued_per_second"],
        }
    lab.clear(way)
    return figures
