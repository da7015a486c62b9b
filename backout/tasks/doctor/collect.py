"""Collect the facts about an installation; asks everybody, changes nothing, and goes on where somebody is away."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from celery import Celery

from backout.errors import ConfigurationError
from backout.pipelines.contract import Plan
from backout.settings import PREFIX, Settings
from backout.tasks.doctor.ask_broker import ask_broker
from backout.tasks.doctor.ask_ledger import ask_ledger
from backout.tasks.doctor.ask_pipelines import list_tasks
from backout.tasks.doctor.ask_workers import ask_workers
from backout.tasks.doctor.facts import (
    AppFacts,
    BrokerFacts,
    Facts,
    Failed,
    LedgerFacts,
    NotAsked,
    TaskFacts,
    Workers,
)
from backout.tasks.doctor.versions import installed_versions
from backout.tasks.runtime import configured

NO_APP: Final = "no Celery app is named"
DEFAULT_INTERVAL_SECONDS: Final = float(Settings.model_fields["sweep_interval_seconds"].default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be looked at.

    Attributes:
        app: `None` when only a ledger is named.
        app_name: by which commands find the app.
        database_url: comes before the app's own; `None` to use that.
        plans: of the pipelines that the app defines, or why they could not be read.
        timeout_seconds: how long to wait for each of broker, database and workers.
        with_workers: ask the workers too.
    """

    app: Celery | None
    app_name: str
    database_url: str | None
    plans: tuple[Plan, ...] | Failed
    timeout_seconds: float
    with_workers: bool


def collect_facts(question: Question, tell: Callable[[str], Any]) -> Facts:
    """Return the facts; `tell` is told what is waited for."""
    settings = _read_settings(question.app)
    tell("asking the database")
    ledger, open_plans = _ask_ledger(question, settings)
    tell("asking the broker")
    broker = _ask_broker(question)
    tell("waiting for answers of workers")
    workers = _ask_workers(question, broker)
    return Facts(
        host=socket.gethostname(),
        versions=installed_versions(),
        app=_read_app(question),
        settings=settings,
        tasks=_list_tasks(question, open_plans),
        ledger=ledger,
        broker=broker,
        workers=workers,
    )


def _read_app(question: Question) -> AppFacts | NotAsked:
    if question.app is None:
        return NotAsked(reason=NO_APP)
    return AppFacts(
        name=question.app_name,
        is_eager=bool(question.app.conf.task_always_eager),
        sends_sent_events=bool(question.app.conf.task_send_sent_event),
    )


def _read_settings(app: Celery | None) -> Settings | Failed | NotAsked:
    if app is None:
        return NotAsked(reason=NO_APP)
    try:
        return Settings.from_mapping(configured(app))
    except ConfigurationError as error:
        return Failed(said=error.problem, remedy=error.remedy)


def _ask_ledger(
    question: Question, settings: Settings | Failed | NotAsked
) -> tuple[LedgerFacts | Failed | NotAsked, list[object]]:
    url = question.database_url
    if url is None and isinstance(settings, Settings):
        url = settings.database_url
    if url is None and question.app is not None:
        # Another setting is wrong; the ledger can be asked all the same.
        with suppress(ConfigurationError):
            url = configured(question.app).get(f"{PREFIX}database_url")
    if not isinstance(url, str):
        return NotAsked(reason="the settings do not name a ledger"), []
    interval = settings.sweep_interval_seconds if isinstance(settings, Settings) else DEFAULT_INTERVAL_SECONDS
    return ask_ledger(url, sweep_interval_seconds=interval, timeout_seconds=question.timeout_seconds)


def _ask_broker(question: Question) -> BrokerFacts | Failed | NotAsked:
    if question.app is None:
        return NotAsked(reason=NO_APP)
    return ask_broker(question.app, timeout_seconds=question.timeout_seconds)


def _ask_workers(question: Question, broker: BrokerFacts | Failed | NotAsked) -> Workers | Failed | NotAsked:
    if question.app is None:
        return NotAsked(reason=NO_APP)
    if not question.with_workers:
        return NotAsked(reason="--no-workers")
    if not isinstance(broker, BrokerFacts):
        return NotAsked(reason="the broker, which carries the questions, does not answer")
    return ask_workers(question.app, timeout_seconds=question.timeout_seconds)


def _list_tasks(question: Question, open_plans: list[object]) -> tuple[TaskFacts, ...] | Failed | NotAsked:
    if question.app is None:
        return NotAsked(reason=NO_APP)
    if isinstance(question.plans, Failed):
        return question.plans
    return list_tasks(question.app, question.plans, open_plans)
