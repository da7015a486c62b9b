"""Thousands of runs while everything around them is killed at random, and a bank with its own books as witness.

At the end every run is final or waits for a person, books and ledger agree, nothing was done twice and nothing is lost.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backout.ledger import queries, schema
from backout.ledger.session import Ledger
from backout.states import RunState
from tests.proof import shop
from tests.proof.audit import RunFacts, Verdict, audit
from tests.proof.bank import Bank, open_bank
from tests.proof.disasters import Scene
from tests.proof.servers import BROKERS, DATABASES, open_broker, open_database
from tests.proof.workers import Supervised

APP: Final = "tests.proof.shop"
PAUSE_SECONDS: Final = 0.4
SETTLE_SECONDS: Final = 300.0
SHOWN_PROBLEMS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a soak does."""

    runs: int
    seconds: float
    broker: str
    database: str
    workers: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a soak runs on."""

    scene: Scene
    ledger: Ledger
    bank: Bank


def main(words: list[str]) -> int:
    """Run a soak as the command line says; 0 when books and ledger agree."""
    plan = _read_words(words)
    say(f"{plan.runs:,} runs on {plan.broker} and {plan.database}, kills for {plan.seconds:g} s, seed {plan.seed}")
    started = time.monotonic()
    with _open_stage(plan) as stage:
        stage.scene.start_enqueuer()
        _strike(stage, plan)
        _let_settle(stage, plan)
        verdict = audit(_read_runs(stage.ledger), stage.bank.books(), plan.runs)
        if verdict.problems:
            say(stage.scene.workers.log())
        _report(stage.scene, verdict, time.monotonic() - started)
    return 1 if verdict.problems else 0


def _read_words(words: list[str]) -> Plan:
    parser = argparse.ArgumentParser(prog="make soak ARGS=…", description=__doc__)
    parser.add_argument("--runs", type=int, default=2_000, help="how many runs are enqueued (default: 2000)")
    parser.add_argument("--seconds", type=float, default=180.0, help="for how long things are killed (default: 180)")
    parser.add_argument("--broker", choices=BROKERS, default="redis")
    parser.add_argument("--database", choices=DATABASES, default="postgresql")
    parser.add_argument("--workers", type=int, default=2, help="with two processes each (default: 2)")
    parser.add_argument("--seed", type=int, default=None, help="of the kills (default: another one each time)")
    given = vars(parser.parse_args(words))
    return Plan(**{**given, "seed": random.randrange(1_000_000) if given["seed"] is None else given["seed"]})


@contextmanager
def _open_stage(plan: Plan) -> Iterator[Stage]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="backout-soak-")))
        bank = stack.enter_context(open_bank())
        broker = stack.enter_context(open_broker(plan.broker))
        database = stack.enter_context(open_database(plan.database, folder))
        url = database.new_url()
        ledger = Ledger(url)
        stack.callback(ledger.dispose)
        schema.upgrade(ledger)
        environment = {shop.BROKER: broker.url, shop.LEDGER: url, shop.BANK: str(bank.port)}
        options = ("--pool", "prefork", "--concurrency", "2")
        workers = Supervised(APP, *options, environment=environment, folder=folder, count=plan.workers)
        stack.callback(workers.close)
        workers.wait_until_ready()
        scene = Scene(
            broker=broker,
            database=database,
            workers=workers,
            enqueuer=["tests.proof.enqueue", str(plan.runs), str(plan.seconds)],
            environment=environment,
            chance=random.Random(plan.seed),
        )
        stack.callback(lambda: scene.enqueuing.kill() if scene.enqueuing is not None else None)
        yield Stage(scene=scene, ledger=ledger, bank=bank)


def _strike(stage: Stage, plan: Plan) -> None:
    """Let things be killed as long as the plan says."""
    ends_at = time.monotonic() + plan.seconds
    told_at = time.monotonic()
    while time.monotonic() < ends_at:
        stage.scene.strike()
        time.sleep(stage.scene.chance.uniform(0.0, 2 * PAUSE_SECONDS))
        if time.monotonic() > told_at:
            told_at = time.monotonic() + 10
            left = f"{max(0.0, ends_at - time.monotonic()):.0f} s to go"
            say(f"{_say_counts(_count(stage.ledger))}; {stage.scene.strikes.total()} strikes; {left}")


def _let_settle(stage: Stage, plan: Plan) -> None:
    """Let everything that was interrupted come to its end; what has not after some minutes is a finding."""
    ends_at = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < ends_at:
        stage.scene.workers.look_after()
        counts = _count(stage.ledger)
        is_asked = stage.scene.enqueuing is not None and stage.scene.enqueuing.poll() is not None
        if is_asked and all(state.is_settled for state in counts):
            return
        say(f"settling: {_say_counts(counts)}")
        time.sleep(3)


def _count(ledger: Ledger) -> dict[RunState, int]:
    return ledger.read_patiently(queries.count_by_state, what="the count of runs")


def _say_counts(counts: dict[RunState, int]) -> str:
    return ", ".join(f"{count} {state.value}" for state, count in sorted(counts.items())) or "no runs yet"


def _read_runs(ledger: Ledger) -> list[RunFacts]:
    def read(connection: Any) -> list[RunFacts]:
        runs = queries.list_runs(connection, limit=1_000_000)
        return [
            RunFacts(
                run=run,
                steps=queries.list_steps(connection, run.id),
                reviews=queries.list_reviews(connection, run.id),
            )
            for run in runs
        ]

    return ledger.read_patiently(read, what="the runs")


def _report(scene: Scene, verdict: Verdict, took_seconds: float) -> None:
    say("")
    for name, count in sorted(scene.strikes.items()):
        say(f"  {name:24}{count:7}")
    say(f"  {'workers started again':24}{scene.workers.ended:7}")
    say("")
    for state, count in sorted(verdict.states.items()):
        say(f"  runs {state:19}{count:7}")
    for reason, count in sorted(verdict.reasons.items()):
        say(f"  reviews {reason:16} {count:6}")
    say(f"  {'effects at the bank':24}{verdict.effects:7}")
    say(f"  {'problems':24}{len(verdict.problems):7}   after {took_seconds:.0f} s")
    for problem in verdict.problems[:SHOWN_PROBLEMS]:
        say(f"✗ {problem}")


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
