"""What the configuration of an app alone says: nobody is asked, nothing is connected."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from celery import Celery

from backout.pipelines.contract import Plan
from backout.tasks.doctor.about_broker import check_broker
from backout.tasks.doctor.about_settings import check_settings
from backout.tasks.doctor.ask_broker import shown_url
from backout.tasks.doctor.ask_pipelines import list_tasks
from backout.tasks.doctor.facts import AppFacts, BrokerFacts, Facts, NotAsked
from backout.tasks.doctor.findings import Finding, Level
from backout.tasks.doctor.versions import installed_versions
from backout.tasks.runtime import runtime_of

_NOTHING = NotAsked(reason="only the configuration is looked at")


def check_configuration(app: Celery, plans: Iterable[Plan]) -> tuple[Finding, ...]:
    """Return what will not work, or will hurt some day, as far as the settings tell.

    Raises:
        ConfigurationError: a setting of backout cannot be used.
    """
    facts = Facts(
        host=socket.gethostname(),
        versions=installed_versions(),
        app=AppFacts(name=str(app.main), is_eager=bool(app.conf.task_always_eager)),
        settings=runtime_of(app).settings,
        tasks=list_tasks(app, plans, ()),
        ledger=_NOTHING,
        broker=_read_broker(app),
        workers=_NOTHING,
    )
    found = (*check_settings(facts), *check_broker(facts))
    return tuple(finding for finding in found if finding.level in (Level.WARNING, Level.PROBLEM))


def _read_broker(app: Celery) -> BrokerFacts:
    with app.connection_for_write() as connection:
        kind = str(connection.transport.driver_type)
        return BrokerFacts(place=shown_url(connection), kind=kind, options=dict(connection.transport_options or {}))
