"""The documented JSON shapes: records as dictionaries, enums as their values, instants as ISO 8601 in UTC."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from backout.compensations.next_actions import NextAction
from backout.ledger.records import ReviewRecord, RunRecord
from backout.pipelines.contract import Plan
from backout.pipelines.warnings import ContractWarning
from backout.views.contract_words import ContractWords, plain
from backout.views.look import Look
from backout.views.picture import RunPicture
from backout.views.reviews import is_overdue, say_asked
from backout.views.story import tell_story

INTERNAL: Final = frozenset({"claim_token", "claimed_by", "sweep_at"})
"""Fields of records that are the engine's own and may change in any release."""


def shape(value: object) -> Any:
    """Return a record, or a value of one, as JSON can express it.

    Example:
        `{"id": "01985c3e-…", "state": "rolled_back", "created_at": "2025-11-22T05:20:01.123456Z", …}`
    """
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, StrEnum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.name not in INTERNAL]
        return {name: shape(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(name): shape(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [shape(item) for item in value]
    return value


def shape_picture(picture: RunPicture, *, with_entries: bool) -> dict[str, Any]:
    """Return a run with all that is known of it.

    Keys: `summary` (the sentence), `customer_message` (what a customer may be told now), `run`, `plan` (`null` when
    this release cannot read it), `steps` (the rows, by round, forward before compensation, in the order of start),
    `reviews`, `now` and, if asked for, `entries`.
    """
    document = {
        "summary": tell_story(picture),
        "customer_message": picture.customer_message,
        "run": shape(picture.run),
        "plan": shape(picture.plan),
        "steps": shape(picture.steps),
        "reviews": shape(picture.reviews),
        "now": shape(picture.now),
    }
    if with_entries:
        document["entries"] = shape(picture.entries)
    return document


def shape_pipeline(plan: Plan, warnings: Sequence[ContractWarning]) -> dict[str, Any]:
    """Return a pipeline with its warnings.

    Keys: `name`, `digest`, `deadline_seconds` and `review_within_seconds` (`null`: none), `customer_messages` (state to
    text), `sensitive` (fields of the input that are shown masked), `steps` (the contracts, in order) and `warnings`
    (`code`, `step`, `problem`, `remedy`).
    """
    return {
        "name": plan.pipeline,
        "digest": plan.digest,
        "deadline_seconds": plan.deadline_seconds,
        "review_within_seconds": plan.review_within_seconds,
        "customer_messages": shape(plan.customer_messages),
        "sensitive": shape(plan.sensitive),
        "steps": shape(plan.steps),
        "warnings": shape(warnings),
    }


def shape_contract(plan: Plan, warnings: Sequence[ContractWarning], words: ContractWords) -> dict[str, Any]:
    """Return a pipeline with its contract in words.

    Keys: those of `shape_pipeline`, `facts` (sentences about runs as a whole), and in each step `in_words`: what is
    said of the `step` and of its `undo` (`null` when it has none), each from a stable key to text.
    """
    document = shape_pipeline(plan, warnings)
    for step, told in zip(document["steps"], words.steps, strict=True):
        undo = {row.key: plain(row.undo) for row in told.rows if row.undo}
        step["in_words"] = {"step": {row.key: plain(row.step) for row in told.rows}, "undo": undo or None}
    return {**document, "facts": [plain(fact) for fact in words.facts]}


def shape_preview(look: Look) -> dict[str, Any]:
    """Return what an action would do.

    Keys: `would_be_done`, `verb`, `run_id`, `state`, `version` (of what it was decided on), `refusal` (`null`, or why
    and remedy), `leads_to`, `tasks` in order, `notes`, `is_safe` and `warning`.
    """
    return {
        "would_be_done": look.is_possible,
        **shape(look.preview),
        "is_safe": look.is_possible and not look.warning,
        "warning": look.warning or None,
    }


def shape_action(action: NextAction) -> dict[str, Any]:
    """Return one thing that could be done about a run: `verb`, what it is about, `is_possible`, `is_safe`, `why`."""
    request = action.request
    return {
        "verb": request.verb.value,
        "step": request.step,
        "review_id": request.review_id,
        "decision": shape(request.decision),
        "is_possible": action.is_possible,
        "is_safe": action.is_safe,
        "why": action.why,
    }


def shape_review(review: ReviewRecord, run: RunRecord | None, now: datetime) -> dict[str, Any]:
    """Return what a person must decide, or has decided.

    Keys: those of the record, and `asked` (in words), `pipeline`, `subject_id` and `run_state` (`null` without the
    run), `age_seconds` and `is_overdue`.
    """
    return {
        **shape(review),
        "asked": say_asked(review),
        "pipeline": run.pipeline if run is not None else None,
        "subject_id": run.subject_id if run is not None else None,
        "run_state": run.state.value if run is not None else None,
        "age_seconds": (now - review.opened_at).total_seconds(),
        "is_overdue": is_overdue(review, now),
    }
