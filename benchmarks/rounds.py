"""The ways take turns: A B C, C B A, … because a shared machine changes its speed by a factor of two within minutes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.lab import Lab
from benchmarks.results import Figures
from benchmarks.ways import Way
from benchmarks.workers import BenchmarkFailed, Job, Worker, start_worker

Take = Callable[[Worker], Figures]
"""One turn of one worker."""


@dataclass(slots=True, kw_only=True)
class Turns:
    """What came of it; ways that failed are in no round.

    Attributes:
        rounds: in order; for each way by name what its turn gave.
        failures: for each way that did not do its work, why.
    """

    rounds: list[dict[str, Figures]] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


def take_turns(ways: Sequence[Way], take: Take, *, lab: Lab, job: Job, rounds: int, warm_up: int, what: str) -> Turns:
    """Start a worker for each way, let it run `warm_up` pipelines, and let it take its turns.

    Args:
        ways: in the order of the first round.
        take: what a turn does; its figures are kept.
        lab: the servers.
        job: what the workers must know.
        rounds: how many turns each way has.
        warm_up: how many pipelines each runs before.
        what: for the lines of progress.
    """
    turns = Turns()
    with ExitStack() as stack:
        workers = []
        for way in ways:
            say(f"{what}: starting {way.name}")
            try:
                worker = stack.enter_context(start_worker(way, lab=lab, job=job))
                worker.warm_up(warm_up)
            except BenchmarkFailed as error:
                _note_failure(turns, way, error)
            else:
                workers.append(worker)
        for number in range(rounds):
            turns.rounds.append({})
            for worker in workers if number % 2 == 0 else reversed(workers):
                _take_turn(turns, worker, take, what=f"{what}: round {number + 1} of {rounds}")
    measured = [way.name for way in ways if way.name not in turns.failures]
    turns.rounds = [{name: figures[name] for name in measured} for figures in turns.rounds]
    return turns


def say(what: str) -> None:
    """Print one line of progress."""
    print(f"{time.strftime('%H:%M:%S')}  {what}", file=sys.stderr, flush=True)


def _take_turn(turns: Turns, worker: Worker, take: Take, *, what: str) -> None:
    if worker.way.name in turns.failures:
        return
    try:
        figures = take(worker)
    except BenchmarkFailed as error:
        _note_failure(turns, worker.way, error)
        return
    turns.rounds[-1][worker.way.name] = figures
    say(f"{what}: {worker.way.name}: " + ", ".join(f"{key} {value:,.1f}" for key, value in figures.items()))


def _note_failure(turns: Turns, way: Way, error: BenchmarkFailed) -> None:
    say(f"FAILED: {error}")
    turns.failures[way.name] = "it failed: " + str(error).partition("\n")[0].removeprefix(f"{way.name}: ")
