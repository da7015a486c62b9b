"""The page about keeping the ledger small: its task runs."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery._state import _set_current_app, _tls

from backout import install
from backout.ledger import schema
from backout.ledger.retention import Kept
from backout.tasks.runtime import runtime_of
from tests.support.old_runs import put_old_run

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
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == {reason.value for reason in Kept}
