"""Single facts about a run and about what a person is asked, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from backout.ledger.records import RunRecord
from backout.views.clock import Clock
from backout.views.words import say_seconds

LONGEST_EVIDENCE: Final = 400


def say_took(run: RunRecord, clock: Clock) -> str:
    """Return how long a run took, or has taken so far, and with how many attempts."""
    attempts = f"{run.attempt_count} attempts" if run.attempt_count != 1 else "1 attempt"
    if run.finished_at is None:
        return f"{say_seconds(clock.seconds_since(run.created_at))} so far, {attempts}"
    return f"{say_seconds((run.finished_at - run.created_at).total_seconds())}, {attempts}"


def say_value(value: object) -> str:
    """Return a piece of evidence in words: a list as one, an earlier decision as a sentence, anything else as JSON."""
    match value:
        case str():
            return value
        case [*parts] if parts and all(isinstance(part, str) for part in parts):
            return ", ".join(map(str, parts))
        case [*parts] if parts and all(isinstance(part, Mapping) and "decision" in part for part in parts):
            return "; ".join(_say_decision(part) for part in parts if isinstance(part, Mapping))
        case _:
            return json.dumps(value, ensure_ascii=False)


def _say_decision(decided: Mapping[str, object]) -> str:
    return f"review {decided['review']}: {decided['decision']} by {decided['by']} ({decided['note']})"
