"""Five trivial steps on backout and on a plain Celery chain: `python -m benchmarks.steps [--quick]`.

Same broker, same PostgreSQL with its default durability, same number of prefork children. The ways take turns in rounds
(A B B A …), because a shared machine changes its speed by a factor of two within minutes: only ratios inside a round
mean something.
"""

from __future__ import annotations

import argparse
import json
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final, NoReturn

from sqlalchemy import create_engine, text

from backout.testing.servers import ServerSource, ServerUnavailable, start_broker
from backout.testing.servers.postgres import start_postgres
from benchmarks.report import BASELINE, Report, as_json, describe
from benchmarks.workers import BenchmarkFailed, Measurement, Place, Way, Worker, start_worker

OWN_SOURCES: Final = (ServerSource.MACHINE, ServerSource.WHEEL)
PACKAGES: Final = ("backout", "celery", "kombu", "sqlalchemy", "psycopg", "redis", "pydantic")
WARM_UP_PIPELINES: Final = 20
CHAIN_RESULTS: Final = "SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS'"
LEDGER_STEPS: Final = "SELECT count(*) FROM backout_step WHERE state = 'succeeded'"


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code: 1 when a way did not do its work or there is no server."""
    arguments = _read_arguments(words)
    # Servers and workers are stopped by the ends of their blocks.
    signal.signal(signal.SIGTERM, _leave)
    try:
        report = run(arguments)
    except (BenchmarkFailed, ServerUnavailable) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print("\n" + describe(report))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(as_json(report), indent=2) + "\n")
    return 0


def run(arguments: argparse.Namespace) -> Report:
    """Start everything, measure in rounds, stop everything."""
    with ExitStack() as stack:
        say("starting a broker, PostgreSQL and the workers")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="backout-bench-")))
        broker = stack.enter_context(start_broker(sources=OWN_SOURCES))
        postgres = stack.enter_context(start_postgres(sources=OWN_SOURCES, durable=True))
        ways = _ways(postgres.create_database("chain"), postgres.create_database("ledger"), folder)
        place = Place(
            socket=broker.client_url.removeprefix("unix://").partition("?")[0],
            database_id=postgres.pid or 0,
            folder=folder,
            concurrency=arguments.concurrency,
        )
        workers = [stack.enter_context(_working(way, place)) for way in ways]
        versions = {"broker": broker.version, "database": f"{postgres.version}, {_durability(postgres.url)}"}
        rounds = list(_rounds(workers, arguments.rounds, arguments.pipelines))
        return Report(
            rounds=rounds,
            pipelines=arguments.pipelines,
            concurrency=arguments.concurrency,
            versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}, **versions},
        )


def _rounds(workers: Sequence[Worker], count: int, pipelines: int) -> Iterator[dict[str, Measurement]]:
    for worker in workers:
        say(f"warming up: {worker.way.name}")
        worker.measure(min(WARM_UP_PIPELINES, pipelines))
    for number in range(count):
        measured = {}
        for worker in workers if number % 2 == 0 else reversed(workers):
            result = measured[worker.way.name] = worker.measure(pipelines)
            say(f"round {number + 1} of {count}: {worker.way.name:<18} {result.steps_per_second:7.0f} steps/s")
        yield measured


def _ways(chain_url: str, ledger_url: str, folder: Path) -> tuple[Way, ...]:
    return (
        Way(
            name=BASELINE,
            module="benchmarks.apps.chain",
            database_url=chain_url,
            finished=CHAIN_RESULTS,
            broker_database=0,
        ),
        Way(
            name="backout",
            module="benchmarks.apps.pipeline",
            database_url=ledger_url,
            finished=LEDGER_STEPS,
            broker_database=1,
        ),
        Way(
            name="backout on SQLite",
            module="benchmarks.apps.pipeline",
            database_url=f"sqlite:///{folder / 'ledger.sqlite3'}",
            finished=LEDGER_STEPS,
            broker_database=2,
        ),
    )


@contextmanager
def _working(way: Way, place: Place) -> Iterator[Worker]:
    engine = create_engine(way.database_url)
    try:
        with start_worker(way, place=place, engine=engine) as worker:
            yield worker
    finally:
        engine.dispose()


def _durability(url: str) -> str:
    """Return what the server waits for, read from the server itself."""
    engine = create_engine(url)
    with engine.connect() as connection:
        settings = {
            name: connection.execute(text(f"SHOW {name}")).scalar_one() for name in ("fsync", "synchronous_commit")
        }
    engine.dispose()
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def say(what: str) -> None:
    """Print one line of progress."""
    print(f"{time.strftime('%H:%M:%S')}  {what}", flush=True)


def _leave(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(143)


def _read_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two short rounds, under a minute")
    parser.add_argument("--rounds", type=int, help="how often each way is measured (default 8; quick: 2)")
    parser.add_argument("--pipelines", type=int, help="per round and way (default 300; quick: 60)")
    parser.add_argument("--concurrency", type=int, default=2, help="prefork children of each worker (default 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to a file")
    arguments = parser.parse_args(words)
    arguments.rounds = arguments.rounds or (2 if arguments.quick else 8)
    arguments.pipelines = arguments.pipelines or (60 if arguments.quick else 300)
    return arguments


if __name__ == "__main__":
    sys.exit(main())
