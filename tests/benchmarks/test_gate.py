"""What `--quick` lets pass, on figures that nobody had to measure."""

import pytest

from benchmarks.command import find_problems
from benchmarks.report import Report, describe
from benchmarks.results import Better, Figures, Measure, Result

SPEED = Measure(key="speed", title="steps/s", better=Better.HIGHER)
TIME = Measure(key="ms", title="ms", better=Better.LOWER)


def make_report(*backout: float, chain: float = 100.0, left_out: dict[str, str] | None = None) -> Report:
    rounds: list[dict[str, Figures]] = [
        {"celery chain": {"speed": chain, "ms": chain}, "backout": {"speed": speed, "ms": speed}} for speed in backout
    ]
    failed = left_out or {}
    result = Result(
        key="W1",
        title="pipelines",
        measures=(SPEED, TIME),
        rounds=rounds,
        left_out=failed,
        failed=frozenset(failed),
    )
    return Report(results=[result], not_measured={}, concurrency=2, versions={})


def test_backout_slower_in_most_rounds_is_a_problem_in_words() -> None:
    """The sentence says how much slower, in how many rounds, and which workload."""
    problems = find_problems(make_report(90.0, 80.0, 120.0), is_quick=True)
    assert len(problems) == 1
    assert problems[0].startswith(
        "W1: backout is slower than the celery chain: its steps/s are 0.90 (median of 3 rounds"
    )


@pytest.mark.parametrize("speeds", [(100.0,), (90.0, 110.0, 120.0)])
def test_backout_as_fast_in_most_rounds_is_no_problem(speeds: tuple[float, ...]) -> None:
    """One bad round of a busy machine fails nobody's build."""
    assert find_problems(make_report(*speeds), is_quick=True) == []


def test_slower_backout_is_no_problem_of_a_full_run() -> None:
    """Who asks for tables gets tables."""
    assert find_problems(make_report(50.0), is_quick=False) == []


def test_way_that_does_not_do_its_work_is_a_problem_always() -> None:
    """Without the baseline or backout there is nothing to compare, and nobody may take that for a success."""
    problems = find_problems(make_report(left_out={"backout": "it failed: no worker"}), is_quick=False)
    assert problems == ["W1: backout: it failed: no worker"]


def test_ratio_is_above_one_for_what_is_better() -> None:
    """More steps a second and fewer milliseconds are both better."""
    result = make_report(200.0).results[0]
    assert result.ratios("backout", SPEED) == [2.0]
    assert result.ratios("backout", TIME) == [0.5]


def test_table_shows_medians_with_their_spread() -> None:
    """A reader sees how noisy the machine was."""
    assert "200 (150..400)" in describe(make_report(150.0, 200.0, 400.0))
