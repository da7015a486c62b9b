"""A rehearsal touches nothing but its own scratch, and leaves the process as it was."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from celery import current_task

import backout
from backout.faultpoints import FaultPoint, arm, disarm_all, reach
from backout.ledger import queries, schema
from backout.ledger.session import Ledger
from backout.pipelines.engine import current_engine, engine_in_place
from backout.pipelines.functions import find_function
from backout.testing import make_stand_ins, rehearse
from tests.rehearsal import shop
from tests.support.celery_apps import as_current, fresh_app

FAILS = ["once:fails_after_effect", "once:dies_after_effect", "dies_at_enqueue_committed"]
ALONE = """
import os, sys
from backout.testing import make_stand_ins, rehearse
from tests.rehearsal import shop
found = rehearse(shop.SMALL, shop.ORDER, stand_ins=make_stand_ins(shop.SMALL))
print(len(found.cases), len(found.problems))
"""


def test_no_app_needs_to_be_configured() -> None:
    """Also where the environment names a broker and a configuration for Celery, neither of which is there."""
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "CELERY_BROKER_URL": "redis://nowhere.invalid/0",
        "CELERY_CONFIG_MODULE": "no_such_module",
        "CELERY_RESULT_BACKEND": "redis://nowhere.invalid/1",
    }
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE], env=environment, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.split() == ["20", "0"]


def test_installed_app_hears_of_nothing(sqlite_url: str) -> None:
    """Its ledger has no run afterwards, and its broker, in the same process, no message."""
    ledger = Ledger(sqlite_url)
    schema.upgrade(ledger)
    with fresh_app("installed") as app, as_current(app):
        backout.install(app, database_url=sqlite_url)
        with app.connection_for_read() as connection:
            # Memory is one for the whole process: what other tests have left there is not what is looked for.
            while connection.default_channel.basic_get("celery", no_ack=True) is not None:
                pass
        rehearse(shop.SMALL, shop.ORDER, stand_ins=make_stand_ins(shop.SMALL), places=FAILS)
        with app.connection_for_read() as connection:
            assert connection.default_channel.basic_get("celery") is None
        assert ledger.read(queries.list_runs) == []
        # And what is enqueued next goes there again.
        handle = shop.SMALL.enqueue(shop.ORDER)
        assert [run.id for run in ledger.read(queries.list_runs)] == [handle.id]
        with app.connection_for_read() as connection:
            assert connection.default_channel.basic_get("celery", no_ack=True) is not None
    ledger.dispose()


def test_process_is_as_it_was() -> None:
    """Functions, fault points, signal handlers and the way of the next enqueue; also when the rehearsal fails."""
    function = find_function(shop.first.function.task_name)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    reached: list[str] = []

    def fail(_case: object) -> None:
        raise KeyboardInterrupt

    arm(FaultPoint.AFTER_SEND, lambda: reached.append("own"))
    mine: Any = object()
    try:
        with engine_in_place(mine):
            before = current_engine()
            with pytest.raises(KeyboardInterrupt):
                rehearse(shop.SMALL, shop.ORDER, places=["once:dies_after_effect"], on_case=fail)
            after = current_engine()
        assert reached.count("own") == 0
        reach(FaultPoint.AFTER_SEND)
    finally:
        disarm_all()
    assert reached == ["own"]
    assert current_task._get_current_object() is None
    assert find_function(shop.first.function.task_name) is function
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)] == handlers
    assert before is not None
    assert after is before


def test_nothing_is_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scratch ledgers go with the rehearsal."""
    monkeypatch.setattr("backout.testing.rehearsal.runner._IN_MEMORY", tmp_path / "missing")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rehearse(shop.SMALL, shop.ORDER, places=FAILS)
    assert list(tmp_path.iterdir()) == []
