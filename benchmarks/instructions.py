"""How many instructions a step takes in the worker, which noise does not change: `python -m benchmarks.instructions`.

A worker with one prefork child runs a few pipelines, and another one more of them, under `perf stat` or, where the
processor's counters cannot be read (most virtual machines), under valgrind's callgrind, which is some 50 times slower.
The difference of the two, by the steps that make it, is the figure: what starting costs is not in it. Not with a solo
pool, where Celery's database backend makes an engine for every result.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backout.testing.servers import ServerUnavailable
from benchmarks.lab import Lab, open_lab
from benchmarks.processes import leave_in_order
from benchmarks.rounds import say
from benchmarks.ways import BACKOUT, BASELINE, Way, choose_ways
from benchmarks.workers import BenchmarkFailed, Job, Manner, start_worker

STEPS: Final = 5
FEW: Final = 5
MANY: Final = 25
START_SECONDS: Final = 300.0
EVENT: Final = "instructions:u"
DEFAULT_WAYS: Final = (BASELINE, BACKOUT, "backout no bursts")
COLLECTED: Final = re.compile(r"Collected : (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """What counts instructions.

    Attributes:
        name: for people.
        command: put before the command that is counted.
        pattern: finds the number, or one for each process, in what is printed.
    """

    name: str
    command: Sequence[str]
    pattern: re.Pattern[str]


def main(words: Sequence[str] | None = None) -> int:
    """Count and print; returns 1 where nothing can count here, or a worker fails."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.instructions", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--ways", default=",".join(DEFAULT_WAYS), metavar="A,B", help="Celery's, by their names in the tables"
    )
    arguments = parser.parse_args(words)
    leave_in_order()
    counter = find_counter()
    if counter is None:
        print("benchmarks: neither `perf stat` can read instructions here, nor is valgrind installed", file=sys.stderr)
        return 1
    try:
        ways, not_measured = choose_ways(arguments.ways.split(","))
        with open_lab(concurrency=1) as lab:
            counts = {way.name: count_per_step(way, lab=lab, counter=counter) for way in ways if way.uses_celery}
    except (BenchmarkFailed, ServerUnavailable, ValueError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    base = counts.get(BASELINE)
    print(f"instructions per step in the worker (one prefork child, without sweeper), counted by {counter.name}")
    for name, count in counts.items():
        print(f"{name:<22} {count:>14,.0f}" + (f"   {count / base:.2f} of the {BASELINE}" if base else ""))
    for name, reason in not_measured.items():
        print(f"{name}: not measured: {reason}")
    return 0


def find_counter() -> Counter | None:
    """Return the fastest that works here; `None` if nothing does."""
    perf, valgrind = shutil.which("perf"), shutil.which("valgrind")
    if perf is not None:
        command = [perf, "stat", "-x", ",", "-e", EVENT]
        pattern = re.compile(rf"^(\d+),[^,]*,{EVENT}", re.MULTILINE)
        tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        if pattern.search(tried.stderr):
            return Counter(name="perf stat", command=command, pattern=pattern)
    if valgrind is not None:
        options = ["--tool=callgrind", "--callgrind-out-file=/dev/null"]
        return Counter(name="valgrind", command=[valgrind, *options], pattern=COLLECTED)
    return None


def count_per_step(way: Way, *, lab: Lab, counter: Counter) -> float:
    """Return how many instructions one more step takes."""
    few, many = (_count(way, lab=lab, counter=counter, pipelines=pipelines) for pipelines in (FEW, MANY))
    count = (many - few) / ((MANY - FEW) * STEPS)
    say(f"{way.name}: {count:,.0f} instructions per step")
    return count


def _count(way: Way, *, lab: Lab, counter: Counter, pipelines: int) -> int:
    say(f"{way.name}: {pipelines} pipelines under {counter.name}")
    manner = Manner(prefix=counter.command, start_seconds=START_SECONDS, has_sweeper=False)
    job = Job(steps=STEPS, name_of_workload=f"instructions_{pipelines}")
    with start_worker(way, lab=lab, job=job, manner=manner) as worker:
        worker.run_pipelines(pipelines)
        log: Path = worker.groups[0].log
    # The counter says what it has counted when the worker has ended.
    printed = log.read_text(errors="replace")
    found = counter.pattern.findall(printed)
    if not found:
        raise BenchmarkFailed(f"{way.name}: {counter.name} has counted nothing\n{printed[-2000:]}")
    return sum(map(int, found))


if __name__ == "__main__":
    sys.exit(main())
