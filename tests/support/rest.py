"""Requests to the JSON API as a host would make them, and its document as a judge of every answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from jsonschema import Draft202012Validator, FormatChecker

from backout.pipelines.engine import Engine
from backout.web.host import Viewer
from backout.web.rest import PATHS, Answer, Call, answer, describe
from backout.web.rest.routes import match
from tests.support.pages import viewer

ALICE: Final = viewer(name="flower:alice")
DOCUMENT: Final = describe(server_url="/api")


def ask(
    engine: Engine, method: str, path: str, *, body: Any = None, who: Viewer = ALICE, **query: Any
) -> tuple[int, Any]:
    """Return the status and the document of an answer; fail where the document of the API does not promise it.

    Args:
        engine: whose ledger it is.
        method: of the request.
        path: below where the API is served.
        body: bytes as they are; what else it may be, as JSON.
        who: asks.
        query: name to value, or to several.
    """
    pairs = [(name, one) for name, value in query.items() for one in ([value] if isinstance(value, str) else value)]
    sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    found = answer(engine, Call(method=method, path=path, query=pairs, body=sent), viewer=who)
    judge(method, path, found)
    return found.status, json.loads(json.dumps(found.document, allow_nan=False))


def judge(method: str, path: str, found: Answer) -> None:
    """Fail where an answer is not one that the document promises for the request."""
    text = json.dumps(found.document, ensure_ascii=False, allow_nan=False).encode()
    if found.status in (404, 405):
        check(json.loads(text), "Error")
    if found.status == 405:
        assert found.headers["Allow"]
        return
    pattern = next((pattern for pattern in PATHS if match(pattern, path) is not None), None)
    if pattern is None:
        assert found.status == 404
        return
    promised: Mapping[str, Any] = DOCUMENT["paths"][pattern][method.lower()]["responses"]
    assert str(found.status) in promised, (method, path, found)
    [name] = promised[str(found.status)]["content"]["application/json"]["schema"].values()
    check(json.loads(text), name.rpartition("/")[2])
    if found.status != 200:
        code = json.loads(text)["error"]["code"]
        assert f"`{code}`" in promised[str(found.status)]["description"], (method, path, code)


def check(document: Any, schema: str) -> None:
    """Fail where a document does not fit one of the schemas."""
    problems = [f"{error.json_path}: {error.message[:200]}" for error in _validator(schema).iter_errors(document)]
    assert problems == []


@cache
def _validator(name: str) -> Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return Draft202012Validator(schema, format_checker=FormatChecker())
