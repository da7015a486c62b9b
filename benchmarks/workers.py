"""A Celery worker that is measured: start it, hand it work, read how much processor time it used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from celery import Celery
from redis import Redis
from sqlalchemy import Engine, text

from benchmarks.apps import BROKER_VARIABLE, DATABASE_VARIABLE, STEPS

ROOT: Final = Path(__file__).parents[1]
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
PROGRESS_SECONDS: Final = 60.0
"""A worker that records nothing for so long has failed."""
POLL_SECONDS: Final = 0.005
FEEDING_DATABASE: Final = 15
"""The broker's database in which messages wait until their clock starts."""
QUEUE: Final = "celery"


class BenchmarkFailed(Exception):
    """The work was not done, so there is nothing to compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to run the same steps.

    Attributes:
        module: with the Celery app.
        finished: SQL that counts the steps whose results are recorded.
        broker_database: of its own, so that no worker sees another's messages.
    """

    name: str
    module: str
    database_url: str
    finished: str
    broker_database: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What all workers share.

    Attributes:
        socket: of the broker.
        database_id: the process id of the database server.
        folder: for the workers' logs.
    """

    socket: str
    database_id: int
    folder: Path
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One round of one way. Processor times are 0 where the system does not tell (no /proc)."""

    steps_per_second: float
    worker_cpu_ms_per_step: float
    database_cpu_ms_per_step: float


class Worker:
    """A running worker of one way, with its own sweeper if it has one."""

    def __init__(self, *, way: Way, place: Place, engine: Engine, client: Redis, process_id: int, log: Path) -> None:
        self.way = way
        self._socket = place.socket
        self._database_id = place.database_id
        self._engine = engine
        self._client = client
        self._process_id = process_id
        self._log = log

    def measure(self, pipelines: int) -> Measurement:
        """Run that many pipelines. The clock runs from the hand-over of a filled queue to the last acknowledgement."""
        expected = self._count_finished() + pipelines * STEPS
        feed(self.way, self._socket, str(pipelines))
        measured_ids = (self._process_id, self._database_id)
        before = [cpu_seconds(process_id) for process_id in measured_ids]
        started = time.perf_counter()
        with Redis(unix_socket_path=self._socket, db=FEEDING_DATABASE) as waiting:
            waiting.move(QUEUE, self.way.broker_database)
        ended = self._wait_for(expected)
        steps = pipelines * STEPS
        worker_cpu, database_cpu = (
            (cpu_seconds(process_id) - earlier) * 1000 / steps
            for process_id, earlier in zip(measured_ids, before, strict=True)
        )
        return Measurement(
            steps_per_second=steps / (ended - started),
            worker_cpu_ms_per_step=worker_cpu,
            database_cpu_ms_per_step=database_cpu,
        )

    def _wait_for(self, expected: int) -> float:
        """Return when the last message was acknowledged; only the broker is asked meanwhile, all ways pay the same."""
        seen, seen_at = -1, time.perf_counter()
        while True:
            time.sleep(POLL_SECONDS)
            now = time.perf_counter()
            is_empty = self._client.llen(QUEUE) == 0 and self._client.hlen("unacked") == 0
            if not is_empty and now - seen_at < PROGRESS_SECONDS:
                continue
            finished = self._count_finished()
            if finished == expected and is_empty:
                return now
            if finished == seen and now - seen_at > PROGRESS_SECONDS:
                problem = f"{self.way.name}: {finished} of {expected} steps are recorded, and no more come"
                raise BenchmarkFailed(f"{problem}\n{self._log.read_text()[-4000:]}")
            if finished != seen:
                seen, seen_at = finished, now

    def _count_finished(self) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(text(self.way.finished)).scalar_one())


@contextmanager
def start_worker(way: Way, *, place: Place, engine: Engine) -> Iterator[Worker]:
    """Prepare the way's database, start its worker, wait until it answers, and stop it at the end of the block."""
    feed(way, place.socket, "prepare")
    log = place.folder / f"{way.name.replace(' ', '_')}.log"
    command = [sys.executable, "-m", "celery", "-A", way.module, "worker", "--loglevel", "WARNING"]
    command += [
        "--pool",
        "prefork",
        "--concurrency",
        str(place.concurrency),
        "--hostname",
        f"{way.broker_database}@bench",
    ]
    with log.open("w") as output:
        # A process group of its own: Ctrl-C is for us, and we end the worker in order.
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(way, place.socket, database=way.broker_database),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    client = Redis(unix_socket_path=place.socket, db=way.broker_database)
    try:
        _wait_until_up(way, place.socket, process, log)
        yield Worker(way=way, place=place, engine=engine, client=client, process_id=process.pid, log=log)
    finally:
        _stop(process)
        client.close()


def feed(way: Way, socket: str, word: str) -> None:
    """Let a process of its own prepare the database, or enqueue work where no worker takes it yet."""
    command = [sys.executable, "-m", "benchmarks.feeder", way.module, word]
    variables = environment(way, socket, database=FEEDING_DATABASE)
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchmarkFailed(f"{way.name}: {' '.join(command[1:])} failed\n{done.stderr[-4000:]}")


def environment(way: Way, socket: str, *, database: int) -> dict[str, str]:
    """Return the environment of a process of this way."""
    broker_url = f"redis+socket://{socket}?virtual_host={database}"
    return {**os.environ, BROKER_VARIABLE: broker_url, DATABASE_VARIABLE: way.database_url}


def cpu_seconds(process_id: int) -> float:
    """Return the processor time of a process and of all its descendants; 0 where there is no /proc."""
    ticks = sum(_ticks(member) for member in (process_id, *_descendants(process_id)))
    return ticks / os.sysconf("SC_CLK_TCK")


def _ticks(process_id: int) -> int:
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # utime, stime, and the same of children that have ended (proc(5), fields 14 to 17).
    return sum(map(int, fields[11:15]))


def _descendants(process_id: int) -> Iterator[int]:
    for listed in Path(f"/proc/{process_id}/task").glob("*/children"):
        for child in map(int, listed.read_text().split()):
            yield child
            yield from _descendants(child)


def _wait_until_up(way: Way, socket: str, process: subprocess.Popen[bytes], log: Path) -> None:
    broker_url = environment(way, socket, database=way.broker_database)[BROKER_VARIABLE]
    with Celery(broker=broker_url, set_as_current=False) as asking:
        deadline = time.monotonic() + START_SECONDS
        while not asking.control.ping(timeout=0.5):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkFailed(f"{way.name}: the worker does not start\n{log.read_text()[-4000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
