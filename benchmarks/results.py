"""What was measured: figures of each way in each round, and what is computed from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from benchmarks.ways import BASELINE

Figures = Mapping[str, float]
"""By the key of the measure."""


class Better(StrEnum):
    """Which figures are good; a ratio is always above 1 for what is better than the baseline."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One column.

    Attributes:
        key: in the JSON, with the unit.
        title: in the table, with the unit.
        better: `None`: no ratio is shown.
    """

    key: str
    title: str
    decimals: int = 0
    better: Better | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One workload.

    Attributes:
        key: for example `W1`.
        title: what was done.
        rounds: in order; for each way by name its figures in that round.
        left_out: for each way that was not measured, why.
        failed: the names of those among them that did not do their work.
        notes: what one must know to read it.
    """

    key: str
    title: str
    measures: Sequence[Measure]
    rounds: Sequence[Mapping[str, Figures]]
    left_out: Mapping[str, str] = field(default_factory=dict)
    failed: frozenset[str] = frozenset()
    notes: Sequence[str] = ()

    @property
    def ways(self) -> tuple[str, ...]:
        """Return the names of the ways that were measured in all rounds."""
        return tuple(self.rounds[0]) if self.rounds else ()

    def values(self, way: str, measure: Measure) -> list[float]:
        """Return the figures of all rounds, in order."""
        return [figures[way][measure.key] for figures in self.rounds if measure.key in figures[way]]

    def ratios(self, way: str, measure: Measure) -> list[float]:
        """Return by how much the way was better than the baseline in each round; empty where nothing compares them."""
        if measure.better is None or BASELINE not in self.ways:
            return []
        pairs = [
            (figures[way][measure.key], figures[BASELINE][measure.key])
            for figures in self.rounds
            if measure.key in figures[way] and measure.key in figures[BASELINE]
        ]
        if measure.better is Better.LOWER:
            return [base / own for own, base in pairs if own]
        return [own / base for own, base in pairs if base]


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
