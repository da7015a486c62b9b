"""The workloads, one per module: `run(setting)` measures and returns its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.lab import Lab
from benchmarks.results import Result
from benchmarks.rounds import Rounds
from benchmarks.ways import Way


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a workload is measured with.

    Attributes:
        ways: those that can be measured here.
        rounds: how many turns each way has.
        pipelines: how many in a turn; `None`: as many as the workload has by itself.
        is_quick: as little as still shows who is faster.
    """

    lab: Lab
    ways: Sequence[Way]
    rounds: Rounds
    pipelines: int | None
    is_quick: bool

    def only(self, accepts: Callable[[Way], bool], *, reason: str) -> tuple[tuple[Way, ...], Mapping[str, str]]:
        """Return the ways that can do a workload, and for each of the others the reason why it cannot."""
        chosen = tuple(way for way in self.ways if accepts(way))
        return chosen, {way.name: reason for way in self.ways if way not in chosen}

    def at_most(self, rounds: int) -> Rounds:
        """Return the rounds of a workload whose turns take long."""
        return Rounds(count=min(self.rounds.count, rounds), seconds=self.rounds.seconds)


Workload = Callable[[Setting], Sequence[Result]]
