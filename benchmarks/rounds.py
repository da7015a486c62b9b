"""The ways take turns: A B C, C B A, … because a shared machine changes its speed by a factor of two within minutes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Generic, TypeVar

from benchmarks.lab import Lab
from benchmarks.results import Figures
from benchmarks.ways import Way
from benchmarks.workers import BenchmarkFailed, Job, Worker, start_worker

T = TypeVar("T")

FEWEST_ROUNDS: Final = 3
"""Even when there is no time left: a median of less says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """How often everybody has a turn.

    Attributes:
        count: at most.
        seconds: no round begins later than so long after the first one began, but for the first `FEWEST_ROUNDS`;
            `None`: however long it takes.
    """

    count: int
    seconds: float | None = None


@dataclass(slots=True, kw_only=True)
class Turns:
    """What came of it; ways that failed are in no round.

    Attributes:
        rounds: in order; for each way by name what its turn gave.
        failures: for each way that did not do its work, why.
    """

    rounds: list[dict[str, Figures]] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def note_failure(self, way: Way, error: BenchmarkFailed) -> None:
        """Leave the way out from now on."""
        say(f"FAILED: {error}")
        self.failures[way.name] = "it failed: " + str(error).partition("\n")[0].removeprefix(f"{way.name}: ")


@dataclass(frozen=True, kw_only=True)
class Contest(Generic[T]):
    """What the ways do in their turns.

    Attributes:
        name: for the lines of progress.
        start: makes a way ready for its turns, until the end of the block.
        take: one turn of what was made ready; its figures are kept.
    """

    name: str
    start: Callable[[Way], AbstractContextManager[T]]
    take: Callable[[T], Figures]

    def run(self, ways: Sequence[Way], rounds: Rounds) -> Turns:
        """Let the ways take their turns; those that fail are left out from then on."""
        turns = Turns()
        with ExitStack() as stack:
            players: list[tuple[Way, T]] = []
            for way in ways:
                say(f"{self.name}: starting {way.name}")
                try:
                    players.append((way, stack.enter_context(self.start(way))))
                except BenchmarkFailed as error:
                    turns.note_failure(way, error)
            for number in _numbers(rounds):
                turns.rounds.append({})
                for player in players if number % 2 == 0 else reversed(players):
                    self._take_turn(turns, *player)
        measured = [way.name for way in ways if way.name not in turns.failures]
        turns.rounds = [{name: figures[name] for name in measured} for figures in turns.rounds]
        return turns

    def _take_turn(self, turns: Turns, way: Way, player: T) -> None:
        if way.name in turns.failures:
            return
        try:
            figures = turns.rounds[-1][way.name] = self.take(player)
        except BenchmarkFailed as error:
            turns.note_failure(way, error)
        else:
            listed = ", ".join(f"{key} {value:,.1f}" for key, value in figures.items())
            say(f"{self.name}: round {len(turns.rounds)}: {way.name}: {listed}")


def ready_worker(lab: Lab, job: Job, *, warm_up: int) -> Callable[[Way], AbstractContextManager[Worker]]:
    """Return what starts a worker and lets it run some pipelines before its first turn."""
    return partial(_start_warm, lab=lab, job=job, warm_up=warm_up)


@contextmanager
def _start_warm(way: Way, *, lab: Lab, job: Job, warm_up: int) -> Iterator[Worker]:
    with start_worker(way, lab=lab, job=job) as worker:
        worker.warm_up(warm_up)
        yield worker


def _numbers(rounds: Rounds) -> Iterator[int]:
    started = time.monotonic()
    for number in range(rounds.count):
        if number >= FEWEST_ROUNDS and rounds.seconds is not None and time.monotonic() - started > rounds.seconds:
            return
        yield number


def say(what: str) -> None:
    """Print one line of progress."""
    print(f"{time.strftime('%H:%M:%S')}  {what}", file=sys.stderr, flush=True)
