"""What a form asks for: its fields as a request, or what is wrong with which field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from backout.compensations.actions import LONGEST_REASON
from backout.compensations.requests import Request, ReviewDecision, Verb
from backout.jsontext import JsonValue
from backout.web.fields import is_storable
from backout.web.json_text import read_json

FIELDS_OF: Final[Mapping[Verb, tuple[str, ...]]] = {
    Verb.RETRY_STEP: ("step",),
    Verb.SKIP_STEP: ("step",),
    Verb.RERUN_COMPENSATION: ("step",),
    Verb.ROLLBACK: ("to_step", "across_irreversible"),
    Verb.CANCEL: ("with_rollback",),
    Verb.RESOLVE: ("review_id", "decision", "output"),
    Verb.RESUME: (),
    Verb.CONTINUE_ROLLBACK: (),
    Verb.PAUSE: (),
}
"""The fields that belong to a verb; others are not looked at."""
_NO_BIGGER: Final = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a form says.

    Attributes:
        request: `None` when it cannot be told which.
        reason: why, as typed.
        expecting: the version of the preview that the person saw; empty: none.
        output: as typed.
        problems: field to what is wrong with it, a sentence.
    """

    request: Request | None
    reason: str = ""
    expecting: str = ""
    output: str = ""
    problems: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_output(self) -> bool:
        """An output was typed."""
        return bool(self.output.strip())


def read_form(form: Mapping[str, str], *, longest_output: int) -> Asked:
    """Return what a form asks for; of its problems those that need no ledger.

    Args:
        form: field to value, as the host decoded it.
        longest_output: bytes of an output.
    """
    # Browsers send the lines of a text with the line ends of 1983.
    given = {name: value.replace("\r\n", "\n") for name, value in form.items()}
    told = {"reason": given.get("reason", ""), "expecting": given.get("expecting", "").strip()}
    typed = given.get("output", "")
    try:
        verb = Verb(given.get("verb", ""))
    except ValueError:
        return Asked(request=None, **told, output=typed, problems={"verb": "Choose what is to be done."})
    problems: dict[str, str] = {}
    own = {name: given[name].strip() for name in FIELDS_OF[verb] if given.get(name, "").strip()}
    for name, value in own.items():
        if not is_storable(value):
            problems[name] = "It holds characters that cannot be recorded."
    request = Request(
        verb=verb,
        step=own.get("step"),
        to_step=own.get("to_step"),
        across_irreversible=own.get("across_irreversible"),
        review_id=_read_review_id(own, problems) if verb is Verb.RESOLVE else None,
        decision=_read_decision(own, problems) if verb is Verb.RESOLVE else None,
        output=_read_output(own.get("output", ""), problems, longest_output),
        with_rollback=own.get("with_rollback", "") in ("1", "on", "true"),
    )
    return Asked(request=request, **told, output=typed, problems=problems)


def find_reason_problem(reason: str) -> str:
    """Return what is wrong with a reason, a sentence; empty: nothing."""
    if not reason.strip():
        return "Say why: it is kept in the record, for whoever reads it later."
    if len(reason) > LONGEST_REASON:
        return f"It may have {LONGEST_REASON:,} characters; it has {len(reason):,}."
    return "" if is_storable(reason) else "It holds characters that cannot be recorded."


def write_fields(request: Request) -> dict[str, str]:
    """Return the fields that ask for a request again; without an output, which is the person's to type."""
    fields = {
        "verb": request.verb.value,
        "step": request.step,
        "to_step": request.to_step,
        "across_irreversible": request.across_irreversible,
        "review_id": str(request.review_id) if request.review_id is not None else None,
        "decision": request.decision.value if request.decision is not None else None,
        "with_rollback": "1" if request.with_rollback else None,
    }
    return {name: value for name, value in fields.items() if value}


def _read_review_id(own: Mapping[str, str], problems: dict[str, str]) -> int | None:
    text = own.get("review_id", "")
    if text.isascii() and text.isdigit() and len(text) < 20 and int(text) < _NO_BIGGER:
        return int(text)
    problems["review_id"] = "Name the review that is decided."
    return None


def _read_decision(own: Mapping[str, str], problems: dict[str, str]) -> ReviewDecision | None:
    try:
        return ReviewDecision(own.get("decision", ""))
    except ValueError:
        problems["decision"] = "Choose one of the decisions."
        return None


def _read_output(text: str, problems: dict[str, str], longest: int) -> JsonValue:
    if not text:
        return None
    try:
        found: JsonValue = read_json(text)
        size_bytes = len(json.dumps(found, ensure_ascii=False).encode())
    except (ValueError, RecursionError) as error:
        problems["output"] = f'That is no JSON: {error}. A text needs its quotes: "ch_881".'
        return None
    if size_bytes > longest:
        problems["output"] = f"It has {size_bytes:,} bytes; the most that is recorded is {longest:,}."
    return found
