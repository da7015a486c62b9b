"""The benchmarks run on real servers and say what a reader needs; how fast anything is, is not tested."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WAYS = ("celery chain", "celery tasks", "backout")


def run_benchmarks(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_failing_pipelines_are_compared_with_the_chain_on_every_way(tmp_path: Path) -> None:
    """One short round does the work of each way, prints a line for it, and writes the same figures as JSON."""
    written = tmp_path / "figures.json"
    words = ["--only", "W2", "--ways", ",".join(WAYS), "--rounds", "1", "--pipelines", "4", "--json", str(written)]
    done = run_benchmarks(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(written.read_text())
    assert figures["workloads"].keys() == {"W2"}
    assert tuple(figures["workloads"]["W2"]["ways"]) == ("celery chain", "backout")
    for name, way in figures["workloads"]["W2"]["ways"].items():
        assert [line for line in done.stdout.splitlines() if line.startswith(f"{name} ")], done.stdout
        assert way["median"]["pipelines_per_second"] > 0
    assert figures["workloads"]["W2"]["ways"]["celery chain"]["ratios"]["pipelines_per_second"] == [1.0]
    assert "celery tasks: left out: tasks alone know of no pipeline to undo" in done.stdout
    assert {"celery", "sqlalchemy", "psycopg", "broker", "database"} <= figures["versions"].keys()
    assert "fsync=on, synchronous_commit=on" in figures["versions"]["database"]


def test_unknown_names_are_refused_with_those_there_are() -> None:
    """A misspelt way or workload ends the command before anything is started, and says what there is."""
    misspelt_way = run_benchmarks("--ways", "celery,backout")
    assert misspelt_way.returncode == 2
    assert "no such way: celery; there are 'celery chain'" in misspelt_way.stderr
    misspelt_workload = run_benchmarks("--only", "W99")
    assert misspelt_workload.returncode == 2
    assert "no such workload: W99; there are W1" in misspelt_workload.stderr
