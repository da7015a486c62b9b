"""How the doctor reads what it is answered: URLs without secrets, answers of workers, tasks and their queues."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from backout import Pipeline, step
from backout.ledger.session import Ledger
from backout.tasks.doctor.ask_broker import hide, shown_url
from backout.tasks.doctor.ask_ledger import ask_ledger
from backout.tasks.doctor.ask_pipelines import list_tasks
from backout.tasks.doctor.ask_workers import read_worker
from backout.tasks.doctor.facts import Failed
from backout.tasks.doctor.patience import NoAnswer, ask_within
from backout.tasks.doctor.versions import TESTED
from tests.support.celery_apps import fresh_app
from tests.unit.test_packaging import requirements

STATS: dict[str, Any] = {
    "pool": {
        "implementation": "celery.concurrency.prefork:TaskPool",
        "max-concurrency": 4,
        "max-tasks-per-child": "N/A",
        "timeouts": [30, 60],
    },
}
ANSWER = {"ledger": "abc", "host": "web-1", "clock": 100.0, "sends_events": True, "versions": {"celery": "5.7.0"}}


def read(**answers: Any) -> Any:
    given = {"stats": STATS, "registered": None, "queues": None, "conf": None, **answers}
    return read_worker("celery@web-1", **given, asked_at=99.0, answered_at=101.0)


# addresses


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:sekrit@cache:6379/1", "redis://:**@cache:6379/1"),
        ("redis+socket:///run/redis.sock?virtual_host=0&password=sekrit", "redis+socket:///run/redis.sock"),
        ("amqp://shop:sekrit@mq:5672/v", "amqp://shop:**@mq:5672/v"),
    ],
)
def test_the_address_of_a_broker_is_shown_without_its_password(url: str, shown: str) -> None:
    """Nor with options, which may hold one."""
    assert shown_url(Connection(url)) == shown


def test_a_password_in_an_error_is_hidden() -> None:
    """Drivers may quote what they were given."""
    assert hide("login of shop/sekrit failed", "sekrit") == "login of shop/*** failed"
    assert hide("no password at all", None) == "no password at all"


@pytest.mark.parametrize(
    ("one", "other", "are_equal"),
    [
        ("postgresql+psycopg://a:x@db/shop", "postgresql+psycopg://b:y@db/shop", True),
        ("postgresql+psycopg://a:x@db/shop", "postgresql+psycopg://a:x@db/other", False),
        ("postgresql+psycopg://a:x@db/shop", "postgresql+psycopg://a:x@db2/shop", False),
        ("postgresql+psycopg:///shop?host=/run", "postgresql+psycopg:///shop?host=/tmp", False),
        ("sqlite:////tmp/a/../shop.db", "sqlite:////tmp/shop.db", True),
    ],
)
def test_a_fingerprint_tells_databases_apart_and_not_users(one: str, other: str, are_equal: bool) -> None:
    """It may be told to everybody, so it says nothing about user and password."""
    assert (Ledger(one).fingerprint == Ledger(other).fingerprint) is are_equal


def test_a_password_among_the_options_of_a_url_is_not_shown() -> None:
    """Drivers take it there too."""
    shown = Ledger("postgresql+psycopg://db/shop?password=sekrit&sslpassword=sekrit&host=/run").shown_url
    assert "sekrit" not in shown
    assert "host=" in shown


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """Looking changes nothing."""
    missing = tmp_path / "ledger.db"
    found, _ = ask_ledger(f"sqlite:///{missing}", sweep_interval_seconds=5, timeout_seconds=1)
    assert isinstance(found, Failed)
    assert "no such file" in found.said
    assert not missing.exists()


def test_a_url_that_cannot_be_read_is_an_answer() -> None:
    """The doctor goes on with the rest."""
    found, _ = ask_ledger("not a url", sweep_interval_seconds=5, timeout_seconds=1)
    assert isinstance(found, Failed)
    assert "postgresql+psycopg://" in found.remedy


# answers of workers


def test_a_worker_with_backout_is_read() -> None:
    """Stats, options of tasks and queues become values."""
    found = read(
        stats={**STATS, "backout": ANSWER, "backout_sweeper": {"is_alive": True, "restarts": 2}},
        registered=["shop.charge [acks_late=True soft_time_limit=30]", "shop.look"],
        queues=[
            {"name": "celery", "queue_arguments": None},
            {"name": "q", "queue_arguments": {"x-queue-type": "quorum"}},
        ],
        conf={"task_always_eager": False},
    )
    assert (found.pool, found.concurrency, found.soft_limit_seconds, found.max_tasks_per_child) == ("prefork", 4, 30, 0)
    assert found.tasks == {"shop.charge": {"acks_late": "True", "soft_time_limit": "30"}, "shop.look": {}}
    assert [(queue.name, dict(queue.arguments)) for queue in found.queues] == [
        ("celery", {}),
        ("q", {"x-queue-type": "quorum"}),
    ]
    assert (found.backout.sweeper_is_alive, found.backout.sweeper_restarts) == (True, 2)
    assert found.backout.clock_seconds == 0.0


def test_a_worker_that_says_little_is_read_too() -> None:
    """What it did not say is unknown, not empty."""
    found = read()
    assert (found.backout, found.tasks, found.queues, found.conf) == (None, None, None, {})
    assert read(stats={}).pool == "unknown"
    assert read(stats={**STATS, "backout": ANSWER}).backout.sweeper_is_alive is None


@pytest.mark.parametrize(
    ("module", "pool"), [("prefork", "prefork"), ("thread", "threads"), ("solo", "solo"), ("gevent", "gevent")]
)
def test_pools_have_the_names_of_the_option(module: str, pool: str) -> None:
    """People know them by `--pool`."""
    stats = {"pool": {"implementation": f"celery.concurrency.{module}:TaskPool", "timeouts": []}}
    assert read(stats=stats).pool == pool


def test_a_worker_that_scales_counts_with_its_most_processes() -> None:
    """It may grow to that at any moment."""
    found = read(stats={**STATS, "autoscaler": {"max": 9, "min": 1, "qty": 1}})
    assert (found.is_autoscaling, found.concurrency) == (True, 9)


# tasks of pipelines


@step(effect="read", queue="looks")
def look(order: str) -> str:
    return order


@step(idempotent=True, timeout=50)
def pay(order: str) -> str:
    return order


@pay.compensation(action="give it back", timeout=70)
def pay_back(order: str, output: str | None) -> None: ...


@pay.reconcile
def find_payment(order: str) -> str:
    return order


PAYING = Pipeline("doctor_paying", [look, pay])


def test_tasks_of_a_pipeline_have_their_queues_and_timeouts() -> None:
    """Routing is Celery's own: options of the step first, then `task_routes`, then the default queue."""
    with fresh_app() as app:
        app.conf.task_routes = {f"{__name__}.pay_back": {"queue": "undoing"}}
        tasks = {task.name.rpartition(".")[2]: task for task in list_tasks(app, [PAYING.plan], [])}
    assert {name: (task.queue, task.timeout_seconds) for name, task in tasks.items()} == {
        "look": ("looks", 600.0),
        "pay": ("celery", 50.0),
        "pay_back": ("undoing", 70.0),
        "find_payment": ("celery", 600.0),
    }
    assert {task.needed_by for task in tasks.values()} == {"doctor_paying.look", "doctor_paying.pay"}


