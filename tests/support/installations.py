"""Facts about installations that do not exist: a healthy one, and how to make it ill."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from backout.ledger.durability import DurabilitySetting
from backout.ledger.health import DatabaseFacts, Health
from backout.settings import Settings
from backout.states import RunState
from backout.tasks.doctor.facts import (
    AppFacts,
    BrokerFacts,
    Facts,
    LedgerFacts,
    QueueFacts,
    RedisFacts,
    TaskFacts,
    WorkerAnswer,
    WorkerFacts,
    Workers,
)

FINGERPRINT = "0123456789ab"
VERSIONS = {"backout": "0.1.0", "celery": "5.7.0", "kombu": "5.7.0", "sqlalchemy": "2.1.0"}
OPTIONS = {"acks_late": "True", "reject_on_worker_lost": "True", "acks_on_failure": "True", "acks_on_timeout": "True"}
CHARGE = TaskFacts(name="shop.charge", needed_by="order.charge", queue="celery", timeout_seconds=600)
REFUND = TaskFacts(name="shop.refund", needed_by="order.charge", queue="celery", timeout_seconds=120)
HEALTH = Health(
    runs={RunState.RUNNING: 2, RunState.SUCCEEDED: 7},
    overdue_rows=0,
    overdue_seconds=0,
    untaken=(),
    silent_runs=0,
    silent_examples=(),
    reviews=0,
    review_seconds=0,
    late_reviews=0,
)
DATABASE = DatabaseFacts(
    name="postgresql",
    version="15.4",
    durability=(DurabilitySetting(name="fsync", value="on", is_safe=True, remedy=""),),
    most_connections=100,
)
LEDGER = LedgerFacts(
    place="postgresql+psycopg://shop:***@db/shop",
    fingerprint=FINGERPRINT,
    revision="0001",
    expected_revision="0001",
    database=DATABASE,
    health=HEALTH,
)
REDIS = RedisFacts(eviction_policy="noeviction", memory_limit_bytes=0, keeps_messages=True)
BROKER = BrokerFacts(
    place="redis://cache:6379/0",
    kind="redis",
    product="Redis",
    version="7.0.15",
    options={"visibility_timeout": 3600, "socket_timeout": 30, "socket_connect_timeout": 30},
    redis=REDIS,
)
RABBITMQ = BrokerFacts(
    place="amqp://mq:5672//", kind="amqp", product="RabbitMQ", version="3.13.0", options={"confirm_publish": True}
)
ANSWER = WorkerAnswer(
    fingerprint=FINGERPRINT, host="web-1", sends_events=True, versions=VERSIONS, sweeper_is_alive=True
)
WORKER = WorkerFacts(
    name="celery@web-1",
    pool="prefork",
    concurrency=4,
    tasks={"shop.charge": OPTIONS, "shop.refund": OPTIONS},
    queues=(QueueFacts(name="celery"),),
    conf={"worker_prefetch_multiplier": 1, "backout_database_url": "********"},
    backout=ANSWER,
)


def as_workers(*workers: WorkerFacts) -> Workers:
    """Return the workers that answered."""
    return Workers(found=workers, names=tuple(worker.name for worker in workers), waited_seconds=2)


HEALTHY = Facts(
    host="web-1",
    # An older Celery would have no bug to note; the range is checked on its own.
    versions=VERSIONS,
    app=AppFacts(name="proj", sends_sent_events=True),
    settings=Settings(database_url="postgresql+psycopg://shop:secret@db/shop"),
    tasks=(CHARGE, REFUND),
    ledger=LEDGER,
    broker=BROKER,
    workers=as_workers(WORKER),
)


def with_settings(**values: Any) -> Facts:
    """Return the healthy installation with other settings."""
    return replace(HEALTHY, settings=Settings(database_url="postgresql+psycopg://db/shop", **values))


def with_ledger(**values: Any) -> Facts:
    """Return the healthy installation with another answer of the ledger."""
    return replace(HEALTHY, ledger=replace(LEDGER, **values))


def with_database(**values: Any) -> Facts:
    """Return the healthy installation with another database."""
    return with_ledger(database=replace(DATABASE, **values))


def with_health(**values: Any) -> Facts:
    """Return the healthy installation with other runs."""
    return with_ledger(health=replace(HEALTH, **values))


def with_broker(broker: BrokerFacts = BROKER, **values: Any) -> Facts:
    """Return the healthy installation with another broker."""
    return replace(HEALTHY, broker=replace(broker, **values))


def with_redis(**values: Any) -> Facts:
    """Return the healthy installation with another Redis."""
    return with_broker(redis=replace(REDIS, **values))


def with_worker(**values: Any) -> Facts:
    """Return the healthy installation with another worker."""
    return replace(HEALTHY, workers=as_workers(replace(WORKER, **values)))


def with_answer(**values: Any) -> Facts:
    """Return the healthy installation whose worker says something else of backout."""
    return with_worker(backout=replace(ANSWER, **values))


def with_conf(**values: Any) -> Facts:
    """Return the healthy installation whose worker has other Celery settings."""
    return with_worker(conf={**WORKER.conf, **values})


def with_task(**values: Any) -> Facts:
    """Return the healthy installation whose first task is another."""
    return replace(HEALTHY, tasks=(replace(CHARGE, **values), REFUND))


def with_options(**values: str) -> Facts:
    """Return the healthy installation whose worker has other options of the first task."""
    return with_worker(tasks={"shop.charge": {**OPTIONS, **values}, "shop.refund": OPTIONS})
