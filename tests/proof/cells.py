"""One batch of the crash matrix: a disaster strikes while a run stands at each fault point, in both directions."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from backout import Pipeline, RunHandle, RunState
from backout.faultpoints import FaultPoint
from tests.integration.engine.kill_matrix import POINTS
from tests.proof.servers import BrokerPlace, DatabasePlace
from tests.proof.workers import Supervised
from tests.support.apps import pipelines
from tests.support.history import started_after_success
from tests.support.stack import SHOP, Stack

AWAY_SECONDS: Final = 1.0
SILENCE_SECONDS: Final = 2.0
HOLD_SECONDS: Final = 30.0
SETTLE_SECONDS: Final = 300.0


class Disaster(StrEnum):
    """What strikes."""

    CHILD_KILLED = "child killed"
    WORKER_KILLED = "worker killed"
    BROKER_RESTARTED = "broker restarted"
    BROKER_FLUSHED = "broker flushed"
    DATABASE_RESTARTED = "database restarted"
    NETWORK_CUT = "network cut"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """A pipeline whose step in the middle is struck, and that step's name.

    Attributes:
        again: it may be called again under its key: the bank counts keys; otherwise each call counts.
    """

    pipeline: Pipeline
    step: str
    again: bool


CONTRACTS: Final = (
    Contract(pipeline=pipelines.ORDER, step="money", again=True),
    Contract(pipeline=pipelines.ASKED, step="money_asked", again=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run and the place where it is struck."""

    contract: Contract
    is_undo: bool
    point: str

    @property
    def place(self) -> str:
        """Where the fault is armed."""
        return f"{'undo ' if self.is_undo else ''}{self.contract.step} {self.point}"


CELLS: Final = tuple(
    Cell(contract=contract, is_undo=is_undo, point=point)
    for is_undo in (False, True)
    for point in POINTS
    for contract in CONTRACTS
)


class Carried(StrEnum):
    """What carries a run from step to step."""

    MESSAGES = "messages"
    """Each step has one."""
    BURSTS = "bursts"
    """The first step has one, and its worker goes on with the others."""


