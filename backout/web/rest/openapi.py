"""The OpenAPI document of the JSON API, made from its routes, the models of requests and the shapes of answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from backout.compensations.requests import Verb
from backout.web.form_reading import FIELDS_OF
from backout.web.rest.fields import BIGGEST_ID, NEEDED, RUN_ID, ActionBody, Query
from backout.web.rest.problems import STATUSES, Code
from backout.web.rest.routes import DOCUMENT_PATH, ROUTES, Link, Route
from backout.web.rest.schemas import SCHEMAS, Schema, refer

VERSION: Final = "1"
"""Of the API, not of the release: it becomes 2 when a program that was written for it would break."""
_TOLD: Final = """Runs and reviews of backout, with the same rules as the pages beside it.

Instants are ISO 8601 in UTC. Whoever asks is known to the application that serves this; their name is kept in the
record. What is refused has changed nothing, and says why, and what to do instead.
"""
_PLACES: Final[dict[str, Schema]] = {
    "run_id": {"type": "string", "pattern": f"^{RUN_ID}$"},
    "review_id": {"type": "integer", "minimum": 1, "maximum": BIGGEST_ID},
}
_WORDS: Final = {
    400: "The request, or the JSON in it, cannot be read.",
    401: "It is not known who you are.",
    403: "You may not do this.",
    404: "There is none of that name.",
    409: "It is not any more what this was decided on. Nothing was changed.",
    413: "The body is too long.",
    415: "The body is not said to be JSON.",
    422: "A field cannot be used, or what is asked for cannot be done. Nothing was changed.",
    428: "It is not said on what this was decided.",
    500: "A mistake of ours.",
    503: "The database does not answer.",
}
_ALWAYS: Final = (
    Code.UNREADABLE_REQUEST,
    Code.NOT_LOGGED_IN,
    Code.NOT_PERMITTED,
    Code.INVALID_REQUEST,
    Code.INTERNAL_ERROR,
    Code.LEDGER_UNAVAILABLE,
)
_OF_BODIES: Final = (Code.INVALID_JSON, Code.FORGED_REQUEST, Code.PAYLOAD_TOO_LARGE, Code.WRONG_CONTENT_TYPE)


def describe(*, server_url: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document.

    Args:
        server_url: where the host serves the API; may be relative to where it serves the document.
    """
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _describe_route(route)
    paths[DOCUMENT_PATH] = {"get": _describe_document()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "backout", "version": VERSION, "description": _TOLD, "license": {"name": "MIT"}},
        "servers": [{"url": server_url}],
        "paths": paths,
        "components": {"schemas": {**SCHEMAS, **_describe_bodies()}},
    }


def _describe_bodies() -> dict[str, Any]:
    models = [(route.body, "validation") for route in ROUTES if route.body is not None]
    _, schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type] # literals
    found: dict[str, Any] = schemas["$defs"]
    name = ActionBody.__name__
    verbs = {f"{name}_{verb}": _describe_verb(found[name], verb) for verb in Verb}
    mapping = {verb.value: refer(f"{name}_{verb}")["$ref"] for verb in Verb}
    either = {"oneOf": [refer(one) for one in verbs], "discriminator": {"propertyName": "verb", "mapping": mapping}}
    return {**found, **verbs, name: {"description": found[name]["description"], **either}}


def _describe_verb(body: Schema, verb: Verb) -> Schema:
    """Return the schema of a body for one verb: what goes with another one is refused."""
    own = {"verb": {"const": verb.value}} | {name: body["properties"][name] for name in FIELDS_OF[verb]}
    # What a verb needs may be left out of another one's body, or be null there.
    own |= {name: own[name]["anyOf"][0] for name in NEEDED.get(verb, ())}
    always = {name: body["properties"][name] for name in ("reason", "expecting")}
    return {
        "type": "object",
        "properties": {**own, **always},
        "required": ["verb", *NEEDED.get(verb, ()), *always],
        "additionalProperties": False,
    }


def _describe_route(route: Route) -> dict[str, Any]:
    refusals = {*_ALWAYS, *route.refusals, *(_OF_BODIES if route.body is not None else ())}
    described: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": [*_describe_places(route.path), *_describe_query(route.query)],
        "responses": _describe_answers(route.answer, refusals, route.links),
    }
    if route.body is not None:
        content = {"application/json": {"schema": refer(route.body.__name__)}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _describe_document() -> dict[str, Any]:
    return {
        "operationId": "describe",
        "summary": "Show this document.",
        "responses": _describe_answers("Document", set(_ALWAYS)),
    }


def _describe_places(path: str) -> Iterator[Schema]:
    for name, schema in _PLACES.items():
        if f"{{{name}}}" in path:
            yield {"name": name, "in": "path", "required": True, "schema": schema}


def _describe_query(query: type[Query]) -> Iterator[Schema]:
    described = query.model_json_schema()
    definitions = described.get("$defs", {})
    for name, schema in described.get("properties", {}).items():
        yield {
            "name": name,
            "in": "query",
            "required": name in described.get("required", ()),
            "description": schema["description"],
            "schema": _simplify(schema, definitions),
        }


def _simplify(schema: Any, definitions: Schema) -> Any:
    """Return the schema of a parameter: null is no value of a query, and all is in one place."""
    if isinstance(schema, list):
        return [_simplify(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _simplify(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    kept = {name: value for name, value in schema.items() if name not in ("title", "default", "description")}
    options = [one for one in kept.get("anyOf", ()) if one != {"type": "null"}]
    if len(options) == 1:
        return _simplify(
            {**options[0], **{name: value for name, value in kept.items() if name != "anyOf"}}, definitions
        )
    return {name: _simplify(options if name == "anyOf" else value, definitions) for name, value in kept.items()}


def _describe_answers(answer: str, refusals: set[Code], links: Sequence[Link] = ()) -> dict[str, Any]:
    statuses = sorted({STATUSES[code] for code in refusals})
    failed = {str(status): _describe_answer(_say_status(status, refusals), "Error") for status in statuses}
    went_well = _describe_answer("It went well.", answer)
    if links:
        went_well["links"] = {link.to: _describe_link(link) for link in links}
    return {"200": went_well, **failed}


def _describe_link(link: Link) -> dict[str, Any]:
    body = {"requestBody": link.body} if link.body is not None else {}
    return {"operationId": link.to, "parameters": dict(link.places), **body}


def _say_status(status: int, refusals: set[Code]) -> str:
    codes = ", ".join(f"`{code}`" for code in Code if code in refusals and STATUSES[code] == status)
    return f"{_WORDS[status]} Codes: {codes}."


def _describe_answer(words: str, schema: str) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": refer(schema)}}}
