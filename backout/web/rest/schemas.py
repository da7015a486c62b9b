"""JSON Schemas of what the JSON API answers, derived from the records and values that the shapes are made of."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NewType, TypeAlias

from backout.compensations.actions import ActionDone, Preview
from backout.compensations.requests import ReviewDecision, Verb
from backout.ledger.records import EntryRecord, ReviewRecord, RunRecord, StepRecord
from backout.pipelines.contract import Plan
from backout.states import RunState
from backout.views.shapes import INTERNAL
from backout.web.rest.problems import Code

Schema: TypeAlias = dict[str, Any]

ANYTHING: Final[Schema] = {}
TEXT: Final[Schema] = {"type": "string"}
YES_NO: Final[Schema] = {"type": "boolean"}
WHOLE: Final[Schema] = {"type": "integer"}
INSTANT: Final[Schema] = {"type": "string", "format": "date-time"}
NULL: Final[Schema] = {"type": "null"}
_PLAIN: Final[Mapping[Any, Schema]] = {
    str: TEXT,
    bool: YES_NO,
    int: WHOLE,
    float: {"type": "number"},
    datetime: INSTANT,
    types.NoneType: NULL,
    Any: ANYTHING,
}


def refer(name: str) -> Schema:
    """Return a reference to one of the schemas of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def or_null(schema: Schema) -> Schema:
    """Return the schema of something that may be absent."""
    return {"anyOf": [schema, NULL]}


def make_object(properties: Mapping[str, Schema], *, optional: Sequence[str] = (), told: str = "") -> Schema:
    """Return the schema of an object with exactly these keys."""
    return {
        "type": "object",
        **({"description": told} if told else {}),
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def derive(annotation: Any) -> Schema:
    """Return the schema of what `views.shapes.shape` makes of a value of a type."""
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if isinstance(annotation, NewType):
        return derive(annotation.__supertype__)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return {"type": "string", "enum": [member.value for member in annotation]}
    if dataclasses.is_dataclass(annotation):
        return make_object(derive_fields(annotation))
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [derive(argument) for argument in arguments]}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": derive(arguments[1])}
    assert isinstance(origin, type), annotation
    assert issubclass(origin, Sequence), annotation
    return list_of(derive(arguments[0]))


def derive_fields(record: Any) -> dict[str, Schema]:
    """Return the schema of each field of a record that is shown."""
    # A value that JSON can express may be anything: the alias refers to itself.
    hints = typing.get_type_hints(record, localns={"JsonValue": Any})
    return {field.name: derive(hints[field.name]) for field in dataclasses.fields(record) if field.name not in INTERNAL}


def _make_review() -> Schema:
    more = {
        "asked": TEXT,
        "pipeline": or_null(TEXT),
        "subject_id": or_null(TEXT),
        "run_state": or_null(derive(RunState)),
        "age_seconds": {"type": "number"},
        "is_overdue": YES_NO,
    }
    return make_object({**derive_fields(ReviewRecord), **more}, told="What a person must decide, or has decided.")


def _make_request() -> Schema:
    needed = {"method": {"const": "POST"}, "path": TEXT, "body": {"type": "object"}, "missing": list_of(TEXT)}
    told = "What to send to do it: `body` with what is `missing` from it; `path` is below the server's URL."
    return make_object(needed, told=told)


def _make_preview() -> dict[str, Schema]:
    more = {"is_safe": YES_NO, "warning": or_null(TEXT), "request": or_null(refer("Request"))}
    return {"would_be_done": YES_NO, **derive_fields(Preview), **more}


def _make_action() -> Schema:
    return make_object(
        {
            "verb": derive(Verb),
            "step": or_null(TEXT),
            "to_step": or_null(TEXT),
            "review_id": or_null(WHOLE),
            "decision": or_null(derive(ReviewDecision)),
            "is_possible": YES_NO,
            "is_safe": YES_NO,
            "why": TEXT,
            "request": or_null(refer("Request")),
        },
        told="Something that could be done about a run; `request` is null where it cannot, or you may not.",
    )


def _make_picture() -> Schema:
    properties = {
        "summary": TEXT,
        "customer_message": TEXT,
        "run": refer("Run"),
        "plan": or_null(refer("Plan")),
        "steps": list_of(refer("Step")),
        "reviews": list_of(derive(ReviewRecord)),
        "now": INSTANT,
        "entries": list_of(refer("Entry")),
        "older_entries": WHOLE,
    }
    told = "All that is known of a run; `entries` and `older_entries` if asked for."
    return make_object(properties, optional=("entries", "older_entries"), told=told)


def _make_problem() -> Schema:
    field = make_object({"field": TEXT, "problem": TEXT})
    properties = {
        "code": derive(Code),
        "problem": TEXT,
        "remedy": TEXT,
        "fields": list_of(field),
        "known": list_of(TEXT),
        "run_id": TEXT,
        "expected": TEXT,
        "found": TEXT,
        "state": derive(RunState),
        "version": TEXT,
        "entries": list_of(refer("Entry")),
        "assignee": or_null(TEXT),
    }
    optional = [name for name in properties if name not in ("code", "problem", "remedy")]
    told = "Why it was not done, and what to do instead. Nothing was changed, unless `remedy` says otherwise."
    return make_object({"error": make_object(properties, optional=optional)}, told=told)


SCHEMAS: Final[Mapping[str, Schema]] = {
    "Run": derive(RunRecord),
    "Step": derive(StepRecord),
    "Entry": derive(EntryRecord),
    "Plan": derive(Plan),
    "Review": _make_review(),
    "Request": _make_request(),
    "Action": _make_action(),
    "Preview": make_object(_make_preview(), told="What an action would do. Nothing was changed."),
    "Runs": make_object(
        {
            "runs": list_of(refer("Run")),
            "counts": {"type": "object", "additionalProperties": WHOLE},
            "counted_to": WHOLE,
            "next_before": or_null(TEXT),
            "now": INSTANT,
        },
        told="Runs, newest first; `counts` are of all runs, or of the pipeline's, by state: of each as far as "
        "`counted_to`, and one more where there are more.",
    ),
    "Picture": _make_picture(),
    "Actions": make_object(
        {"run_id": TEXT, "state": derive(RunState), "version": TEXT, "actions": list_of(refer("Action"))}
    ),
    "Done": make_object({**derive_fields(ActionDone), "actor": TEXT, "reason": TEXT}, told="What an action has done."),
    "Reviews": make_object({"reviews": list_of(refer("Review")), "next_after": or_null(WHOLE), "now": INSTANT}),
    "ReviewPicture": make_object(
        {
            "review": refer("Review"),
            "summary": TEXT,
            "run": refer("Run"),
            "decisions": list_of(make_object({"decision": derive(ReviewDecision), **_make_preview()})),
        },
        told="What is asked, what is known, and what each decision would do.",
    ),
    "Assignment": make_object({"review_id": WHOLE, "run_id": TEXT, "assignee": TEXT, "before": or_null(TEXT)}),
    "Document": {"type": "object", "required": ["openapi", "info", "paths"]},
    "Error": _make_problem(),
}
"""The schemas of the document, besides those of requests."""
