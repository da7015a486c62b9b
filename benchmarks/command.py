"""How fast backout is, beside what people use today, on real servers: `make bench`, or `python -m benchmarks`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from backout.testing.servers import ServerUnavailable
from benchmarks.lab import Lab, open_lab, read_versions
from benchmarks.plot import CannotPlot, check_plot, plot
from benchmarks.processes import leave_in_order
from benchmarks.report import Report, as_json, describe, describe_result
from benchmarks.results import Better, Result
from benchmarks.rounds import Rounds, say
from benchmarks.slow_flush import CannotSlowDown
from benchmarks.ways import BACKOUT, BASELINE, WAYS, choose_ways
from benchmarks.workers import BenchmarkFailed
from benchmarks.workloads import (
    Setting,
    Workload,
    w1_short,
    w2_rollback,
    w3_long,
    w4_enqueue,
    w5_growth,
    w6_memory,
    w7_fairness,
)

WORKLOADS: Final[Mapping[str, Workload]] = {
    "W1": w1_short.run,
    "W2": w2_rollback.run,
    "W3": w3_long.run,
    "W4": w4_enqueue.run,
    "W5": w5_growth.run,
    "W6": w6_memory.run,
    "W7": w7_fairness.run,
}
QUICK_WORKLOADS: Final = ("W1", "W2")
QUICK_WAYS: Final = (BASELINE, BACKOUT)
ROUNDS: Final = 6
QUICK_ROUNDS: Final = 7
QUICK_SECONDS: Final = 20.0
"""For the rounds of one workload, on a machine that is slow or busy."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmarks and return the exit code.

    1: a server is missing, the baseline or backout did not do its work, or, with `--quick`, backout is slower than the
    baseline. 2: the command line asks for what there is not. 130: interrupted.
    """
    arguments = _read_arguments(words)
    leave_in_order()
    try:
        with open_lab(concurrency=arguments.concurrency, slow_flush_ms=arguments.slow_flush) as lab:
            report = _run(arguments, lab)
    except (BenchmarkFailed, CannotSlowDown, ServerUnavailable) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(describe(report))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(as_json(report), indent=2) + "\n")
    if arguments.plot is not None:
        plot(report, arguments.plot)
    problems = find_problems(report, is_quick=arguments.quick)
    for problem in problems:
        print(f"benchmarks: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _run(arguments: argparse.Namespace, lab: Lab) -> Report:
    ways, not_measured = choose_ways(arguments.ways)
    setting = Setting(
        lab=lab,
        ways=ways,
        rounds=Rounds(count=arguments.rounds, seconds=QUICK_SECONDS if arguments.quick else None),
        pipelines=arguments.pipelines,
        is_quick=arguments.quick,
    )
    results: list[Result] = []
    for name in arguments.only:
        for result in WORKLOADS[name](setting):
            results.append(result)
            say("so far:\n" + "\n".join(describe_result(result)))
    return Report(
        results=results,
        not_measured=not_measured,
        concurrency=arguments.concurrency,
        versions=read_versions(lab),
        slow_flush_ms=arguments.slow_flush,
    )


def find_problems(report: Report, *, is_quick: bool) -> list[str]:
    """Return why the command fails, a sentence each; see `main`."""
    problems = []
    for result in report.results:
        problems += [f"{result.key}: {name}: {result.left_out[name]}" for name in QUICK_WAYS if name in result.failed]
        if is_quick and {BASELINE, BACKOUT} <= set(result.ways):
            problems += _find_slowness(result)
    return problems


def _find_slowness(result: Result) -> list[str]:
    problems = []
    for measure in result.measures:
        ratios = result.ratios(BACKOUT, measure)
        if measure.better is Better.HIGHER and ratios and median(ratios) < 1.0:
            spread = f"{median(ratios):.2f} (median of {len(ratios)} rounds, {min(ratios):.2f} to {max(ratios):.2f})"
            problems.append(
                f"{result.key}: backout is slower than the {BASELINE}: its {measure.title} are {spread} times the "
                "chain's, and must not be below 1.00"
            )
    return problems


def _read_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").strip())
    parser.add_argument("--only", type=_list, metavar="W1,W3", help=f"workloads, of {','.join(WORKLOADS)}")
    parser.add_argument("--ways", type=_list, metavar="A,B", help="names as in the tables")
    parser.add_argument("--rounds", type=int, help=f"turns of each way (default {ROUNDS}; quick: {QUICK_ROUNDS})")
    parser.add_argument(
        "--pipelines", type=int, help="how many in a turn, where a workload has many (default: its own)"
    )
    parser.add_argument("--concurrency", type=int, default=2, help="children or processes of each way (default 2)")
    parser.add_argument(
        "--quick", action="store_true", help="W1 and W2 with the chain and backout; fails if it is slower"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to a file")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the ratios (needs matplotlib)")
    parser.add_argument(
        "--slow-flush", type=float, default=0.0, metavar="MS", help="make every flush of PostgreSQL so much slower"
    )
    arguments = parser.parse_args(words)
    arguments.rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
    arguments.only = arguments.only or (list(QUICK_WORKLOADS) if arguments.quick else list(WORKLOADS))
    arguments.ways = arguments.ways or (list(QUICK_WAYS) if arguments.quick else [way.name for way in WAYS])
    unknown = set(arguments.only) - set(WORKLOADS)
    if unknown:
        parser.error(f"no such workload: {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    try:
        choose_ways(arguments.ways)
        if arguments.plot is not None:
            check_plot(arguments.plot)
    except (ValueError, CannotPlot) as error:
        parser.error(str(error))
    return arguments


def _list(word: str) -> list[str]:
    return [part.strip() for part in word.split(",") if part.strip()]