def cells_of(carried: Carried, cells: Sequence[Cell] = CELLS) -> list[Cell]:
    """Return the places that there are: a step in a burst is claimed before its own path begins."""
    is_bursting = carried is Carried.BURSTS
    return [cell for cell in cells if not (is_bursting and cell.point == FaultPoint.BEFORE_CLAIM)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Everything that one batch stands on."""

    disaster: Disaster
    broker: BrokerPlace
    database: DatabasePlace
    stack: Stack
    workers: Supervised


def is_possible(disaster: Disaster, database: DatabasePlace) -> bool:
    """Return whether the disaster exists here: SQLite has no server."""
    return disaster is not Disaster.DATABASE_RESTARTED or database.server is not None


def run_batch(
    disaster: Disaster,
    broker: BrokerPlace,
    database: DatabasePlace,
    carried: Carried,
    cells: Sequence[Cell] = CELLS,
) -> dict[Cell, str]:
    """Strike once at each place; return what is wrong with each run, empty where nothing is."""
    cells = cells_of(carried, cells)
    with _open_batch(disaster, broker, database, carried, len(cells)) as batch:
        # A child kills itself where it stands. What strikes all at once waits until each run has come to its place.
        is_common = disaster is not Disaster.CHILD_KILLED
        actions = [f"hold gate-{n}" if is_common else "kill child" for n in range(len(cells))]
        handles = {cell: _start(batch.stack, cell, action) for cell, action in zip(cells, actions, strict=True)}
        if is_common:
            _await(batch, lambda: all(batch.stack.world.is_reached(f"gate-{n}") for n in range(len(cells))))
            _strike(batch)
            for number in range(len(cells)):
                batch.stack.world.open(f"gate-{number}")
        _await(batch, lambda: all(batch.stack.is_settled(handle) for handle in handles.values()))
        return {cell: _problem(batch.stack, cell, handle) for cell, handle in handles.items()}


@contextmanager
def _open_batch(
    disaster: Disaster, broker: BrokerPlace, database: DatabasePlace, carried: Carried, runs: int
) -> Iterator[Batch]:
    with tempfile.TemporaryDirectory(prefix="backout-crash-") as name:
        holds = disaster is not Disaster.CHILD_KILLED
        # Who stands at a place does not beat: the claim must hold until all have come to theirs.
        settings: dict[str, float] = {"backout_lease_seconds": HOLD_SECONDS} if holds else {}
        settings["backout_burst_seconds"] = 15 if carried is Carried.BURSTS else 0
        stack = Stack(broker.as_seen(), database.new_url(), Path(name), settings=settings)
        try:
            stack.migrate()
            # Each run that stands at its place needs a process of its own.
            options = ("--pool", "prefork", "--concurrency", str(runs + 1 if holds else 4))
            workers = Supervised(SHOP, *options, environment=stack.environment, folder=stack.folder, count=1)
            try:
                workers.wait_until_ready()
                yield Batch(disaster=disaster, broker=broker, database=database, stack=stack, workers=workers)
            finally:
                workers.close()
        finally:
            stack.close()


def _start(stack: Stack, cell: Cell, action: str) -> RunHandle:
    script = {"parcel": ["fail"]} if cell.is_undo else {}
    return stack.start(cell.contract.pipeline, script, faults={cell.place: action})


def _await(batch: Batch, condition: Callable[[], bool]) -> None:
    """Wait for a condition; start again meanwhile what has ended. What is missing in the end is told cell by cell."""
    ends_at = time.monotonic() + SETTLE_SECONDS
    while not condition() and time.monotonic() < ends_at:
        batch.workers.look_after()
        time.sleep(0.2)


def _strike(batch: Batch) -> None:
    match batch.disaster:
        case Disaster.WORKER_KILLED:
            batch.workers.workers[0].kill()
        case Disaster.BROKER_RESTARTED:
            batch.broker.server.kill()
            time.sleep(AWAY_SECONDS)
            batch.broker.server.restart()
        case Disaster.BROKER_FLUSHED:
            batch.broker.server.flush()
        case Disaster.DATABASE_RESTARTED if batch.database.server is not None:
            batch.database.server.kill()
            time.sleep(AWAY_SECONDS)
            batch.database.server.restart()
        case Disaster.NETWORK_CUT:
            proxies = [proxy for proxy in (batch.broker.proxy, batch.database.proxy) if proxy is not None]
            for proxy in proxies:
                proxy.fall_silent()
            time.sleep(SILENCE_SECONDS)
            for proxy in proxies:
                proxy.cut()
        case _:
            message = f"{batch.disaster} strikes by itself"
            raise ValueError(message)


def _problem(stack: Stack, cell: Cell, handle: RunHandle) -> str:
    """Return what is wrong with a run; empty when it ended as if nothing had happened."""
    name = cell.contract.step
    wanted = ["goods", name, "parcel", *(["undo parcel", f"undo {name}", "undo goods"] if cell.is_undo else [])]
    state = handle.status().state
    effects = stack.world.effects(handle.id)
    calls = stack.world.calls(handle.id).count(name)
    problems = [
        "" if stack.world.has_struck(f"{handle.id} {cell.place}") else "it never came to its place",
        "" if state is (RunState.ROLLED_BACK if cell.is_undo else RunState.SUCCEEDED) else f"it is {state.value}",
        "" if effects == wanted else f"the bank has {effects}",
        "" if cell.contract.again or calls == 1 else f"{name} was called {calls} times",
        "" if not started_after_success(handle) else "a step ran again after its success",
    ]
    found = "; ".join(problem for problem in problems if problem)
    return f"{found}\n{stack.story(handle)}" if found else ""
