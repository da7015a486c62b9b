"""SIGKILL of the whole worker, sweeper included, at every point of an attempt's path, in both directions (R2, R4)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backout.faultpoints import FaultPoint
from tests.integration.engine.conftest import OpenStack
from tests.integration.engine.kill_matrix import BURSTS, CELLS, MESSAGES, Cell, assert_survived, start_cell
from tests.support.apps.pipelines import INSIDE
from tests.support.stack import Stack

VISIBILITY_SECONDS = 3
"""Short, so that the broker also gives the killed worker's messages to the next one while the sweeper does."""
SELECTED = [
    Cell(is_undo=False, point=INSIDE),
    Cell(is_undo=False, point=FaultPoint.AFTER_COMMIT.value),
    Cell(is_undo=True, point=FaultPoint.AFTER_COMMIT.value),
]


@pytest.fixture(scope="module")
def postgres_machine(open_stack: OpenStack) -> Iterator[Stack]:
    """A stack whose workers are killed one after the other."""
    stack = open_stack("postgresql", visibility_seconds=VISIBILITY_SECONDS, settings=MESSAGES)
    yield stack
    kill_all(stack)


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def bursting_machine(request: pytest.FixtureRequest, open_stack: OpenStack) -> Iterator[Stack]:
    """The same, where a message carries a whole run."""
    stack = open_stack(request.param, visibility_seconds=VISIBILITY_SECONDS, settings=BURSTS)
    yield stack
    kill_all(stack)


def kill_all(stack: Stack) -> None:
    for worker in stack.workers:
        worker.kill()


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_next_worker_ends_the_run(postgres_machine: Stack, cell: Cell) -> None:
    """Wherever the worker is killed, the next one ends the run, and each effect exists once."""
    kill_and_restart(postgres_machine, cell)


@pytest.mark.parametrize("cell", SELECTED, ids=str)
def test_next_worker_ends_the_run_of_a_burst(bursting_machine: Stack, cell: Cell) -> None:
    """The same holds in the middle of a burst, also on SQLite."""
    kill_and_restart(bursting_machine, cell)


def kill_and_restart(stack: Stack, cell: Cell) -> None:
    # The worker that ended the run before is the one to be killed now.
    worker = stack.workers[-1] if stack.workers else stack.start_worker()
    assert not worker.has_ended, worker.log
    handle = start_cell(stack, cell, "worker")
    assert worker.wait_until_ended() < 0, worker.log
    stack.start_worker()
    assert_survived(stack, cell, handle)
