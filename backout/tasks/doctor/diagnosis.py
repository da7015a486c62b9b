"""From facts to findings: every check, in the order in which they are shown. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from backout.tasks.doctor.about_broker import check_broker
from backout.tasks.doctor.about_ledger import check_ledger
from backout.tasks.doctor.about_monitoring import check_monitoring
from backout.tasks.doctor.about_pipelines import check_pipelines
from backout.tasks.doctor.about_runs import check_runs
from backout.tasks.doctor.about_settings import check_settings
from backout.tasks.doctor.about_workers import check_workers
from backout.tasks.doctor.facts import AppFacts, Facts
from backout.tasks.doctor.findings import Code, Finding

_CHECKS: Final[tuple[Callable[[Facts], Iterable[Finding]], ...]] = (
    check_settings,
    check_ledger,
    check_broker,
    check_workers,
    check_pipelines,
    check_runs,
    check_monitoring,
)
_PLACES: Final = {code: place for place, code in enumerate(Code)}


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """Return what the facts mean, by area and in the order of the checks; what could not be asked is a finding too."""
    findings = [_name_app(facts, finding) for check in _CHECKS for finding in check(facts)]
    return tuple(sorted(findings, key=lambda finding: _PLACES[finding.code]))


def _name_app(facts: Facts, finding: Finding) -> Finding:
    """Let commands name the app that was looked at; checks write `celery -A proj` for it."""
    if isinstance(facts.app, AppFacts):
        return replace(finding, to_copy=finding.to_copy.replace("celery -A proj", f"celery -A {facts.app.name}"))
    return replace(finding, to_copy=finding.to_copy.replace("celery -A proj backout", "backout"))
