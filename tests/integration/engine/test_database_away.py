"""R12: without the database nothing moves, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backout import LedgerUnavailable, RunState
from backout.testing.servers import Broker
from backout.testing.servers.mariadb import MariaDB
from backout.testing.servers.postgres import Postgres
from tests.support.apps import pipelines
from tests.support.history import assert_entries_explain
from tests.support.stack import Script, Stack
from tests.support.waiting import wait_until

PARCEL_FAILS = {"parcel": ["fail"]}
UNDONE = ["undo parcel", "undo money", "undo goods"]


Server = Postgres | MariaDB


@pytest.fixture(params=["postgresql"])
def own_server(request: pytest.FixtureRequest) -> Server:
    """A database server of the test's own, which it may kill."""
    server: Server = request.getfixturevalue({"postgresql": "own_postgres", "mariadb": "own_mariadb"}[request.param])
    return server


@pytest.fixture
def fragile(broker: Broker, own_server: Server, tmp_path: Path) -> Iterator[Stack]:
    """A stack with a worker, on a database server that the test may kill."""
    stack = Stack(broker, own_server.create_database("fragile"), tmp_path)
    stack.migrate()
    stack.start_worker()
    yield stack
    stack.close()


@pytest.mark.parametrize(
    ("own_server", "script", "what"),
    [
        pytest.param("postgresql", {}, "money", id="forward"),
        pytest.param("postgresql", PARCEL_FAILS, "undo money", id="compensation"),
        pytest.param("mariadb", {}, "money", id="forward-mariadb"),
    ],
    indirect=["own_server"],
)
def test_answer_of_a_step_waits_for_the_database(fragile: Stack, own_server: Server, script: Script, what: str) -> None:
    """A step that answers while the database is away is recorded when it is back, and does not run again."""
    handle = fragile.start(pipelines.ORDER, {**script, what: ["hold:away"]})
    wait_until(lambda: fragile.world.is_reached("away"), 15, "the step runs")
    own_server.kill()
    fragile.world.open("away")
    worker = fragile.workers[0]
    wait_until(lambda: "the ledger is away, attempt 1 of money" in worker.log_path.read_text(), 20, "it waits")
    assert len(fragile.unacknowledged(run_id=handle.id)) == 1
    with pytest.raises(LedgerUnavailable):
        handle.status()
    own_server.restart()
    assert fragile.settle(handle).state is (RunState.ROLLED_BACK if script else RunState.SUCCEEDED)
    assert fragile.world.effects(handle.id) == ["goods", "money", "parcel", *(UNDONE if script else [])]
    assert_entries_explain(handle)


def test_message_waits_for_the_database(fragile: Stack, own_server: Server) -> None:
    """A message that comes while the database is away is not lost: its step runs when the database is back."""
    handle = fragile.start(pipelines.UNHEARD)
    (message,) = wait_until(lambda: fragile.messages("nobody", run_id=handle.id), 15, "its message waits")
    own_server.kill()
    fragile.start_worker("--queues", "nobody", wait=False)
    second = fragile.workers[1]
    wait_until(lambda: "the ledger is away, the claim" in second.log_path.read_text(), 30, "the claim waits")
    assert [one.headers["id"] for one in fragile.unacknowledged(run_id=handle.id)] == [message.headers["id"]]
    own_server.restart()
    assert fragile.settle(handle).state is RunState.SUCCEEDED
    assert fragile.world.calls(handle.id) == ["goods", "unheard"]
