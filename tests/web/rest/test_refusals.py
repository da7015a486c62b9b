"""What the JSON API refuses: who may not, what is not there, and what cannot be understood; always in one shape."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from backout.compensations.actions import preview
from backout.compensations.requests import Request, Verb
from backout.identifiers import new_run_id
from backout.ledger.session import Ledger
from backout.pipelines.contract import RecoveryKind
from backout.web.host import Permission
from backout.web.rest import PATHS, Call, answer
from backout.web.rest.routes import ROUTES
from tests.support.pages import viewer
from tests.support.recorder import RecordingEngine
from tests.support.rest import ask
from tests.support.runs import ORDER_PLAN, RecordedRun
from tests.support.scenes import doubted, parked
from tests.support.snapshots import take_snapshot
from tests.support.views import with_contract

ON_BOTH: Final = pytest.mark.parametrize("ledger", ["postgresql", "sqlite"], indirect=True)
ON_ONE: Final = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
GOOD: Final[dict[str, Any]] = {"verb": "cancel", "reason": "too old", "expecting": "0" * 16}


@ON_ONE
def test_who_may_not_look_is_shown_nothing(ledger: Ledger, engine: RecordingEngine) -> None:
    """At no path, whatever else they may."""
    run = parked(ledger)
    nobody = viewer(Permission.ACT, Permission.ACROSS_IRREVERSIBLE)
    for path in (*PATHS, "/nowhere"):
        for method in ("GET", "POST"):
            where = path.format(run_id=run.id, review_id=1)
            denied = answer(engine, Call(method=method, path=where, body=b"{}"), viewer=nobody)
            assert denied.status == 403
            assert "fulfil_order" not in str(denied.document)


@ON_ONE
def test_what_is_not_there_is_404_and_another_method_405(ledger: Ledger, engine: RecordingEngine) -> None:
    """With the methods that there are."""
    for path in ("", "/", "/runs/", "/nowhere", f"/runs/{new_run_id()}/actions/", "/reviews/1/assignment/x", "//runs"):
        assert ask(engine, "GET", path)[1]["error"]["code"] == "unknown_path"
    for run_id in (new_run_id(), "x", "²" * 36, new_run_id()[:13], f"{new_run_id()}\n", "a\x00b", "\ud800"):
        for method, path in (("GET", ""), ("GET", "/actions"), ("GET", "/preview"), ("POST", "/actions")):
            query: dict[str, Any] = {"verb": "pause"} if path == "/preview" else {}
            status, told = ask(
                engine, method, f"/runs/{run_id}{path}", body=GOOD if method == "POST" else None, **query
            )
            assert (status, told["error"]["code"]) == (404, "unknown_run")
    for number in ("0", "-1", "x", "1", "9" * 19, "9" * 40, "²", "1\n"):
        assert ask(engine, "GET", f"/reviews/{number}")[1]["error"]["code"] == "unknown_review"
        assert ask(engine, "POST", f"/reviews/{number}/assignment", body={"reason": "x"})[0] == 404
    for path in PATHS:
        allowed = {route.method for route in ROUTES if route.path == path} or {"GET"}
        for method in {"GET", "POST", "PUT", "DELETE", "HEAD", "TRACE", "x\n"} - allowed:
            refused = answer(engine, Call(method=method, path=path), viewer=viewer())
            assert refused.status == 405
            assert set(refused.headers["Allow"].split(", ")) == allowed


@ON_ONE
@pytest.mark.parametrize(
    ("path", "query", "field", "told"),
    [
        ("/runs", {"colour": "red"}, "colour", "There are: pipeline, state"),
        ("/runs", {"sate": "running"}, "sate", "Did you mean state?"),
        ("/runs", {"state": "broken"}, "state", "'in_review'"),
        ("/runs", {"state": ["running", "broken"]}, "state", "'in_review'"),
        ("/runs", {"text": ["a", "b"]}, "text", "twice"),
        ("/runs", {"text": ""}, "text", "empty"),
        ("/runs", {"text": "a\x00"}, "text", "cannot be recorded"),
        ("/runs", {"text": "\ud800"}, "text", "cannot be recorded"),
        ("/runs", {"x\ud800": "y"}, "x\\ud800", "cannot be recorded"),
        ("/runs", {"since": "yesterday"}, "since", "2025-11-22"),
        ("/runs", {"since": "0001-01-01T00:00:00+23:59"}, "since", "2025-11-22"),
        ("/runs", {"before": "1234"}, "before", "pattern"),
        ("/runs", {"limit": "501"}, "limit", "500"),
        ("/runs", {"limit": "0"}, "limit", "1"),
        ("/runs", {"limit": "1_0"}, "limit", "whole number"),
        ("/runs", {"limit": " 1"}, "limit", "whole number"),
        ("/runs", {"limit": "¹"}, "limit", "whole number"),
        ("/runs", {"needs_person": "yes"}, "needs_person", "1 or 0"),
        ("/runs/{}", {"entries": ""}, "entries", "1 or 0"),
        ("/runs/{}/actions", {"entries": "1"}, "entries", "There are: none"),
        ("/runs/{}/preview", {}, "verb", "missing"),
        ("/runs/{}/preview", {"verb": "drop_tables"}, "verb", "'retry_step'"),
        ("/runs/{}/preview", {"verb": "pause", "step": "x"}, "step", "does not go with pause"),
        ("/runs/{}/preview", {"verb": "rerun_compensation"}, "step", "missing"),
        ("/runs/{}/preview", {"verb": "resolve", "review_id": "9" * 30, "decision": "done"}, "review_id", "whole"),
        ("/reviews", {"after": str(2**63)}, "after", "less than"),
        ("/backout/openapi.json", {"x": "y"}, "x", "There are: none"),
    ],
)
def test_parameter_that_cannot_be_used_is_named(
    ledger: Ledger, engine: RecordingEngine, path: str, query: dict[str, Any], field: str, told: str
) -> None:
    """With what is wrong with it."""
    status, refused = ask(engine, "GET", path.format(parked(ledger).id), **query)
    assert status == 422
    [problem] = refused["error"]["fields"]
    assert problem["field"] == field
    assert told in problem["problem"]


@ON_ONE
@pytest.mark.parametrize(
    ("changed", "status", "told"),
    [
        ({"reason": None}, 422, "reason"),
        ({"reason": " \n"}, 422, "reason: It is empty."),
        ({"reason": "x" * 2_001}, 422, "reason"),
        ({"reason": "a\x00b"}, 422, "cannot be recorded"),
        ({"reason": "a\ud800b"}, 400, "no JSON"),
        ({"expecting": ""}, 422, "expecting"),
        ({"verb": "Cancel"}, 422, "verb"),
        ({"verb": 7}, 422, "verb"),
        ({"with_rollback": "1"}, 422, "with_rollback"),
        ({"verb": "pause", "with_rollback": True}, 422, "It does not go with pause."),
        ({"actor": "flower:bob"}, 422, "There is no such field."),
        ({"x\x1b[2J" * 100: 1}, 422, "There is no such field."),
        ({"verb": "rollback", "to_step": "nothing"}, 422, "rollback is refused"),
        ({"verb": "resolve"}, 422, "review_id: It is missing"),
        ({"verb": "resolve", "review_id": 1, "decision": "perhaps"}, 422, "decision"),
        ({"verb": "resolve", "review_id": 1.5, "decision": "done"}, 422, "review_id"),
        ({"verb": "resolve", "review_id": 2**63, "decision": "done"}, 422, "review_id"),
        ({"verb": "resolve", "review_id": 1, "decision": "accept", "output": 1}, 422, "the decision done only"),
        ({"verb": "resolve", "review_id": 1, "decision": "done", "output": "x" * 1_048_577}, 422, "1,048,579 bytes"),
    ],
)
def test_body_that_cannot_be_used_changes_nothing(
    ledger: Ledger, engine: RecordingEngine, changed: dict[str, Any], status: int, told: str
) -> None:
    """And says which field it is."""
    run = doubted(ledger)
    before = take_snapshot(ledger)
    version = preview(run.id, Request(verb=Verb.CANCEL), engine=engine).version
    body = {**GOOD, "expecting": version, **changed}
    found, refused = ask(engine, "POST", f"/runs/{run.id}/actions", body=body)
    assert (found, take_snapshot(ledger) == before) == (status, True), refused
    assert told in refused["error"]["problem"]


@ON_ONE
@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"verb=cancel", 400, "invalid_json"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b'{"reason": NaN}', 400, "invalid_json"),
        (b'{"reason": 1e999}', 400, "invalid_json"),
        (b'{"reason": "a", "reason": "b"}', 400, "invalid_json"),
        (b"[" * 60_000, 400, "invalid_json"),
        (b'{"output": ' + b"[" * 900 + b"]" * 900 + b"}", 400, "invalid_json"),
        (b"1" * 5_000, 400, "invalid_json"),
        (b"[]", 422, "invalid_request"),
        (b"null", 422, "invalid_request"),
        (b'{"verb": "cancel", "reason": "x"}', 428, "expecting_missing"),
        (b'{"reason": "x"}', 422, "invalid_request"),
        (b" " * 1_200_000, 413, "payload_too_large"),
    ],
)
def test_body_that_is_not_what_is_wanted_is_told_so(
    ledger: Ledger, engine: RecordingEngine, sent: bytes, status: int, code: str
) -> None:
    """Nothing of it is echoed at length."""
    found, refused = ask(engine, "POST", f"/runs/{parked(ledger).id}/actions", body=sent)
    assert (found, refused["error"]["code"]) == (status, code)
    assert len(json.dumps(refused)) < 3_000


@ON_BOTH
def test_across_what_cannot_be_undone_goes_only_who_may(ledger: Ledger, engine: RecordingEngine) -> None:
    """R7: a permission of its own, and a reason of its own."""
    recovery = {"recovery": RecoveryKind.IRREVERSIBLE, "recovery_reason": "it is spent", "compensation": None}
    run = RecordedRun(ledger=ledger, plan=with_contract(ORDER_PLAN, "charge_card", **recovery))
    run.succeed("check_address", "reserve_stock", "charge_card", "book_courier", "send_receipt")
    actor = viewer(Permission.VIEW, Permission.ACT)
    before = take_snapshot(ledger)
    across: dict[str, Any] = {"verb": "rollback", "across_irreversible": "the owner agreed"}
    assert ask(engine, "GET", f"/runs/{run.id}/preview", verb="rollback", who=actor)[1]["request"] is None
    assert ask(engine, "GET", f"/runs/{run.id}/preview", **across, who=actor)[0] == 403
    seen = ask(engine, "GET", f"/runs/{run.id}/preview", **across)[1]
    body = {**seen["request"]["body"], "reason": "asked for"}
    assert ask(engine, "POST", f"/runs/{run.id}/actions", body=body, who=actor)[0] == 403
    assert take_snapshot(ledger) == before
    assert ask(engine, "POST", f"/runs/{run.id}/actions", body=body)[1]["state"] == "rolling_back"


@ON_ONE
def test_what_was_not_foreseen_is_logged_and_not_shown(
    ledger: Ledger, engine: RecordingEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """No traceback leaves the process."""
    del engine.ledger
    broken = answer(engine, Call(method="GET", path="/runs"), viewer=viewer())
    assert broken.status == 500
    assert "AttributeError" not in str(broken.document)
    assert "AttributeError" in caplog.text
