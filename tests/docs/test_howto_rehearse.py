"""What the page on rehearsals says is true: its tests pass, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from backout.cli.main import backout as command_line

pytest_plugins = ("pytester",)

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "howto" / "rehearse.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_examples_are_tests_that_pass(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who copies the examples into one file has green tests: one, one for each place, and one."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(test_page="\n\n".join(blocks("python")))
    result = pytester.runpytest_subprocess("-p", "backout.testing.pytest_plugin", "-W", "error")
    result.assert_outcomes(passed=1 + 29 + 1)


@pytest.mark.parametrize("line", [line for block in blocks("console") for line in block.splitlines()])
def test_every_option_of_the_page_exists(line: str) -> None:
    """A reader who copies a command finds its options."""
    assert isinstance(command_line, click.Group)
    command = command_line.get_command(click.Context(command_line), "rehearse")
    assert command is not None
    known = {name for parameter in command.params for name in parameter.opts}
    used = {word for word in line.partition(" rehearse ")[2].split() if word.startswith("--")}
    assert used <= known


def test_page_names_what_the_table_shows() -> None:
    """The signs and words of the page are those of the command."""
    drawn = (ROOT / "backout" / "cli" / "render" / "rehearsal.py").read_text()
    for words in ("fails before its effect", "fails after its effect", "kept", "held", "nobody knows of it", "twice: "):
        assert words in PAGE
        assert words in drawn
