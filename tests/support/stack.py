"""Everything that a run needs, real: broker, ledger, workers, and the outside world with its own books."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from celery import Celery
from celery._state import _set_current_app, _tls
from sqlalchemy import Engine, Row, create_engine, select

from backout import Direction, Pipeline, RunHandle
from backout.events import Event
from backout.identifiers import RunId
from backout.ledger import queries, schema
from backout.ledger.models import entry
from backout.ledger.records import ReviewRecord, RunRecord, StepRecord
from backout.pipelines.message import StepMessage
from backout.tasks.dispatch import send_step
from backout.tasks.runtime import forget_runtime, runtime_of
from backout.testing.servers import Broker
from backout.testing.servers.rabbitmq import RabbitMQ
from tests.support.apps import names
from tests.support.apps.making import make_app
from tests.support.apps.outside import Outside
from tests.support.apps.pipelines import Job
from tests.support.corners import Message, make_corner
from tests.support.waiting import wait_until
from tests.support.worker import ROOT, Worker

SHOP = "tests.support.apps.shop"
SETTLE_SECONDS = 30.0
SUPERVISOR_SECONDS = 0.2
FORWARD = Direction.FORWARD
COMPENSATION = Direction.COMPENSATION

Script = Mapping[str, list[str]]


class Stack:
    """A broker's corner, a ledger, an outside world, and the workers that a test starts on them.

    Args:
        broker: shared with others; the stack keeps to a corner of its own.
        ledger_url: of a database without tables, or with the right ones.
        folder: empty.
        visibility_seconds: after this Redis delivers an unacknowledged message again.
        queue_arguments: of the default queue on RabbitMQ.
        settings: of Celery and backout, beside the corner's and the tests' own; JSON.
    """

    def __init__(
        self,
        broker: Broker | RabbitMQ,
        ledger_url: str,
        folder: Path,
        *,
        visibility_seconds: int = 3600,
        queue_arguments: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.broker = broker
        self.ledger_url = ledger_url
        self.folder = folder
        self.world = Outside(folder / "outside")
        self.workers: list[Worker] = []
        self.corner = make_corner(broker, visibility_seconds=visibility_seconds, queue_arguments=queue_arguments)
        self.environment = {
            names.BROKER: self.corner.url,
            names.CELERY: json.dumps({**self.corner.settings, **(settings or {})}),
            names.LEDGER: ledger_url,
            names.OUTSIDE: str(self.world.folder),
        }
        self.app: Celery = make_app("client", self.environment)
        self.engine: Engine = create_engine(ledger_url, connect_args={"timeout": 30} if "sqlite" in ledger_url else {})

    def migrate(self) -> None:
        """Give the ledger its tables."""
        schema.upgrade(runtime_of(self.app).unverified_ledger)

    def start_worker(
        self, *options: str, app: str = SHOP, wait: bool = True, environment: Mapping[str, str] | None = None
    ) -> Worker:
        """Start a worker with a pool of two processes, unless the options say otherwise, and wait until it is ready."""
        log = self.folder / f"worker-{len(self.workers) + 1}.log"
        pool = () if "--pool" in options else ("--pool", "prefork", "--concurrency", "2")
        # RabbitMQ refuses a second worker of the same name, which another stack's would be.
        name = ("--hostname", f"{log.stem}-{self.folder.name}@%h")
        worker = Worker(app, *pool, *name, *options, environment={**self.environment, **(environment or {})}, log=log)
        self.workers.append(worker)
        if wait:
            worker.wait_until_ready()
        return worker

    @contextmanager
    def supervised_worker(self, *options: str) -> Iterator[None]:
        """Keep a worker inside the block: one that ends is followed by another, as under systemd or Kubernetes."""
        self.start_worker(*options)
        should_stop = threading.Event()

        def supervise() -> None:
            while not should_stop.wait(SUPERVISOR_SECONDS):
                if self.workers[-1].has_ended:
                    self.start_worker(*options, wait=False)

        supervisor = threading.Thread(target=supervise, daemon=True)
        supervisor.start()
        try:
            yield
        finally:
            should_stop.set()
            supervisor.join()

    def close(self) -> None:
        """Kill the workers and let go of everything."""
        for worker in self.workers:
            worker.kill()
        forget_runtime(self.app)
        self.engine.dispose()
        self.app.pool.force_close_all()
        self.app.close()
        self.corner.close()

    @contextmanager
    def as_current(self) -> Iterator[None]:
        """Make this stack's app the one that pipelines are enqueued with."""
        before = getattr(_tls, "current_app", None)
        self.app.set_current()
        try:
            yield
        finally:
            _set_current_app(before)

    def start(
        self,
        pipeline: Pipeline,
        script: Script | None = None,
        *,
        event: str | None = None,
        customer: str = "c-1",
        faults: Mapping[str, str] | None = None,
    ) -> RunHandle:
        """Enqueue a run.

        Args:
            pipeline: what to run.
            script: what its steps do.
            event: the source event.
            customer: whom the run is about.
            faults: place (`<what> <point>`) to action; armed before the run's first message is sent.
        """
        job = Job(script=dict(script or {}), customer=customer)
        with self.as_current(), self.engine.begin() as connection:
            handle = pipeline.enqueue(job, source_event_id=event, connection=connection)
            for place, action in (faults or {}).items():
                self.world.arm(f"{handle.id} {place}", action)
        return handle

    def enqueue_elsewhere(
        self,
        pipeline: str,
        script: Script | None = None,
        *event: str,
        app: str = SHOP,
    ) -> subprocess.Popen[str]:
        """Start a process that enqueues a run; see `tests.support.apps.enqueue` for what it prints."""
        job = json.dumps({"script": dict(script or {})})
        return subprocess.Popen(
            [sys.executable, "-m", "tests.support.apps.enqueue", app, pipeline, job, *event],
            env={**os.environ, **self.environment},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )

    def handle(self, pipeline: Pipeline, run_id: str) -> RunHandle:
        """Return the handle of a run that another process has enqueued."""
        return RunHandle(id=RunId(run_id), was_created=False, pipeline=pipeline, engine=runtime_of(self.app))

    def find(self, pipeline: Pipeline, event: str) -> RunHandle:
        """Return the handle of the run of a source event."""
        ledger = runtime_of(self.app).ledger
        found = ledger.read(lambda connection: queries.find_run_of_event(connection, pipeline.name, event))
        assert found is not None, f"source event {event} has no run"
        return self.handle(pipeline, found)

    def settle(self, handle: RunHandle, timeout_seconds: float = SETTLE_SECONDS) -> RunRecord:
        """Wait until the engine does nothing more by itself for the run."""

        def settled() -> RunRecord | None:
            record = handle.status()
            return record if record.state.is_settled else None

        try:
            return wait_until(settled, timeout_seconds, f"run {handle.id} is settled")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story(handle)}") from None

    def is_settled(self, handle: RunHandle) -> bool:
        """Tell whether the engine does nothing more by itself for the run."""
        return handle.status().state.is_settled

    def run(self, pipeline: Pipeline, script: Script | None = None, **options: Any) -> tuple[RunHandle, RunRecord]:
        """Enqueue a run and wait until it is settled."""
        handle = self.start(pipeline, script, **options)
        return handle, self.settle(handle)

    def story(self, handle: RunHandle) -> str:
        """Return what is recorded of a run, and what the bank says, for the message of a failure."""
        entries = [f"{e.at:%T.%f} {e.event} {e.step} {e.direction} {e.attempt} {e.reason}" for e in handle.entries()]
        return "\n".join([str(handle.status()), *entries, *map(str, self.world.lines(handle.id))])

    def step(self, handle: RunHandle, name: str, direction: Direction = FORWARD) -> StepRecord:
        """Return the row of a step."""
        (found,) = (row for row in handle.steps() if row.step == name and row.direction is direction)
        return found

    def states(self, handle: RunHandle, direction: Direction = FORWARD) -> dict[str, str]:
        """Return the states of the steps in one direction, in the order of start."""
        return {row.step: row.state.value for row in handle.steps() if row.direction is direction}

    def reviews(self, handle: RunHandle) -> list[ReviewRecord]:
        """Return the reviews of a run."""
        return runtime_of(self.app).ledger.read(lambda connection: queries.list_reviews(connection, handle.id))

    def refusals(self) -> list[Row[Any]]:
        """Return the entries about messages that were refused, of any run and of none."""
        statement = select(entry).where(entry.c.event == Event.MESSAGE_REFUSED.value).order_by(entry.c.id)
        return runtime_of(self.app).ledger.read(lambda connection: list(connection.execute(statement)))

    def messages(self, queue: str = "celery", *, run_id: str | None = None) -> list[Message]:
        """Return the messages that wait in a queue and have not been delivered, oldest first; all or of one run."""
        return [found for found in self.corner.messages(queue) if found.run_id == run_id or run_id is None]

    def lose_messages(self, queue: str = "celery") -> None:
        """Remove all messages that wait in a queue, as a broker that failed over would."""
        self.corner.lose_messages(queue)

    def unacknowledged(self, *, run_id: str | None = None) -> list[Message]:
        """Return the messages that were delivered and are not acknowledged yet; all or of one run."""
        return [found for found in self.corner.unacknowledged() if found.run_id == run_id or run_id is None]

    def copy_messages(self, copies: int, queue: str = "celery") -> None:
        """Put each message that waits in a queue there several times."""
        self.corner.copy_messages(copies, queue)

    def send_step(self, pipeline: Pipeline, row: StepRecord) -> None:
        """Send the message of a step row once more, whatever state it is in."""
        contract = pipeline.plan.steps[row.position]
        if row.direction is FORWARD or contract.compensation is not None:
            message = StepMessage.of(pipeline.plan, row.key, task_id=row.task_id, attempt=max(row.attempt, 1))
            send_step(self.app, message)

    def count_deliveries(self, task_id: str) -> int:
        """Return how often a task's message was delivered, as the workers' logs tell."""
        return sum(worker.log_path.read_text().count(f"[{task_id}] received") for worker in self.workers)

    def wait_until_idle(self) -> None:
        """Wait until no message waits for the workers, and none that was delivered is being worked on."""
        wait_until(self.corner.is_idle, SETTLE_SECONDS, "all messages are done")
