"""The benchmarks run on real servers and say what a reader needs; how fast anything is, is not tested."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WAYS = {"celery chain", "backout", "backout on SQLite"}


def test_steps_benchmark_compares_all_ways_with_the_chain(tmp_path: Path) -> None:
    """One short round does the work of each way, prints a line for it, and writes the same figures as JSON."""
    written = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--rounds", "1", "--pipelines", "4"]
    done = subprocess.run([*command, "--json", str(written)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    table = done.stdout.partition("steps/s  ")[2].splitlines()
    figures = json.loads(written.read_text())
    assert set(figures["ways"]) == WAYS
    for name, way in figures["ways"].items():
        assert [line for line in table if line.startswith(name)], done.stdout
        assert way["median"].keys() == {
            "steps_per_second",
            "ratio",
            "worker_cpu_ms_per_step",
            "database_cpu_ms_per_step",
        }
        assert all(len(way[measure]) == 1 for measure in way["median"])
        assert way["median"]["steps_per_second"] > 0
    assert figures["ways"][figures["baseline"]]["ratio"] == [1.0]
    assert {"celery", "sqlalchemy", "psycopg", "broker", "database"} <= figures["versions"].keys()
    assert "fsync=on, synchronous_commit=on" in figures["versions"]["database"]
