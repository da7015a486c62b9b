"""The page about keeping the ledger small: its task and its commands run."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery._state import _set_current_app, _tls
from sqlalchemy import text

from backout import install
from backout.ledger import schema
from backout.ledger.archived import read_whole_runs
from backout.ledger.retention import Kept
from backout.ledger.session import Ledger
from backout.tasks.runtime import runtime_of
from backout.views.archive import shape_whole_run
from tests.support.commands import call
from tests.support.ledgers import LONG_AGO
from tests.support.old_runs import find_ids, put_old_run

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "retention.md").read_text()


@pytest.fixture
def page(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """The reader's module, whose app is the current one and has a ledger."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    module = types.ModuleType("shop.nightly")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    before = _tls.current_app
    exec(compile(code, "retention.md", "exec"), module.__dict__)  # the point of the test
    runtime = install(module.app, database_url=sqlite_url)
    schema.upgrade(runtime.unverified_ledger)
    yield module
    runtime.unverified_ledger.dispose()
    _set_current_app(before)


def test_the_task_removes_old_runs(page: types.ModuleType) -> None:
    """A reader who copies it has a task that beat knows and that does what its name says."""
    put_old_run(runtime_of(page.app).ledger, 1)
    assert [entry["task"] for entry in page.app.conf.beat_schedule.values()] == [page.purge_runs.name]
    assert [page.purge_runs(), page.purge_runs()] == [1, 0]


def test_every_reason_to_stay_is_on_the_page() -> None:
    """Whoever reads it in a report finds what it means."""
    stays = PAGE.partition("## What goes, and what stays")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", stays, re.MULTILINE)) == {reason.value for reason in Kept}


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    opened = Ledger(sqlite_url)
    schema.upgrade(opened)
    yield opened
    opened.dispose()


def find_commands(verb: str) -> list[list[str]]:
    """Return the commands of the page, those of the crontab too."""
    typed = re.findall(r"^(?:\$|[\d*/ ]+) +backout (?:--app shop )?(ledger .*?)(?: >> .*)?$", PAGE, re.MULTILINE)
    return [command.split() for command in typed if command.split()[1] == verb]


def test_the_commands_do_what_the_page_says(
    ledger: Ledger, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them run; nothing goes without --yes, and then everything that may."""
    monkeypatch.chdir(tmp_path)
    commands = [*find_commands("purge"), *find_commands("archive")]
    assert len(commands) == 5
    for number, command in enumerate(commands):
        run_id = put_old_run(ledger, number)
        result = call(*command, url=sqlite_url)
        assert result.exit_code == 0, result.stderr
        assert (run_id in find_ids(ledger)) is ("--yes" not in command)
    assert [file.suffix for file in tmp_path.glob("runs-*")] == [".gz"]


def test_the_commands_for_partitions_and_vacuum_run(postgres_url: str) -> None:
    """In the order of the page, on a ledger that is as this release needs it afterwards."""
    ledger = Ledger(postgres_url)
    schema.upgrade(ledger)
    [settings] = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    with ledger.transaction() as connection:
        for statement in settings.split(";\n"):
            connection.execute(text(statement or "SELECT 1"))
    commands = find_commands("partition")
    assert len(commands) == 3
    for command in commands:
        assert call(*command, url=postgres_url).exit_code == 0
    assert schema.differences(ledger) == []
    ledger.dispose()


def test_the_page_has_all_keys_of_an_archived_run(ledger: Ledger) -> None:
    """Whoever reads an archive years later finds what each key means."""
    run_id = put_old_run(ledger, 1)
    [whole] = ledger.read(lambda connection: read_whole_runs(connection, [run_id]))
    line = ledger.read(lambda connection: shape_whole_run(connection, whole, LONG_AGO))
    table = PAGE.partition("### The format")[2]
    keys = [word for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for word in re.findall(r"`(\w+)`", row)]
    assert keys == list(line)
