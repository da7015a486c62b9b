"""`backout runs enqueue`: a run for each line of a file, and what is said of lines that cannot be used."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from backout.cli.main import backout
from backout.ledger import queries
from backout.ledger.records import RunRecord
from backout.ledger.session import Ledger
from tests.support.commands import call
from tests.support.terminal import Terminal

SHIP = """
from pydantic import BaseModel
from backout import Pipeline, step

class Parcel(BaseModel):
    number: int
    to: str = "Ada"

@step(keep="it does no harm")
def send(parcel: Parcel) -> str: ...

ship = Pipeline("{name}", [send])
"""
PROJECT = """
from celery import Celery

app = Celery("{name}", broker="{broker}")
app.conf.imports = ["{name}_shop"]
app.conf.backout_database_url = {url!r}
"""
LINES = b"""{"number": 1}
{"number": "two"}

{"number": 3, "to": "Bob"}
not json
{"number": 1}
"""


@pytest.fixture
def project(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a Celery project in the working directory, with a pipeline of the same name and a ledger."""
    name = f"ship_{os.urandom(4).hex()}"
    (tmp_path / f"{name}.py").write_text(PROJECT.format(name=name, url=sqlite_url, broker="memory://"))
    (tmp_path / f"{name}_shop.py").write_text(SHIP.format(name=name))
    (tmp_path / "lines.jsonl").write_bytes(LINES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert call("--app", name, "ledger", "upgrade").exit_code == 0
    return name


def enqueue(project: str, *options: str) -> Result:
    return call("--app", project, "runs", "enqueue", project, *options)


def runs(url: str) -> list[RunRecord]:
    ledger = Ledger(url)
    found = ledger.read(queries.list_runs)
    ledger.dispose()
    return found


def test_each_line_is_a_run(project: str, sqlite_url: str, tmp_path: Path) -> None:
    """Where all lines can be used, the exit code is 0."""
    (tmp_path / "good.jsonl").write_text('{"number": 1}\n{"number": 2}')
    result = enqueue(project, "--from-file", "good.jsonl")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"✓ 2 runs of {project} enqueued.\n"
    inputs = [run.input for run in runs(sqlite_url)]
    assert all({"number": number, "to": "Ada"} in inputs for number in (1, 2))


def test_lines_that_cannot_be_used_are_named(project: str, sqlite_url: str) -> None:
    """With the number of the line and why; the others are enqueued, and the exit code is 1."""
    result = enqueue(project, "--from-file", "lines.jsonl")
    assert result.exit_code == 1
    said = result.stdout.splitlines()
    assert said[0] == f"✓ 3 runs of {project} enqueued."
    assert said[1] == "✗ 2 lines refused:"
    assert said[2].startswith("  line 2: number: Input should be a valid integer")
    assert said[3].startswith("  line 5: it is no JSON")
    assert len(runs(sqlite_url)) == 3


def test_many_refused_lines_are_counted(project: str, tmp_path: Path) -> None:
    """A person is not shown a thousand of them."""
    (tmp_path / "bad.jsonl").write_text("no\n" * 25)
    result = enqueue(project, "--from-file", "bad.jsonl")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "  … and 5 more; --json names all of them."


def test_programs_are_told_of_each_line(project: str, sqlite_url: str) -> None:
    """One JSON document for each line of the file, in order, and a summary."""
    result = enqueue(project, "--from-file", "lines.jsonl", "--json", "--event-field", "number")
    said: list[dict[str, Any]] = [json.loads(line) for line in result.stdout.splitlines()]
    ids = {run.source_event_id: run.id for run in runs(sqlite_url)}
    assert ids.keys() == {"1", "3"}
    assert [document.get("run_id") for document in said] == [ids["1"], None, ids["3"], None, ids["1"], None]
    assert [document.get("line") for document in said] == [1, 2, 4, 5, 6, None]
    assert [document.get("code") for document in said[:5]] == [None, "invalid_input", None, "unreadable_line", None]
    assert [document.get("created") for document in said[:5]] == [True, None, True, None, False]
    assert said[-1] == {"summary": {"lines": 5, "enqueued": 3, "created": 2, "refused": 2, "unsent": 0}}
    assert result.exit_code == 1


def test_file_may_be_given_again(project: str, sqlite_url: str) -> None:
    """R9: with the field of the source event, nothing is enqueued twice."""
    options = ("--from-file", "lines.jsonl", "--event-field", "number")
    assert enqueue(project, *options).stdout.startswith(f"✓ 2 runs of {project} enqueued; 1 was there already for")
    assert enqueue(project, *options).stdout.startswith(f"✓ 0 runs of {project} enqueued; 3 were there already for")
    assert len(runs(sqlite_url)) == 2


def test_line_without_its_event_is_refused(project: str, sqlite_url: str, tmp_path: Path) -> None:
    """A run that could be doubled is not made where source events are asked for."""
    (tmp_path / "without.jsonl").write_text('{"number": 1}\n[1]\n{"number": 1, "form": true}')
    result = enqueue(project, "--from-file", "without.jsonl", "--event-field", "form")
    assert result.exit_code == 1
    assert "line 1: source_event_id must be text" in result.stdout
    assert runs(sqlite_url) == []


def test_standard_input_is_read(project: str, sqlite_url: str) -> None:
    """With `-` in place of a file."""
    arguments = ["--app", project, "runs", "enqueue", project, "--from-file", "-"]
    result = CliRunner().invoke(backout, arguments, input=LINES, env={"BACKOUT_DATABASE_URL": None})
    assert result.exit_code == 1
    assert len(runs(sqlite_url)) == 3


def test_person_at_a_terminal_is_told_the_same(project: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a bar meanwhile, of which nothing stays."""
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    arguments = ("--app", project, "runs", "enqueue", project, "--from-file", str(tmp_path / "lines.jsonl"))
    with Terminal(*arguments) as terminal:
        terminal.wait_for(f"✓ 3 runs of {project} enqueued. ✗ 2 lines refused:")


@pytest.mark.parametrize(
    ("options", "exit_code", "said"),
    [
        ([], 2, "Missing option '--from-file'"),
        (["--from-file", "nowhere.jsonl"], 2, "No such file"),
        (["--module", "no_such_module", "--from-file", "lines.jsonl"], 2, "no_such_module"),
    ],
)
def test_wrong_usage_is_told(project: str, options: list[str], exit_code: int, said: str) -> None:
    """Before anything is enqueued."""
    result = enqueue(project, *options)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert said in result.stderr


def test_unknown_pipeline_is_told(project: str) -> None:
    """With the names that there are."""
    result = call("--app", project, "runs", "enqueue", "no_such", "--from-file", "lines.jsonl", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stderr)["error"]["code"] == "unknown_pipeline"


def test_without_an_app_the_sweeper_sends(project: str, sqlite_url: str, tmp_path: Path) -> None:
    """A ledger and a module are enough to record; the workers' sweeper finds what is due."""
    arguments = ("runs", "enqueue", project, "--module", f"{project}_shop", "--from-file", "lines.jsonl")
    result = call(*arguments, url=sqlite_url)
    assert "3 messages of 3 not sent. Recorded; the workers' sweeper sends it within" in " ".join(result.stdout.split())
    assert len(runs(sqlite_url)) == 3


def test_help_names_what_is_written(project: str) -> None:
    """The shape of the JSON is documented where it is asked for."""
    assert '{"line", "run_id", "created"}' in " ".join(call("runs", "enqueue", "--help").stdout.split())
