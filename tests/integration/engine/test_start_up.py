"""Workers and callers refuse a ledger that they cannot work with, and wait for one that is away."""

from __future__ import annotations

import pytest

from backout import RunState, SchemaMismatch
from tests.integration.engine.conftest import OpenStack
from tests.support.apps import pipelines
from tests.support.ledgers import DATABASES, ENGINE_DATABASES

COMMAND = "backout ledger upgrade"


@pytest.mark.parametrize("database", ENGINE_DATABASES)
def test_worker_refuses_an_empty_database(new_stack: OpenStack, database: str) -> None:
    """A worker on a database without tables does not start, and says which command makes them."""
    stack = new_stack(database, is_migrated=False)
    worker = stack.start_worker(wait=False)
    assert worker.wait_until_ended() != 0
    assert COMMAND in worker.log
    assert "Traceback" not in worker.log


@pytest.mark.parametrize("database", ENGINE_DATABASES)
def test_enqueue_refuses_an_empty_database(new_stack: OpenStack, database: str) -> None:
    """Enqueueing on a database without tables is refused with the command that makes them."""
    stack = new_stack(database, is_migrated=False)
    with stack.as_current(), pytest.raises(SchemaMismatch, match=COMMAND):
        pipelines.ORDER.enqueue({})


@pytest.mark.parametrize("database", DATABASES)
def test_worker_starts_once_the_command_was_run(new_stack: OpenStack, database: str) -> None:
    """After the command the same worker starts and runs what is enqueued."""
    stack = new_stack(database, is_migrated=False)
    stack.migrate()
    stack.start_worker()
    _, run = stack.run(pipelines.ORDER)
    assert run.state is RunState.SUCCEEDED
