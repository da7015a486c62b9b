"""Ask the workers by Celery's remote control: what `celery inspect` can ask, in four questions."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Final

from celery import Celery

from backout.tasks.doctor.about_pipelines import ASKED_OPTIONS
from backout.tasks.doctor.answer import SWEEPER_KEY, WORKER_KEY
from backout.tasks.doctor.ask_broker import hide
from backout.tasks.doctor.clocks import difference
from backout.tasks.doctor.facts import Failed, QueueFacts, WorkerAnswer, WorkerFacts, Workers
from backout.tasks.doctor.patience import ask_within

POOLS: Final = {"thread": "threads", "asynpool": "prefork"}
"""Celery's module of a pool to the name that `--pool` takes; the others are equal."""
ROOM: Final = 6
"""All four questions, each of which may take the whole time, and the connection."""

_TASK: Final = re.compile(r"(?P<name>\S+)(?: \[(?P<options>.*)\])?")


def ask_workers(app: Celery, *, timeout_seconds: float) -> Workers | Failed:
    """Return what the workers of an app say; changes nothing.

    The first question takes the whole time, because nobody knows how many workers there are; the others end with the
    last answer.

    Args:
        app: whose broker is used to ask.
        timeout_seconds: how long to wait for the next answer.
    """
    try:
        return ask_within(timeout_seconds * ROOM, lambda: _ask(app, timeout_seconds))
    except Exception as error:
        # As in `ask_broker`: transports have no common ancestor of errors.
        return Failed(said=hide(" ".join(str(error).split()) or type(error).__name__, app.connection().password))


def _ask(app: Celery, timeout_seconds: float) -> Workers:
    asked_at = time.time()
    stats = _broadcast(app, "stats", timeout_seconds)
    answered_at = time.time()
    names = sorted({name for name, _ in stats})
    more: dict[str, dict[str, Any]] = {}
    if names:
        questions: dict[str, dict[str, Any]] = {
            "registered": {"taskinfoitems": list(ASKED_OPTIONS)},
            "active_queues": {},
            # Without the defaults: Celery logs warnings in the worker when it writes those of unused brokers.
            "conf": {"with_defaults": False},
        }
        for command, arguments in questions.items():
            more[command] = dict(_broadcast(app, command, timeout_seconds, arguments, names))
    return Workers(
        found=tuple(
            read_worker(
                name,
                stats=dict(stats)[name],
                registered=more["registered"].get(name),
                queues=more["active_queues"].get(name),
                conf=more["conf"].get(name),
                asked_at=asked_at,
                answered_at=answered_at,
            )
            for name in names
        ),
        names=tuple(sorted(name for name, _ in stats)),
        waited_seconds=timeout_seconds,
    )


def _broadcast(
    app: Celery,
    command: str,
    timeout_seconds: float,
    arguments: Mapping[str, Any] | None = None,
    names: list[str] | None = None,
) -> list[tuple[str, Any]]:
    """Return name and answer of each worker; those that answered with an error are left out."""
    # A connection for each question: over Redis, the read that ran into the end of the time is still under way on the
    # old one, and takes the answers to the next question with it.
    with app.connection_for_write() as connection:
        replies = app.control.broadcast(
            command,
            arguments=dict(arguments or {}),
            destination=names,
            reply=True,
            timeout=timeout_seconds,
            connection=connection,
        )
    answers = [(name, answer) for reply in replies or () for name, answer in reply.items()]
    return [(name, answer) for name, answer in answers if not (isinstance(answer, dict) and "error" in answer)]


def read_worker(
    name: str, *, stats: Any, registered: Any, queues: Any, conf: Any, asked_at: float, answered_at: float
) -> WorkerFacts:
    """Return what a worker's answers say.

    Args:
        name: its node name.
        stats: its answer to `inspect stats`.
        registered: to `inspect registered` with `ASKED_OPTIONS`; `None` if it did not answer.
        queues: to `inspect active_queues`; `None` if it did not answer.
        conf: to `inspect conf`; `None` if it did not answer.
        asked_at: when it was asked for its stats, in seconds since 1970 by this machine's clock.
        answered_at: when the last answer was here.
    """
    pool = stats.get("pool") if isinstance(stats.get("pool"), dict) else {}
    limits = pool.get("timeouts") or (0, 0)
    return WorkerFacts(
        name=name,
        pool=_pool_name(str(pool.get("implementation", ""))),
        concurrency=_whole(stats["autoscaler"].get("max") if "autoscaler" in stats else pool.get("max-concurrency")),
        soft_limit_seconds=float(limits[0] or 0),
        max_tasks_per_child=_whole(pool.get("max-tasks-per-child")),
        is_autoscaling="autoscaler" in stats,
        tasks=dict(map(_read_task, registered)) if isinstance(registered, list) else None,
        queues=tuple(_read_queue(queue) for queue in queues) if isinstance(queues, list) else None,
        conf=conf if isinstance(conf, dict) else {},
        backout=_read_answer(stats, asked_at, answered_at),
    )


def _pool_name(implementation: str) -> str:
    module = implementation.partition(":")[0].rpartition(".")[2]
    return POOLS.get(module, module or "unknown")


def _whole(value: object) -> int:
    """Return a number; 0 for what says that there is none, such as `N/A`."""
    return int(value) if isinstance(value, int | float) else 0


def _read_task(text: str) -> tuple[str, dict[str, str]]:
    """Read `shop.charge_card [acks_late=True soft_time_limit=30]`."""
    matched = _TASK.match(text)
    if matched is None:
        return text, {}
    pairs = (part.partition("=") for part in (matched["options"] or "").split(" ") if part)
    return matched["name"], {name: value for name, _, value in pairs}


def _read_queue(queue: Mapping[str, Any]) -> QueueFacts:
    return QueueFacts(name=str(queue.get("name")), arguments=queue.get("queue_arguments") or {})


def _read_answer(stats: Mapping[str, Any], asked_at: float, answered_at: float) -> WorkerAnswer | None:
    answer = stats.get(WORKER_KEY)
    if not isinstance(answer, dict):
        return None
    sweeper = stats.get(SWEEPER_KEY)
    return WorkerAnswer(
        fingerprint=str(answer.get("ledger")),
        host=str(answer.get("host")),
        clock_seconds=difference(float(answer.get("clock", asked_at)), asked_at=asked_at, answered_at=answered_at),
        sends_events=bool(answer.get("sends_events")),
        versions=answer.get("versions") or {},
        sweeper_is_alive=bool(sweeper.get("is_alive")) if isinstance(sweeper, dict) else None,
        sweeper_restarts=_whole(sweeper.get("restarts")) if isinstance(sweeper, dict) else 0,
    )
