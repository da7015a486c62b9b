"""How commands find their ledger and their pipelines, and what goes wrong; `backout check`; help and completion."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from backout.cli.main import backout
from tests.support.commands import call, read_json

ROOT = Path(__file__).parents[2]
SHOP = """
from backout import Pipeline, step

@step(effect="read")
def look(order: str) -> str: ...

@step(keep="it does no harm")
def note(order: str) -> str: ...

{name}_safe = Pipeline("{name}_safe", [look])
{name}_doubtful = Pipeline("{name}_doubtful", [look, note])
"""
PROJECT = """
from celery import Celery

app = Celery("{name}", broker="memory://")
app.conf.imports = ["{name}_shop"]
app.conf.backout_database_url = {url!r}
"""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "celery -A proj backout"),
        (["--database", "sqlite:////nowhere/at/all.sqlite3"], "unable to open database file"),
        (["--database", "postgresql+psycopg://user:secret@127.0.0.1:1/none"], "127.0.0.1"),
        (["--database", "not a url"], "postgresql+psycopg://"),
        (["--app", "no_such_project"], "No module named 'no_such_project'"),
        (["--app", "json:dumps"], "no Celery app"),
    ],
    ids=["none", "no file", "no server", "no url", "no module", "no app"],
)
def test_ledger_that_cannot_be_found_is_one_clear_message(options: list[str], said: str) -> None:
    """What is wrong and what to give, without a traceback and without a password."""
    result = call(*options, "runs", "list")
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "secret" not in result.stderr


@pytest.fixture
def project(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a Celery project in the working directory, with pipelines and a ledger."""
    name = f"project_{os.urandom(4).hex()}"
    (tmp_path / f"{name}.py").write_text(PROJECT.format(name=name, url=sqlite_url))
    (tmp_path / f"{name}_shop.py").write_text(SHOP.format(name=name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_ledger_of_the_app_is_used(project: str) -> None:
    """`backout --app proj` needs no URL."""
    assert call("--app", project, "ledger", "upgrade").exit_code == 0
    assert call("--app", project, "runs", "list").exit_code == 0
    assert call("runs", "list", BACKOUT_APP=project).exit_code == 0


def test_celery_finds_the_commands(project: str, tmp_path: Path) -> None:
    """`celery -A proj backout …` uses the app that Celery has found."""
    registering = "import sys; from celery.bin.celery import celery; from backout.cli.main import backout; "
    running = "celery.add_command(backout); celery(auto_envvar_prefix='CELERY')"
    upgraded = subprocess.run(
        [sys.executable, "-c", registering + running, "-A", project, "backout", "ledger", "upgrade", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert upgraded.returncode == 0, upgraded.stderr
    assert json.loads(upgraded.stdout)["changed"] is True


# check


def test_sweeper_knows_the_pipelines_and_receivers_of_the_project(project: str, tmp_path: Path) -> None:
    """It imports what a worker imports: a step that it did not know would in the end be handed to a person."""
    assert call("--app", project, "ledger", "upgrade").exit_code == 0
    shop = tmp_path / f"{project}_shop.py"
    shop.write_text(f"{shop.read_text()}\nprint('the pipelines are here')\n")
    swept = subprocess.run(
        [sys.executable, "-m", "backout.cli", "--app", project, "sweep", "--once"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert swept.returncode == 0, swept.stderr
    assert "the pipelines are here" in swept.stdout


def test_check_shows_contracts_with_warnings(project: str) -> None:
    """Warnings alone are no failure, unless one asks for it."""
    result = call("--app", project, "check", f"{project}_doubtful")
    assert result.exit_code == 0
    assert "stays: it does no harm" in result.stdout
    assert "! note: an attempt that is cut off in the middle will ask a person" in result.stdout
    assert call("--app", project, "check", "--strict", f"{project}_doubtful").exit_code == 1
    assert call("--app", project, "check", "--strict", f"{project}_safe").exit_code == 0


def test_check_json_holds_the_contracts(project: str) -> None:
    """The shape is documented and stable."""
    names = (f"{project}_safe", f"{project}_doubtful")
    document = read_json(call("check", "--module", f"{project}_shop", *names, "--json"))
    assert document["ok"] is False
    assert [pipeline["name"] for pipeline in document["pipelines"]] == list(names)
    assert document["pipelines"][0]["steps"][0]["effect"] == "read"
    assert document["pipelines"][1]["warnings"][0]["code"] == "doubt_asks_person"


def test_check_of_an_unknown_pipeline_is_not_found(project: str) -> None:
    """With the names that there are."""
    result = call("--app", project, "check", "nothing")
    assert result.exit_code == 3
    assert f"{project}_safe" in result.stderr


def test_check_needs_to_know_where_pipelines_are() -> None:
    """It imports nothing by guessing."""
    result = call("check")
    assert result.exit_code == 2
    assert "--module" in result.stderr


def test_pipeline_that_may_not_be_defined_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal says what to write, without a traceback."""
    name = f"broken_{os.urandom(4).hex()}"
    definition = "from backout import Pipeline, step\n"
    (tmp_path / f"{name}.py").write_text(
        f"{definition}\n@step\ndef pay(order: str) -> str: ...\n\nPipeline('p', [pay])"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    result = call("check", "--module", name)
    assert result.exit_code == 1
    assert "it names no recovery action" in result.stderr


# contract


@pytest.mark.parametrize(
    ("form", "beginning"),
    [
        ("table", "{name}\n  2 steps;"),
        ("markdown", "# {name}\n"),
        ("mermaid", "flowchart TD\n"),
        ("json", '{{\n  "name": "{name}"'),
        ("html", "<!DOCTYPE html>\n"),
    ],
)
def test_contract_is_written_in_each_format(project: str, tmp_path: Path, form: str, beginning: str) -> None:
    """To the terminal or to a file, the same."""
    name = f"{project}_doubtful"
    shown = call("--app", project, "contract", name, "--format", form)
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert shown.stdout.startswith(beginning.format(name=name))
    path = tmp_path / "contract.txt"
    written = call("contract", name, "--module", f"{project}_shop", "--format", form, "--output", str(path))
    assert (written.exit_code, written.stdout) == (0, "")
    lines = [line.rstrip() for line in shown.stdout.splitlines()]
    assert path.read_text(encoding="utf-8").splitlines() == lines


def test_contract_shows_a_table_unless_told_otherwise(project: str) -> None:
    """With the warnings, which change no exit code."""
    shown = call("--app", project, "contract", f"{project}_doubtful").stdout
    assert "recovery action" in shown
    assert "! note: an attempt that is cut off in the middle will ask a person" in shown


def test_contract_of_an_unknown_pipeline_is_not_found(project: str) -> None:
    """As JSON where JSON was asked for."""
    result = call("--app", project, "contract", "nothing", "--format", "json")
    assert (result.exit_code, result.stdout) == (3, "")
    assert json.loads(result.stderr)["error"]["code"] == "unknown_pipeline"


def test_contract_that_cannot_be_written_is_one_clear_message(project: str, tmp_path: Path) -> None:
    """The file and the reason."""
    path = tmp_path / "nowhere" / "contract.md"
    result = call("--app", project, "contract", f"{project}_safe", "--output", str(path))
    assert result.exit_code == 2
    assert "cannot be written: No such file or directory" in " ".join(result.stderr.split())


def test_contract_needs_to_know_where_pipelines_are() -> None:
    """The message names this command."""
    assert "backout contract" in call("contract", "shop").stderr


# the group itself


def test_help_documents_exit_codes_and_completion() -> None:
    """Scripts and shells rely on both."""
    shown = call("--help").stdout
    for fact in (
        "Exit codes:",
        "5    the run waits for a person",
        "_BACKOUT_COMPLETE=bash_source backout",
        "--database",
    ):
        assert fact in shown
    for command in (["runs"], ["runs", "show"], ["ledger", "verify"], ["check"], ["contract"], ["doctor"]):
        assert call(*command, "--help").exit_code == 0


def test_version_is_shown() -> None:
    """Without a ledger."""
    assert call("--version").stdout.startswith("backout")


def test_completion_without_a_ledger_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The person is in the middle of a line."""
    monkeypatch.delenv("BACKOUT_DATABASE_URL", raising=False)
    completer = ShellComplete(backout, {}, "backout", "_BACKOUT_COMPLETE")
    assert completer.get_completions(["runs", "show"], "0") == []
