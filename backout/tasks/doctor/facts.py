"""What was found out about an installation: values only, so that what follows from them is decided without asking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backout.ledger.health import DatabaseFacts, Health
from backout.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Something that was asked and gave no usable answer.

    Attributes:
        place: what was asked, without secrets; empty where that is clear.
        said: what came instead of an answer, in one line.
        remedy: what whoever was asked says to do; empty if nothing.
    """

    place: str = ""
    said: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAsked:
    """Something that was not asked, and why."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """A Celery task that pipelines need.

    Attributes:
        name: the dotted name of the task.
        needed_by: pipeline and step, such as `fulfil_order.charge_card`.
        queue: where its messages go; `None` when they are routed by something else than a queue's name.
        timeout_seconds: of one attempt; `None` where it has none of its own.
        is_acked_late: its message is acknowledged after the attempt.
        is_defined_here: `False` when only runs under way name it: a deploy has removed or renamed it.
    """

    name: str
    needed_by: str
    queue: str | None
    timeout_seconds: float | None
    is_acked_late: bool = True
    is_defined_here: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AppFacts:
    """What the Celery app's own configuration says.

    Attributes:
        is_eager: tasks run in the process that sends them.
        sends_sent_events: an event is sent for each message, for Flower's column of that name.
    """

    name: str
    is_eager: bool = False
    sends_sent_events: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFacts:
    """What the ledger answered.

    Attributes:
        revision: `None` when it has no backout tables.
        differences: of the tables, in words; asked only where the revision is right.
        clock_seconds: how far its clock is before this machine's; negative: behind.
        health: `None` where the tables are not those of this release.
    """

    place: str
    fingerprint: str
    revision: str | None
    expected_revision: str
    differences: tuple[str, ...] = ()
    clock_seconds: float = 0.0
    database: DatabaseFacts
    health: Health | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisFacts:
    """What a Redis or Valkey server says of itself.

    Attributes:
        eviction_policy: what it does at its memory limit, such as `noeviction` or `allkeys-lru`.
        memory_limit_bytes: 0 without a limit.
        keeps_messages: it writes its data to disk, so that messages survive its restart; `None` when it does not say.
        is_replica: it copies another server and takes no writes.
    """

    eviction_policy: str
    memory_limit_bytes: int
    keeps_messages: bool | None
    is_replica: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFacts:
    """What the broker answered, and the options with which this app talks to it.

    Attributes:
        kind: kombu's name for what it speaks: `redis`, `amqp`, `memory`, …
        product: such as `Redis` or `RabbitMQ`; empty when it does not say.
        options: Celery's `broker_transport_options` with the transport's defaults applied.
        redis: what a Redis server says; `None` for another broker, or when it was not told.
    """

    place: str
    kind: str
    product: str = ""
    version: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    redis: RedisFacts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFacts:
    """A queue that a worker takes messages from.

    Attributes:
        arguments: with which it is declared, such as `x-queue-type`.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerAnswer:
    """What backout in a worker says.

    Attributes:
        fingerprint: of the database that it uses as its ledger.
        clock_seconds: how far its machine's clock is before this machine's; negative: behind.
        sweeper_is_alive: whether its sweeper process runs; `None` when it is not to keep one.
        sweeper_restarts: how often it had to start the sweeper again.
    """

    fingerprint: str
    host: str
    clock_seconds: float = 0.0
    sends_events: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    sweeper_is_alive: bool | None = None
    sweeper_restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFacts:
    """What one worker answered.

    Attributes:
        name: its node name, such as `celery@web-1`.
        pool: such as `prefork`, `threads`, `solo`, `gevent`.
        concurrency: how many tasks it runs at once, at most.
        soft_limit_seconds: Celery's soft time limit for all its tasks; 0 without one.
        max_tasks_per_child: 0 where its processes are not replaced.
        is_autoscaling: it starts and ends processes while it works.
        tasks: name to options that were asked for, as text; `None` when it did not say.
        queues: `None` when it did not say.
        conf: the settings of its Celery app that are not the defaults, secrets masked; empty when it did not say.
        backout: `None` when backout is not installed in its app.
    """

    name: str
    pool: str
    concurrency: int
    soft_limit_seconds: float = 0.0
    max_tasks_per_child: int = 0
    is_autoscaling: bool = False
    tasks: Mapping[str, Mapping[str, str]] | None = None
    queues: tuple[QueueFacts, ...] | None = None
    conf: Mapping[str, Any] = field(default_factory=dict)
    backout: WorkerAnswer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """The workers that answered, by name.

    Attributes:
        names: each as often as it answered: two workers may have one name.
    """

    found: tuple[WorkerFacts, ...]
    names: tuple[str, ...]
    waited_seconds: float

    @property
    def with_backout(self) -> tuple[WorkerFacts, ...]:
        """Those that can run steps."""
        return tuple(worker for worker in self.found if worker.backout is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that was found out about an installation.

    Attributes:
        host: the name of this machine.
        versions: package to version, in this process.
        tasks: the tasks that pipelines need, by name.
    """

    host: str
    versions: Mapping[str, str]
    app: AppFacts | NotAsked
    settings: Settings | Failed | NotAsked
    tasks: tuple[TaskFacts, ...] | Failed | NotAsked
    ledger: LedgerFacts | Failed | NotAsked
    broker: BrokerFacts | Failed | NotAsked
    workers: Workers | Failed | NotAsked

    @property
    def known_tasks(self) -> tuple[TaskFacts, ...]:
        """The tasks, none where they are not known."""
        return self.tasks if isinstance(self.tasks, tuple) else ()

    @property
    def known_workers(self) -> tuple[WorkerFacts, ...]:
        """The workers that answered, none where they were not asked."""
        return self.workers.found if isinstance(self.workers, Workers) else ()

    @property
    def used_settings(self) -> Settings | None:
        """The settings; `None` where they cannot be used."""
        return self.settings if isinstance(self.settings, Settings) else None

    @property
    def health(self) -> Health | None:
        """How the runs are doing; `None` where the ledger did not say."""
        return self.ledger.health if isinstance(self.ledger, LedgerFacts) else None

    @property
    def longest_unacknowledged_seconds(self) -> float:
        """The longest timeout of a task whose message is acknowledged after the attempt; 0 when there is none."""
        return max((task.timeout_seconds or 0.0 for task in self.known_tasks if task.is_acked_late), default=0.0)
