"""The queries and bodies that the JSON API takes, as pydantic models: unknown fields are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, WithJsonSchema

from backout.compensations.actions import LONGEST_ACTOR, LONGEST_REASON
from backout.compensations.requests import ReviewDecision, Verb
from backout.states import RunState
from backout.web.fields import is_storable

MOST_RUNS: Final = 500
MOST_REVIEWS: Final = 500
LISTED: Final = 50
LONGEST_TEXT: Final = 1_000
RUN_ID: Final = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
BIGGEST_ID: Final = 2**63 - 1
FLAG: Final = {"type": "string", "enum": ["1", "0", "true", "false"]}


def _require_storable(text: str) -> str:
    if not is_storable(text):
        message = "It holds characters that cannot be recorded."
        raise ValueError(message)
    return text


def _require_words(text: str) -> str:
    if not text.strip():
        message = "It is empty."
        raise ValueError(message)
    return text


def _read_number(text: object) -> object:
    # pydantic takes "1_000" and "5.0" for numbers as well.
    if isinstance(text, str) and not re.fullmatch("[0-9]{1,19}", text):
        message = "It is no whole number."
        raise ValueError(message)
    return text


def _read_flag(text: object) -> object:
    flags = {"1": True, "true": True, "0": False, "false": False}
    if isinstance(text, str) and text not in flags:
        message = "Give 1 or 0."
        raise ValueError(message)
    return flags[text] if isinstance(text, str) else text


def _read_instant(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        instant = datetime.fromisoformat(text)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        message = "It is no instant: write it as 2025-11-22 or 2025-11-22T05:20:00Z."
        raise ValueError(message) from None


Words: TypeAlias = Annotated[str, AfterValidator(_require_storable), AfterValidator(_require_words)]
Text: TypeAlias = Annotated[Words, Field(min_length=1, max_length=LONGEST_TEXT)]
Flag: TypeAlias = Annotated[bool, BeforeValidator(_read_flag), WithJsonSchema(FLAG)]
Number: TypeAlias = Annotated[int, BeforeValidator(_read_number)]
AnId: TypeAlias = Annotated[Number, Field(ge=1, le=BIGGEST_ID)]
Instant: TypeAlias = Annotated[
    datetime,
    BeforeValidator(_read_instant),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}),
]


class Query(BaseModel):
    """What a query may hold; by itself nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class RunsQuery(Query):
    """Which runs are listed."""

    pipeline: Text | None = Field(None, description="Only runs of this pipeline.")
    state: tuple[RunState, ...] = Field((), description="Only runs in this state; may be repeated.")
    needs_person: Flag = Field(False, description="Only runs for which a person must decide something.")
    text: Text | None = Field(
        None, description="Only where the id, the source event, the subject or an external id is this."
    )
    since: Instant | None = Field(
        None, description="Only runs enqueued at this instant or later; without a zone it is in UTC."
    )
    before: Annotated[str, Field(pattern=f"^{RUN_ID}$")] | None = Field(
        None, description="Only runs older than the one of this id: `next_before` leads to the next page."
    )
    limit: Number = Field(LISTED, ge=1, le=MOST_RUNS, description="The most to list.")


class RunQuery(Query):
    """How much of a run is shown."""

    entries: Flag = Field(False, description="Also what happened, entry by entry.")


class ReviewsQuery(Query):
    """Which reviews are listed."""

    assignee: Text | None = Field(
        None, description="`mine`, `unassigned`, or the name of whoever looks after them, such as `flower:alice`."
    )
    after: AnId | None = Field(
        None, description="Only reviews opened after this one: `next_after` leads to the next page."
    )
    limit: Number = Field(LISTED, ge=1, le=MOST_REVIEWS, description="The most to list.")


class PreviewQuery(Query):
    """What would be done, were it asked for."""

    verb: Verb = Field(description="What is to be done.")
    step: Text | None = Field(None, description="A step: with `retry_step`, `skip_step` and `rerun_compensation`.")
    to_step: Text | None = Field(None, description="With `rollback`: the last step that is left as it is.")
    across_irreversible: Text | None = Field(
        None, description="With `rollback`: why it may pass a step that cannot be undone; needs a permission."
    )
    with_rollback: Flag = Field(False, description="With `cancel`: undo what was done.")
    review_id: AnId | None = Field(None, description="With `resolve`, which needs it: the review.")
    decision: ReviewDecision | None = Field(None, description="With `resolve`, which needs it.")
    output: Annotated[str, AfterValidator(_require_words)] | None = Field(
        None, description="With `resolve` and `done`: what the step would have returned, as JSON text."
    )


class Body(BaseModel):
    """What a body may hold. Read from JSON, without turning one type into another."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    reason: Words = Field(
        min_length=1, max_length=LONGEST_REASON, description="Why; kept in the record for whoever reads it later."
    )


class ActionBody(Body):
    """What is to be done about a run, why, and on what that was decided."""

    verb: Verb = Field(description="What is to be done.")
    step: Text | None = Field(None, description="A step: with `retry_step`, `skip_step` and `rerun_compensation`.")
    to_step: Text | None = Field(None, description="With `rollback`: the last step that is left as it is.")
    across_irreversible: Text | None = Field(
        None, description="With `rollback`: why it may pass a step that cannot be undone; needs a permission."
    )
    with_rollback: bool = Field(False, description="With `cancel`: undo what was done.")
    review_id: Annotated[int, Field(ge=1, le=BIGGEST_ID)] | None = Field(
        None, description="With `resolve`, which needs it: the review."
    )
    decision: ReviewDecision | None = Field(None, description="With `resolve`, which needs it.")
    output: JsonValue = Field(
        None, description="With `resolve` and `done`: what the step would have returned; `null`: it returns nothing."
    )
    expecting: Annotated[Words, Field(min_length=1, max_length=100)] = Field(
        description="The `version` of the run that was decided on; when it is another by now, nothing is done (409)."
    )


NEEDED: Final[Mapping[Verb, tuple[str, ...]]] = {
    Verb.RESOLVE: ("review_id", "decision"),
    Verb.RERUN_COMPENSATION: ("step",),
}
"""The fields without which a verb says nothing."""


class AssignmentBody(Body):
    """Who looks after a review from now on."""

    assignee: Annotated[Words, Field(min_length=1, max_length=LONGEST_ACTOR)] | None = Field(
        None, description="Who looks after it; `null`: who asks."
    )
    from_assignee: Annotated[Words, Field(min_length=1, max_length=LONGEST_ACTOR)] | None = Field(
        None,
        description="Who has looked after it until now; `null`: nobody. When it is another, nothing is done (409).",
    )
