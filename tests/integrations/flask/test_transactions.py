"""The order and its run, in one transaction of Flask-SQLAlchemy: they agree, wherever the web process ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping

import pytest
from sqlalchemy import select, text

from backout.identifiers import RunId
from backout.ledger import queries
from backout.ledger.models import run
from backout.states import RunState
from backout.tasks.runtime import runtime_of
from tests.support.apps import names
from tests.support.stack import Stack
from tests.support.waiting import wait_until
from tests.support.worker import ROOT

KILLED = -signal.SIGKILL
ENDS: Mapping[str, tuple[int, bool]] = {
    "before enqueue": (KILLED, False),
    "after enqueue": (KILLED, False),
    "in the commit": (KILLED, False),
    "after the commit": (KILLED, True),
    "after the send": (KILLED, True),
    "rolled back": (500, False),
    "savepoint": (201, True),
    "broker away": (201, True),
}
"""Place to how its process ends, and whether the order and its run are there afterwards."""


def serve(stack: Stack, url: str) -> dict[str, int]:
    """Let a web process come to each of the ends."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.integrations.flask.project.web", *ENDS],
        env={**os.environ, **stack.environment, names.LEDGER: url},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    ends: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return ends


def read_orders(stack: Stack) -> list[str]:
    with stack.engine.connect() as connection:
        return sorted(connection.execute(text("SELECT name FROM shop_order")).scalars())


def read_runs(stack: Stack) -> dict[str, RunId]:
    """Return the runs by the order that they are about; an order with two runs fails."""
    with stack.engine.connect() as connection:
        rows = connection.execute(select(run.c.subject_id, run.c.id).where(run.c.pipeline == "ship")).all()
    assert len(rows) == len({row[0] for row in rows})
    return {str(row[0]): RunId(row[1]) for row in rows}


def forget_orders(stack: Stack) -> None:
    with stack.engine.begin() as connection:
        connection.execute(text("DELETE FROM shop_order"))
        connection.execute(text("UPDATE backout_run SET subject_id = NULL, pipeline = 'earlier'"))


@pytest.mark.parametrize("database", ["postgresql+psycopg", "postgresql+psycopg2", "sqlite"])
def test_order_and_run_agree_wherever_the_web_process_ends(request: pytest.FixtureRequest, database: str) -> None:
    """Killed at any line, rolled back or without a broker: each order has exactly one run, each run its order."""
    stack: Stack = request.getfixturevalue("sqlite_shop" if database == "sqlite" else "postgres_shop")
    forget_orders(stack)
    ends = serve(stack, stack.ledger_url.replace("postgresql+psycopg", database))
    assert ends == {place: end for place, (end, _) in ENDS.items()}
    kept = sorted(place for place, (_, is_kept) in ENDS.items() if is_kept)
    assert read_orders(stack) == kept
    runs = read_runs(stack)
    assert sorted(runs) == kept
    for run_id in runs.values():
        wait_until(lambda run_id=run_id: state_of(stack, run_id) is RunState.SUCCEEDED, 30, "the run has succeeded")  # type: ignore[misc]
    assert read_orders(stack) == sorted(read_runs(stack)) == kept


def state_of(stack: Stack, run_id: RunId) -> RunState:
    found = runtime_of(stack.app).ledger.read(lambda connection: queries.find_run(connection, run_id))
    assert found is not None
    return found.state