def test_tasks_of_runs_under_way_are_needed_too() -> None:
    """A plan that this release cannot read is left out, and a task that is also defined here counts as defined."""
    old = PAYING.plan.as_json
    renamed = {**old, "steps": [{**old["steps"][0], "task": "shop.old_look"}]}
    with fresh_app() as app:
        tasks = {task.name: task for task in list_tasks(app, [PAYING.plan], [renamed, old, {"format": 99}])}
    assert not tasks["shop.old_look"].is_defined_here
    assert tasks[f"{__name__}.look"].is_defined_here
    assert len(tasks) == 5


def test_a_queue_that_may_not_be_made_is_named_all_the_same() -> None:
    """No worker takes messages from it either."""
    with fresh_app() as app:
        app.conf.task_create_missing_queues = False
        (task,) = list_tasks(app, [replace(PAYING.plan, steps=PAYING.plan.steps[:1])], [])
    assert task.queue == "looks"


# patience and versions


def test_a_question_that_hangs_is_given_up() -> None:
    """And one that fails says how."""
    answered = threading.Event()
    with pytest.raises(NoAnswer, match=r"no answer within 0\.05 s"):
        ask_within(0.05, answered.wait)
    answered.set()
    with pytest.raises(ValueError, match="no"):
        ask_within(5, lambda: int("no"))
    assert ask_within(5, lambda: 42) == 42


def test_tested_versions_are_those_that_can_be_installed() -> None:
    """The doctor warns of what `pip` would not have installed."""
    declared = {
        requirement.name.lower(): {item.operator: item.version for item in requirement.specifier}
        for requirement in requirements()
    }
    for package, (lowest, first_beyond) in TESTED.items():
        assert declared[package] == {">=": lowest, "<": first_beyond}
