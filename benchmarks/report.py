"""Results as tables for people and as JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from textwrap import fill
from typing import Any, Final

from benchmarks.results import Measure, Result
from benchmarks.ways import BASELINE

NO_FIGURE: Final = "-"
GAP: Final = "   "
WIDTH: Final = 120
"""Of text; a table may be wider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that was measured.

    Attributes:
        not_measured: for each way that could not be measured here at all, why.
        versions: of everything that was used, by name.
        slow_flush_ms: by how much each flush of the database was made slower; 0: not at all.
    """

    results: Sequence[Result]
    not_measured: Mapping[str, str]
    concurrency: int
    versions: Mapping[str, str]
    slow_flush_ms: float = 0.0


def describe(report: Report) -> str:
    """Return the tables and what one must know to read them."""
    lines: list[str] = []
    for result in report.results:
        lines += [*describe_result(result), ""]
    return "\n".join([*lines, *(fill(sentence, WIDTH) for sentence in _sentences(report))])


def _sentences(report: Report) -> list[str]:
    lines = [f"Not measured here: {name}: {reason}." for name, reason in report.not_measured.items()]
    lines += [
        f"Ratios are to the {BASELINE} (late acknowledgement, database result backend) in the same round, above 1 is "
        "better; all figures are medians of the rounds, (min..max) in brackets. Only ratios inside a round mean much.",
        f"{report.concurrency} prefork children or processes for each way, {os.cpu_count()} processors. Ways that wait "
        "for their turn are paused.",
        "Used: " + ", ".join(f"{name} {value}" for name, value in report.versions.items()) + ".",
    ]
    if report.slow_flush_ms:
        lines.append(f"EVERY FLUSH OF POSTGRESQL WAS MADE {report.slow_flush_ms:g} MS SLOWER, as on a network disk.")
    return lines


def describe_result(result: Result) -> list[str]:
    """Return the lines of one table."""
    table = [["", *(title for measure in result.measures for title in _titles(result, measure))]]
    for way in result.ways:
        table.append([way, *(cell for measure in result.measures for cell in _cells(result, way, measure))])
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = [f"{result.key}  {result.title} ({len(result.rounds)} rounds)"]
    for row in table:
        first, *others = (
            cell.ljust(widths[0]) if not column else cell.rjust(widths[column]) for column, cell in enumerate(row)
        )
        lines.append(GAP.join([first, *others]).rstrip())
    lines += [f"{name}: left out: {reason}" for name, reason in result.left_out.items()]
    return [*lines, *(fill(note, WIDTH) for note in result.notes)]


def as_json(report: Report) -> dict[str, Any]:
    """Return all figures: for each way and measure a list with one number for each round, and the medians."""
    return {
        "baseline": BASELINE,
        "concurrency": report.concurrency,
        "processors": os.cpu_count(),
        "slow_flush_ms": report.slow_flush_ms,
        "versions": dict(report.versions),
        "not_measured": dict(report.not_measured),
        "workloads": {result.key: _result_as_json(result) for result in report.results},
    }


def _result_as_json(result: Result) -> dict[str, Any]:
    ways: dict[str, Any] = {}
    for way in result.ways:
        rounds = {measure.key: result.values(way, measure) for measure in result.measures}
        ratios = {measure.key: values for measure in result.measures if (values := result.ratios(way, measure))}
        ways[way] = {
            "rounds": rounds,
            "ratios": ratios,
            "median": {key: median(values) for key, values in rounds.items() if values},
            "median_ratio": {key: median(values) for key, values in ratios.items()},
        }
    return {
        "title": result.title,
        "measures": {measure.key: measure.title for measure in result.measures},
        "ways": ways,
        "left_out": dict(result.left_out),
        "notes": list(result.notes),
    }


def _titles(result: Result, measure: Measure) -> list[str]:
    return [measure.title, *(["ratio"] if _has_ratio(result, measure) else [])]


def _cells(result: Result, way: str, measure: Measure) -> list[str]:
    cells = [_spread(result.values(way, measure), measure.decimals)]
    return [*cells, _spread(result.ratios(way, measure), 2)] if _has_ratio(result, measure) else cells


def _has_ratio(result: Result, measure: Measure) -> bool:
    return measure.better is not None and BASELINE in result.ways


def _spread(values: Sequence[float], decimals: int) -> str:
    if not values:
        return NO_FIGURE
    middle = f"{median(values):,.{decimals}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.{decimals}f}..{max(values):,.{decimals}f})"
