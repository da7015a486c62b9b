"""The running worker of one way: hand it work, wait until it is done, say what that cost."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from celery import Celery
from redis import Redis

from benchmarks.apps import (
    BROKER_VARIABLE,
    FAILS_VARIABLE,
    LONG_STEPS_VARIABLE,
    NO_SWEEPER_VARIABLE,
    READY,
    STEPS_VARIABLE,
    STORE_VARIABLE,
)
from benchmarks.lab import Lab
from benchmarks.processes import ROOT, ProcessGroup, cpu_seconds
from benchmarks.ways import Way

START_SECONDS: Final = 60.0
PROGRESS_SECONDS: Final = 120.0
"""A worker that finishes nothing for so long has failed."""
ANSWER_SECONDS: Final = 300.0
"""How long a feeder may take for one request."""
BROKER_POLL_SECONDS: Final = 0.005
STORE_POLL_SECONDS: Final = 0.02
"""Longer, because the answer costs the database something."""
SETTLE_SECONDS: Final = 0.5
"""After a pause: timers that have become due meanwhile are not measured."""


class BenchmarkFailed(Exception):
    """The work was not done, so there is nothing to compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What some pipelines cost. Processor times are 0 where the system does not tell (no /proc)."""

    seconds: float
    worker_cpu_seconds: float
    database_cpu_seconds: float
    broker_cpu_seconds: float
    broker_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the processes of one workload must know.

    Attributes:
        steps: of each pipeline.
        fails: the last step fails for good.
        long_steps: of the long pipeline that there is besides; 0: there is none.
        name_of_workload: where two workloads have the same pipelines, so that each has stores of its own.
    """

    steps: int = 5
    fails: bool = False
    long_steps: int = 0
    name_of_workload: str = ""

    @property
    def name(self) -> str:
        """Return a name for databases and files."""
        parts = [self.name_of_workload, f"steps_{self.steps}", "failing" if self.fails else ""]
        return "_".join(part for part in parts if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a worker is run, where it is not as everybody runs it.

    Attributes:
        prefix: what is put before the worker's command.
        start_seconds: how long it may take to start.
    """

    prefix: Sequence[str] = ()
    start_seconds: float = START_SECONDS
    has_sweeper: bool = True


USUAL: Final = Manner()


class Feeder:
    """The process that enqueues for one way, and asks how far it is."""

    def __init__(self, way: Way, *, variables: Mapping[str, str], log: Path) -> None:
        self._way = way
        self._log = log
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.feeder", way.module],
                cwd=ROOT,
                env=dict(variables),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
            )

    def ask(self, word: str, *numbers: int) -> Any:
        """Let it do one thing, see `benchmarks.feeder`, and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # it has ended, and its log says why
            self._process.stdin.write(json.dumps([word, *numbers]).encode() + b"\n")
            self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], ANSWER_SECONDS)[0]:
            raise BenchmarkFailed(f"{self._way.name}: {word} takes more than {ANSWER_SECONDS:.0f} seconds")
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkFailed(f"{self._way.name}: {word} failed\n{self._log.read_text()[-4000:]}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            # Threads of a library that wait for their poll interval.
            self._process.kill()
            self._process.wait()


class Worker:
    """A worker of one way for one job, paused while it is not its turn, and whoever feeds it."""

    def __init__(
        self,
        way: Way,
        *,
        lab: Lab,
        groups: list[ProcessGroup],
        variables: Mapping[str, str],
        feeder: Feeder,
        client: Redis,
    ) -> None:
        self.way = way
        self.groups = groups
        self.variables = variables
        """The environment of its processes."""
        self._lab = lab
        self._feeder = feeder
        self._client = client

    def warm_up(self, pipelines: int) -> None:
        """Run some pipelines, then pause."""
        self.run_pipelines(pipelines)
        self.pause()

    def measure(self, pipelines: int) -> Cost:
        """Run that many pipelines. The clock starts when all are enqueued and the pause ends."""
        expected = self._feeder.ask("count_finished") + pipelines
        self._feeder.ask("enqueue", pipelines)
        before = self._readings()
        started = time.perf_counter()
        self.go_on()
        ended = self._wait_for(expected)
        after = self._readings()
        self.pause()
        worker, database, broker, sent = (late - early for early, late in zip(before, after, strict=True))
        return Cost(
            seconds=ended - started,
            worker_cpu_seconds=worker,
            database_cpu_seconds=database,
            broker_cpu_seconds=broker,
            broker_bytes=int(sent),
        )

    def measure_latency(self, pipelines: int) -> list[float]:
        """Run pipelines one after the other with nothing else to do; return the seconds of each."""
        self.go_on()
        time.sleep(SETTLE_SECONDS)
        seconds: list[float] = self._feeder.ask("measure_latency", pipelines)
        self.pause()
        return seconds

    def measure_mixed(self, pipelines: int) -> tuple[list[float], float]:
        """Run one long pipeline and others right after it; return when each of the others ended, and the long one.

        Seconds from the end of the pause.
        """
        self._feeder.ask("enqueue_mixed", pipelines)
        self.go_on()
        answer = self._feeder.ask("time_mixed")
        self.pause()
        return answer["short"], answer["long"]

    def ask(self, word: str, *numbers: int) -> Any:
        """Ask the feeder for what only this application can do."""
        return self._feeder.ask(word, *numbers)

    def pause(self) -> None:
        for group in self.groups:
            group.pause()

    def go_on(self) -> None:
        for group in self.groups:
            group.go_on()

    def run_pipelines(self, pipelines: int) -> None:
        """Run some pipelines without a pause before or after."""
        expected = self._feeder.ask("count_finished") + pipelines
        self._feeder.ask("enqueue", pipelines)
        self._wait_for(expected)

    def _readings(self) -> tuple[float, float, float, float]:
        workers = sum(group.cpu_seconds() for group in self.groups)
        sent = int(self._client.info("stats")["total_net_input_bytes"])
        return workers, cpu_seconds(self._lab.postgres.pid), cpu_seconds(self._lab.broker.pid), sent

    def _wait_for(self, expected: int) -> float:
        """Return when the last pipeline had ended; with Celery that is when its last message was acknowledged."""
        seen, seen_at = -1, time.perf_counter()
        while True:
            time.sleep(BROKER_POLL_SECONDS if self.way.uses_celery else STORE_POLL_SECONDS)
            now = time.perf_counter()
            is_stuck = now - seen_at > PROGRESS_SECONDS
            # Only the broker is asked while there are messages.
            if self.way.uses_celery and self._has_messages() and not is_stuck:
                continue
            finished = self._feeder.ask("count_finished")
            if finished >= expected and not (self.way.uses_celery and self._has_messages()):
                return now
            if finished == seen and is_stuck:
                self._fail(f"{expected - finished} pipelines are not finished, and no more are")
            if finished != seen:
                seen, seen_at = finished, now

    def _has_messages(self) -> bool:
        return self._client.llen("celery") > 0 or self._client.hlen("unacked") > 0

    def _fail(self, problem: str) -> None:
        logs = "\n".join(group.log_tail() for group in self.groups)
        raise BenchmarkFailed(f"{self.way.name}: {problem}\n{logs}")


@contextmanager
def start_worker(way: Way, *, lab: Lab, job: Job, manner: Manner = USUAL) -> Iterator[Worker]:
    """Prepare a store of its own, start the worker, wait until it can work, and stop it at the end of the block."""
    variables = _environment(way, lab=lab, job=job)
    if not manner.has_sweeper:
        variables[NO_SWEEPER_VARIABLE] = "1"
    with ExitStack() as stack:
        feeder = start_feeder(way, lab=lab, job=job, stack=stack)
        groups = []
        for number in range(1 if way.uses_celery else lab.concurrency):
            log = lab.folder / f"{_file_name(way)}_{job.name}_{number}.log"
            group = ProcessGroup(_command(way, lab=lab, manner=manner), variables=variables, log=log)
            stack.callback(group.stop)
            groups.append(group)
        client = Redis.from_url(lab.redis_url(way))
        stack.callback(client.close)
        for group in groups:
            _wait_until_up(way, lab=lab, group=group, seconds=manner.start_seconds)
        yield Worker(way, lab=lab, groups=groups, variables=variables, feeder=feeder, client=client)


def start_feeder(way: Way, *, lab: Lab, job: Job, stack: ExitStack) -> Feeder:
    """Prepare a store of its own and return the feeder, which ends with the stack."""
    lab.clear(way)
    log = lab.folder / f"{_file_name(way)}_{job.name}_feeder.log"
    feeder = Feeder(way, variables=_environment(way, lab=lab, job=job), log=log)
    stack.callback(feeder.close)
    feeder.ask("prepare")
    return feeder


def _environment(way: Way, *, lab: Lab, job: Job) -> dict[str, str]:
    variables = {
        **lab.variables,
        **way.variables,
        BROKER_VARIABLE: lab.broker_url(way),
        STORE_VARIABLE: lab.store_url(way, job.name),
        STEPS_VARIABLE: str(job.steps),
        LONG_STEPS_VARIABLE: str(job.long_steps),
    }
    return {**variables, FAILS_VARIABLE: "1"} if job.fails else variables


def _command(way: Way, *, lab: Lab, manner: Manner) -> list[str]:
    if not way.uses_celery:
        return [*manner.prefix, sys.executable, "-m", way.module]
    options = ["--loglevel", "CRITICAL", "--pool", "prefork", "--concurrency", str(lab.concurrency)]
    return [
        *manner.prefix,
        sys.executable,
        "-m",
        "celery",
        "-A",
        way.module,
        "worker",
        *options,
        "--hostname",
        "worker@bench",
    ]


def _file_name(way: Way) -> str:
    return way.name.replace(" ", "_")


def _wait_until_up(way: Way, *, lab: Lab, group: ProcessGroup, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not _is_up(way, lab=lab, group=group):
        if group.has_ended or time.monotonic() > deadline:
            raise BenchmarkFailed(f"{way.name}: the worker does not start\n{group.log_tail()}")


def _is_up(way: Way, *, lab: Lab, group: ProcessGroup) -> bool:
    if not way.uses_celery:
        time.sleep(STORE_POLL_SECONDS)
        return READY in group.log_tail()
    with Celery(broker=lab.broker_url(way), set_as_current=False) as asking:
        return bool(asking.control.ping(timeout=0.5))
