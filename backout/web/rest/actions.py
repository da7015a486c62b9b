"""What can be done about a run, what it would do, and doing it, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields as fields_of
from typing import Any, Final

from backout.compensations.actions import act
from backout.compensations.requests import Request, RunView, Verb
from backout.errors import StateChanged
from backout.jsontext import JsonValue, dump_json
from backout.views.look import Look, list_actions, look_at, needs_output
from backout.views.masking import mask_done
from backout.views.shapes import shape, shape_action, shape_preview
from backout.web.acting import is_across_denied
from backout.web.confirm import find_refusal
from backout.web.form_reading import FIELDS_OF
from backout.web.host import Permission, Viewer
from backout.web.rest.asking import Asked
from backout.web.rest.fields import NEEDED, ActionBody, PreviewQuery
from backout.web.rest.problems import Code, FieldProblem, Problem
from backout.web.rest.reading import read_value

LAST_ENTRIES: Final = 3
"""What happened last, as told to whoever was too late."""
_OF_REQUEST: Final = tuple(field.name for field in fields_of(Request))


def list_next(asked: Asked) -> JsonValue:
    """Return what can be done about a run: safe ones first, then what only a person can know, then what is refused."""
    view = asked.read_view()
    actions: list[JsonValue] = [
        {
            **shape_action(action),
            "to_step": action.request.to_step,
            "request": _ask_again(view, action.request, asked.viewer) if action.is_possible else None,
        }
        for action in list_actions(view)
    ]
    return {"run_id": view.run.id, "state": view.run.state.value, "version": view.version, "actions": actions}


def preview_action(asked: Asked) -> JsonValue:
    """Return what an action would do, and the request that does it."""
    query = asked.read_query(PreviewQuery)
    values = query.model_dump(include=set(_OF_REQUEST))
    given = query.model_fields_set
    if query.output is not None:
        values["output"] = read_value(query.output)
    request = _make_request(asked, values, given, list(PreviewQuery.model_fields))
    _require_across(asked, request)
    view = asked.read_view()
    return shape_look(look_at(asked.engine, view.run.id, request), request, asked.viewer)


def act_on_run(asked: Asked) -> JsonValue:
    """Do what is asked for, once, if the run is still what it was decided on."""
    asked.require(Permission.ACT, "You may look, and not act.")
    body = asked.read_body(ActionBody)
    known = list(ActionBody.model_fields)
    values = body.model_dump(include=set(_OF_REQUEST))
    request = _make_request(asked, values, body.model_fields_set, known)
    _require_across(asked, request)
    view = asked.read_view()
    # Before it is done: whether an output is needed, and what must not be shown, is known from the look.
    look = look_at(asked.engine, view.run.id, request)
    if "output" not in body.model_fields_set:
        _require_output(look, request, known)
    reason = body.reason.strip()
    try:
        done = act(
            view.run.id,
            request,
            actor=asked.viewer.name,
            reason=reason,
            expecting=body.expecting,
            engine=asked.engine,
        )
    except StateChanged as error:
        raise _tell_change(asked, error) from None
    document: dict[str, JsonValue] = shape(mask_done(done, look.view.plan, look.secrets))
    return {**document, "actor": asked.viewer.name, "reason": look.secrets.hide(reason)}


def shape_look(look: Look, request: Request, viewer: Viewer) -> dict[str, Any]:
    """Return a preview as other surfaces write it, and `request`: what to send to do it, `null` if it cannot be."""
    is_refused = find_refusal(look, request) is not None
    again = None if is_refused else _ask_again(look.view, request, viewer)
    return {**shape_preview(look), "request": again}


def _make_request(
    asked: Asked, values: Mapping[str, Any], given: frozenset[str] | set[str], known: Sequence[str]
) -> Request:
    request = Request(**values)
    own = {"verb", "reason", "expecting", *FIELDS_OF[request.verb]}
    said = {name for name in given if name == "output" or values.get(name) not in (None, False)}
    problems = [
        FieldProblem(field=name, problem=f"It does not go with {request.verb}.") for name in known if name in said - own
    ]
    problems += [
        FieldProblem(field=name, problem=f"It is missing: {request.verb} needs it.")
        for name in NEEDED.get(request.verb, ())
        if values[name] is None
    ]
    problem = _find_output_problem(asked, request) if "output" in said else ""
    if problem:
        problems.append(FieldProblem(field="output", problem=problem))
    if problems:
        raise Problem.of_fields(problems, known)
    return request


def _find_output_problem(asked: Asked, request: Request) -> str:
    if request.verb is Verb.RESOLVE and request.decision != "done":
        return "It goes with the decision done only."
    size_bytes, longest = len(dump_json(request.output).encode()), asked.engine.settings.max_payload_bytes
    if size_bytes > longest:
        return f"It has {size_bytes:,} bytes; the most that is recorded is {longest:,}."
    return ""


def _require_across(asked: Asked, request: Request) -> None:
    if is_across_denied(request, asked.viewer):
        asked.require(
            Permission.ACROSS_IRREVERSIBLE, "You may not undo what a run did across a step that cannot be undone."
        )


def _require_output(look: Look, request: Request, known: Sequence[str]) -> None:
    # What cannot be done at all has no such field to be mended.
    if needs_output(look.view, request) and find_refusal(look, request) is None:
        told = "Say what the step would have returned; if it returns nothing: null."
        raise Problem.of_fields([FieldProblem(field="output", problem=told)], known)


def _ask_again(view: RunView, request: Request, viewer: Viewer) -> dict[str, JsonValue] | None:
    """Return the request that does it; `None`: this person may not."""
    if not viewer.may(Permission.ACT) or is_across_denied(request, viewer):
        return None
    body = {name: shape(getattr(request, name)) for name in _OF_REQUEST}
    missing: list[JsonValue] = ["reason"]
    if needs_output(view, request) and request.output is None:
        missing.append("output")
    return {
        "method": "POST",
        "path": f"/runs/{view.run.id}/actions",
        "body": {name: value for name, value in body.items() if value not in (None, False)}
        | {"expecting": view.version},
        "missing": missing,
    }


def _tell_change(asked: Asked, error: StateChanged) -> Problem:
    """Return what has become of the run meanwhile, to decide anew."""
    picture = asked.read_picture(asked.run_id, last_entries=LAST_ENTRIES)
    more: dict[str, JsonValue] = {
        "run_id": picture.run.id,
        "expected": error.expected,
        "found": error.found,
        "state": picture.run.state.value,
        "version": asked.read_view().version,
        "entries": shape(picture.entries),
    }
    return Problem(
        code=Code.STATE_CHANGED,
        problem=f"This was decided on {error.expected}; the run is now {error.found}.",
        remedy="Nothing was changed. If this was sent twice, it was done the first time; else look, and decide anew.",
        more=more,
    )
