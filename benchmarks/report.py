"""Medians, spreads and ratios of a measurement, for people and as JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from benchmarks.apps import STEPS
from benchmarks.workers import Measurement

BASELINE: Final = "celery chain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that was measured.

    Attributes:
        rounds: in order; for each way by name what it did in that round.
        versions: of everything that was used, by name.
    """

    rounds: Sequence[Mapping[str, Measurement]]
    pipelines: int
    concurrency: int
    versions: Mapping[str, str]


def describe(report: Report) -> str:
    """Return the table and what one must know to read it."""
    lines = [
        f"{'':<18} {'steps/s':>8} {'(min..max)':>14}   {'ratio':>5} {'(min..max)':>14}   {'CPU ms/step: workers':>20}"
        f" {'PostgreSQL':>10}"
    ]
    for name, figures in _figures(report).items():
        speeds, ratios = figures["steps_per_second"], figures["ratio"]
        lines.append(
            f"{name:<18} {median(speeds):8.0f} {_spread(speeds, 0):>14}   {median(ratios):5.2f}"
            f" {_spread(ratios, 2):>14}   {median(figures['worker_cpu_ms_per_step']):20.2f}"
            f" {median(figures['database_cpu_ms_per_step']):10.2f}"
        )
    lines += [
        "",
        f"{len(report.rounds)} rounds in turns of {report.pipelines} pipelines of {STEPS} steps, prefork with "
        f"{report.concurrency} children each, on {os.cpu_count()} processors.",
        f"Ratio: steps/s of a way by steps/s of the {BASELINE} (late acknowledgement, database result backend) in the "
        "same round, median of the rounds.",
        "CPU: backout's sweeper is one of the worker's processes. Enqueueing is not timed.",
        "Used: " + ", ".join(f"{name} {value}" for name, value in report.versions.items()) + ".",
    ]
    return "\n".join(lines)


def as_json(report: Report) -> dict[str, Any]:
    """Return all figures: for each way a list with one number for each round, and the medians."""
    return {
        "baseline": BASELINE,
        "steps_per_pipeline": STEPS,
        "pipelines_per_round": report.pipelines,
        "concurrency": report.concurrency,
        "processors": os.cpu_count(),
        "versions": dict(report.versions),
        "ways": {
            name: {**figures, "median": {key: median(values) for key, values in figures.items()}}
            for name, figures in _figures(report).items()
        },
    }


def _figures(report: Report) -> dict[str, dict[str, list[float]]]:
    figures: dict[str, dict[str, list[float]]] = {}
    for name in report.rounds[0]:
        measured = [measurements[name] for measurements in report.rounds]
        baseline = [measurements[BASELINE] for measurements in report.rounds]
        figures[name] = {
            "steps_per_second": [own.steps_per_second for own in measured],
            "ratio": [
                own.steps_per_second / other.steps_per_second for own, other in zip(measured, baseline, strict=True)
            ],
            "worker_cpu_ms_per_step": [own.worker_cpu_ms_per_step for own in measured],
            "database_cpu_ms_per_step": [own.database_cpu_ms_per_step for own in measured],
        }
    return figures


def _spread(values: Sequence[float], decimals: int) -> str:
    return f"({min(values):.{decimals}f}..{max(values):.{decimals}f})"
