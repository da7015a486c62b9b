"""What a check says: a stable code, how bad it is, what was found, why it matters, and what mends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    """As it should be."""
    NOTE = "note"
    """Good to know; nothing has to be done."""
    WARNING = "warning"
    """Works, and will hurt some day."""
    PROBLEM = "problem"
    """Does not work, or loses what the ledger promises to keep."""


class Area(StrEnum):
    """What a check is about, in the order in which they are shown."""

    SETTINGS = "settings"
    LEDGER = "ledger"
    BROKER = "broker"
    WORKERS = "workers"
    PIPELINES = "pipelines"
    RUNS = "runs"
    MONITORING = "monitoring"


class Code(StrEnum):
    """The checks. Stable: programs read them from `backout doctor --json`, people look them up in the reference."""

    SETTINGS = "settings"
    RESEND_SECONDS = "resend_seconds"
    ALWAYS_EAGER = "always_eager"
    VERSIONS = "versions"

    LEDGER_REACHABLE = "ledger_reachable"
    LEDGER_SCHEMA = "ledger_schema"
    LEDGER_TABLES = "ledger_tables"
    LEDGER_CLOCK = "ledger_clock"
    LEDGER_DURABILITY = "ledger_durability"
    LEDGER_CONNECTIONS = "ledger_connections"
    LEDGER_FILE = "ledger_file"

    BROKER_REACHABLE = "broker_reachable"
    BROKER_KIND = "broker_kind"
    VISIBILITY_TIMEOUT = "visibility_timeout"
    REDIS_EVICTION = "redis_eviction"
    REDIS_PERSISTENCE = "redis_persistence"
    REDIS_REPLICA = "redis_replica"
    REDIS_SOCKET_TIMEOUTS = "redis_socket_timeouts"
    AMQP_CONFIRMS = "amqp_confirms"
    AMQP_CONSUMER_TIMEOUT = "amqp_consumer_timeout"
    AMQP_QUEUES = "amqp_queues"

    WORKERS_ANSWER = "workers_answer"
    WORKER_NAMES = "worker_names"
    WORKER_BACKOUT = "worker_backout"
    WORKER_LEDGER = "worker_ledger"
    WORKER_CLOCK = "worker_clock"
    WORKER_VERSIONS = "worker_versions"
    WORKER_POOL = "worker_pool"
    WORKER_RECYCLING = "worker_recycling"
    WORKER_PREFETCH = "worker_prefetch"
    CONNECTION_LOSS = "connection_loss"

    DEFINITIONS = "definitions"
    TASKS_KNOWN = "tasks_known"
    QUEUES_CONSUMED = "queues_consumed"
    TASK_OPTIONS = "task_options"
    TIME_LIMITS = "time_limits"

    SWEEPER = "sweeper"
    OVERDUE = "overdue"
    UNTAKEN = "untaken"
    SILENT_RUNS = "silent_runs"
    REVIEWS = "reviews"

    WORKER_EVENTS = "worker_events"
    SENT_EVENTS = "sent_events"


_FIRST_OF_AREA: Final = {
    Code.SETTINGS: Area.SETTINGS,
    Code.LEDGER_REACHABLE: Area.LEDGER,
    Code.BROKER_REACHABLE: Area.BROKER,
    Code.WORKERS_ANSWER: Area.WORKERS,
    Code.DEFINITIONS: Area.PIPELINES,
    Code.SWEEPER: Area.RUNS,
    Code.WORKER_EVENTS: Area.MONITORING,
}


def _group_codes() -> dict[Code, Area]:
    area = Area.SETTINGS
    areas: dict[Code, Area] = {}
    for code in Code:
        area = _FIRST_OF_AREA.get(code, area)
        areas[code] = area
    return areas


AREAS: Final[Mapping[Code, Area]] = _group_codes()
"""Check to what it is about."""

ORDER: Final = (Level.PROBLEM, Level.WARNING, Level.NOTE, Level.OK)
"""Levels, worst first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check says. Texts are without a full stop; setting names and commands in them are in backticks.

    Attributes:
        found: what there is.
        why: why that matters; empty where nothing has to be done.
        remedy: what to do, in words; empty where nothing has to be done.
        to_copy: the setting or command that does it, ready to paste, one per line; empty where there is none.
    """

    code: Code
    level: Level
    found: str
    why: str = ""
    remedy: str = ""
    to_copy: str = ""

    @property
    def area(self) -> Area:
        """What it is about."""
        return AREAS[self.code]


def fine(code: Code, found: str) -> Finding:
    """Return the finding of a check that found nothing wrong."""
    return Finding(code=code, level=Level.OK, found=found)


def count_levels(findings: Sequence[Finding]) -> dict[Level, int]:
    """Return how many findings there are of each level, worst first, also where there are none."""
    return {level: sum(finding.level is level for finding in findings) for level in ORDER}
