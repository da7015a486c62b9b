"""What the JSON API says when it does not do what it was asked for: one shape, stable codes, and what to do instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self

from backout.jsontext import JsonValue
from backout.views.words import clean
from backout.web.rest.calls import Answer

SEE_DOCUMENT: Final = "GET /backout/openapi.json describes every request."


class Code(StrEnum):
    """What was wrong, for programs. Stable; those of errors are those of the errors."""

    UNREADABLE_REQUEST = "unreadable_request"
    """For the host: what it was sent is no HTTP, or a text in it is no UTF-8."""
    INVALID_JSON = "invalid_json"
    NOT_LOGGED_IN = "not_logged_in"
    """For the host."""
    FORGED_REQUEST = "forged_request"
    """For the host: another site may have sent it."""
    NOT_PERMITTED = "not_permitted"
    UNKNOWN_PATH = "unknown_path"
    UNKNOWN_RUN = "unknown_run"
    UNKNOWN_REVIEW = "unknown_review"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    STATE_CHANGED = "state_changed"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    WRONG_CONTENT_TYPE = "wrong_content_type"
    """For the host: the body is not said to be JSON."""
    INVALID_REQUEST = "invalid_request"
    ACTION_REFUSED = "action_refused"
    PLAN_UNREADABLE = "plan_unreadable"
    EXPECTING_MISSING = "expecting_missing"
    INTERNAL_ERROR = "internal_error"
    LEDGER_UNAVAILABLE = "ledger_unavailable"


STATUSES: Final[Mapping[Code, int]] = {
    Code.UNREADABLE_REQUEST: 400,
    Code.INVALID_JSON: 400,
    Code.NOT_LOGGED_IN: 401,
    Code.FORGED_REQUEST: 403,
    Code.NOT_PERMITTED: 403,
    Code.UNKNOWN_PATH: 404,
    Code.UNKNOWN_RUN: 404,
    Code.UNKNOWN_REVIEW: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.STATE_CHANGED: 409,
    Code.PAYLOAD_TOO_LARGE: 413,
    Code.WRONG_CONTENT_TYPE: 415,
    Code.INVALID_REQUEST: 422,
    Code.ACTION_REFUSED: 422,
    Code.PLAN_UNREADABLE: 422,
    Code.EXPECTING_MISSING: 428,
    Code.INTERNAL_ERROR: 500,
    Code.LEDGER_UNAVAILABLE: 503,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldProblem:
    """What is wrong with one field of a body, or one parameter of a query.

    Attributes:
        field: its name, as it was sent.
        problem: a sentence.
    """

    field: str
    problem: str


@dataclass(kw_only=True, eq=False)
class Problem(Exception):
    """A request ends here; nothing was changed unless `remedy` says otherwise.

    A host makes one too, for what it refuses by itself: `Problem(code=Code.NOT_LOGGED_IN, …).as_answer()`.

    Attributes:
        problem: a sentence.
        remedy: what to do instead, a sentence.
        more: further keys of the document.
        headers: of the response.
    """

    code: Code
    problem: str
    remedy: str
    more: Mapping[str, JsonValue] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_fields(cls, problems: Sequence[FieldProblem], known: Sequence[str]) -> Self:
        """Return what is wrong with fields, and which there are."""
        fields: list[JsonValue] = [{"field": one.field, "problem": one.problem} for one in problems]
        return cls(
            code=Code.INVALID_REQUEST,
            problem=" ".join(f"{one.field}: {one.problem}" if one.field else one.problem for one in problems),
            remedy=SEE_DOCUMENT,
            more={"fields": fields, "known": list(known)},
        )

    def as_answer(self) -> Answer:
        """Return the response."""
        document: JsonValue = {
            "error": {
                "code": self.code.value,
                "problem": clean(self.problem),
                "remedy": clean(self.remedy),
                **self.more,
            }
        }
        return Answer(status=STATUSES[self.code], document=document, headers=self.headers)


def refuse_method(methods: Sequence[str]) -> Problem:
    """Return that a path takes other methods."""
    allowed = ", ".join(methods)
    return Problem(
        code=Code.METHOD_NOT_ALLOWED,
        problem=f"This path takes {allowed} only.",
        remedy=SEE_DOCUMENT,
        headers={"Allow": allowed},
    )
