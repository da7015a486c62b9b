"""The entry of the command line: light, because every Celery process imports it, and lazy."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from backout.cli.exits import Exit, Refusal, exit_code_of
from backout.cli.lazy import LazyCommand, LazyGroup
from backout.cli.main import COMMANDS
from backout.errors import BackoutError, RequestError, SchemaMismatch, UnknownRun, WaitTimedOut

ROOT = Path(__file__).parents[2]
# The package itself is left out: what its public names import is not the command line's affair.
LOAD = """
import sys, types
package = types.ModuleType("backout")
package.__path__ = [sys.argv[1]]
sys.modules["backout"] = package
import backout.cli.main
print(*sorted({name.partition(".")[0] for name in sys.modules} & set(sys.argv[2:])))
"""


def test_entry_module_imports_only_what_is_light() -> None:
    """Celery loads it in every process, also where nobody uses it."""
    heavy = ["alembic", "celery", "kombu", "pydantic", "rich", "sqlalchemy"]
    loaded = subprocess.run(
        [sys.executable, "-c", LOAD, str(ROOT / "backout"), "click", *heavy], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == ["click"]


def group(place: str, extra: str = "") -> LazyGroup:
    return LazyGroup("group", lazy={"demo": LazyCommand(place, "Watch it.", extra=extra)})


def test_command_whose_module_is_missing_is_left_out() -> None:
    """Neither the help nor the completion offers it."""
    missing = group("backout.cli.nothing:nothing")
    assert "demo" not in CliRunner().invoke(missing, ["--help"]).stdout
    assert "No such command 'demo'" in CliRunner().invoke(missing, ["demo"]).stderr


def test_help_imports_no_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that cannot be imported does not break the help of the others."""
    (tmp_path / "needs_more.py").write_text("import package_that_is_not_installed")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "Watch it." in CliRunner().invoke(group("needs_more:demo"), ["--help"]).stdout


def test_command_whose_package_is_missing_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra by name, and no traceback."""
    (tmp_path / "needs_extra.py").write_text("import package_that_is_not_installed")
    monkeypatch.syspath_prepend(str(tmp_path))
    result = CliRunner().invoke(group("needs_extra:demo", extra="demo"), ["demo"])
    assert result.exit_code == 1
    assert 'pip install "backout[demo]"' in result.stderr


def test_commands_that_exist_are_where_they_are_said_to_be() -> None:
    """A name that is mistyped in the list would only show when somebody calls it."""
    context = click.Context(click.Command("backout"))
    whole = LazyGroup("backout", lazy=COMMANDS)
    assert {"runs", "check", "ledger"} <= set(whole.list_commands(context))
    assert all(whole.get_command(context, name) for name in ("runs", "check", "ledger"))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SchemaMismatch(database="sqlite://", expected="1", found=None), Exit.USAGE),
        (UnknownRun(run_id="0"), Exit.NOT_FOUND),
        (WaitTimedOut(run_id="0", timeout_seconds=1, state="running"), Exit.TIMED_OUT),
        (RequestError("no"), Exit.PROBLEM),
    ],
)
def test_errors_have_documented_exit_codes(error: BackoutError, code: Exit) -> None:
    """Scripts rely on them."""
    assert exit_code_of(error) is code
    assert Refusal(error, as_json=False).exit_code == code


def test_message_of_an_error_cannot_steer_the_terminal() -> None:
    """It may hold what a database or a user wrote."""
    assert Refusal(RequestError("a\nb\x1b[2J"), as_json=False).message == "a b\\x1b[2J"
