"""The demo as one JSON document, for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from backout.cli.demo.ending import NextStep
from backout.cli.demo.stage import Stage
from backout.cli.demo.story import Told
from backout.cli.demo.verdict import Check, Evidence
from backout.views.story import tell_story


def summarise(
    told: Told,
    *,
    stage: Stage,
    shown_database: str,
    broker: str,
    steps: Sequence[NextStep],
    seconds: float,
    problem: str,
) -> dict[str, Any]:
    """Return the document that `backout demo --json` writes; its keys are in the help of the command."""
    return {
        "ok": not problem and not told.failed_checks,
        "problem": problem or None,
        "seconds": round(seconds, 1),
        "folder": stage.folder,
        "database": shown_database,
        "books": str(stage.books_path),
        "broker": broker,
        "refused": [{"order": item.id, "code": item.error.code, "message": str(item.error)} for item in told.refused],
        "orders": [_shape(item) for item in told.evidence],
        "checks": [_shape_check(check) for check in told.checks],
        "next": [asdict(step) for step in steps],
    }


def _shape(evidence: Evidence) -> dict[str, Any]:
    run = evidence.picture.run
    return {
        "order": evidence.order.id,
        "run": run.id,
        "state": run.state.value,
        "rollback_outcome": run.rollback_outcome.value,
        "summary": tell_story(evidence.picture),
        "external_ids": dict(run.external_ids),
        "effects": [asdict(effect) for effect in evidence.effects],
        "requests": [asdict(request) for request in evidence.requests],
        "killed": asdict(evidence.killed) if evidence.killed else None,
    }


def _shape_check(check: Check) -> dict[str, Any]:
    found = {"expected": check.expected, "found": check.found}
    return {"order": check.order_id, "claim": check.claim, "holds": check.holds, **found}
