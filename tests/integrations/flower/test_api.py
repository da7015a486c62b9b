"""The JSON API in Flower: who may ask, from where, and that it says so in JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backout.ledger.session import Ledger
from backout.states import RunState
from tests.integrations.flower.starting import ALICE, BOB, LOGIN, Start
from tests.support.flowers import Answer, Client, Flower, find_release
from tests.support.ledgers import read_run
from tests.support.runs import RecordedRun
from tests.support.scenes import entries_of, reserved

OPERATORS = "--backout_operators=alice,carol@example.com"
ELSEWHERE = "https://elsewhere.example"
JSON = "application/json"


@pytest.fixture(scope="module", params=["2.0.1", "2.2 with login"])
def any_flower(request: pytest.FixtureRequest, start: Start) -> Flower:
    """The one that checks nothing by itself, and the newest below a prefix."""
    if request.param == "2.0.1":
        return start(LOGIN, OPERATORS, packages=find_release(request.param))
    return start(LOGIN, OPERATORS, "--url_prefix=mon/flower")


def send(client: Client, run: RecordedRun, **headers: str) -> Answer:
    """Ask to pause a run, as a program does."""
    body = {"verb": "pause", "reason": "the bank says so", "expecting": version_of(client, run)}
    headers = {"Content_Type": JSON, **headers}
    return client.post(f"/api/runs/{run.id}/actions", json.dumps(body).encode(), **headers)


def version_of(client: Client, run: RecordedRun) -> str:
    found: str = read(client.get(f"/api/runs/{run.id}/actions"))["version"]
    return found


def read(answer: Answer, status: int = 200) -> Any:
    """Return the document of an answer, which is JSON whatever its status."""
    assert answer.status == status, answer.text
    assert answer.headers["content-type"] == JSON
    assert answer.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in answer.headers
    return json.loads(answer.text)


def code_of(answer: Answer, status: int) -> Any:
    return read(answer, status)["error"]["code"]


def test_a_program_acts_once_and_the_entry_keeps_its_name(any_flower: Flower, ledger: Ledger) -> None:
    """R13: what is sent twice is done once."""
    run = reserved(ledger)
    client = any_flower.client(ALICE)
    version = version_of(client, run)
    assert read(send(client, run))["actor"] == "flower:alice"
    assert read_run(ledger, run.id).state is RunState.PAUSED
    before = entries_of(run)
    body = json.dumps({"verb": "pause", "reason": "again", "expecting": version}).encode()
    again = client.post(f"/api/runs/{run.id}/actions", body, Content_Type=JSON)
    assert code_of(again, 409) == "state_changed"
    assert entries_of(run) == before


def test_a_page_of_this_flower_may_act_with_its_token(any_flower: Flower, ledger: Ledger) -> None:
    """The one that its forms have, as a header."""
    run = reserved(ledger)
    client = any_flower.client(ALICE)
    client.get("/runs")
    assert code_of(send(client, run, Sec_Fetch_Site="same-origin"), 403) == "forged_request"
    token = client.cookies["_xsrf"]
    assert read(send(client, run, Sec_Fetch_Site="same-origin", X_Xsrftoken=token))["state"] == "paused"


@pytest.mark.parametrize(
    ("headers", "code", "status"),
    [
        ({"Sec_Fetch_Site": "cross-site"}, "forged_request", 403),
        ({"Origin": ELSEWHERE}, "forged_request", 403),
        ({"Origin": "null"}, "forged_request", 403),
        ({"Sec_Fetch_Site": "same-origin"}, "forged_request", 403),
        ({"Content_Type": "text/plain"}, "wrong_content_type", 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, "wrong_content_type", 415),
    ],
)
def test_what_another_site_may_have_sent_changes_nothing(
    any_flower: Flower, ledger: Ledger, headers: dict[str, str], code: str, status: int
) -> None:
    """From a browser it needs the token like a form; without one, a type that no form can have."""
    run = reserved(ledger)
    before = entries_of(run)
    assert code_of(send(any_flower.client(ALICE), run, **headers), status) == code
    assert entries_of(run) == before


def test_who_may_not_is_told_so_in_json(any_flower: Flower, ledger: Ledger) -> None:
    """Before anything is looked at; and other methods change nothing."""
    run = reserved(ledger)
    before = entries_of(run)
    refused = any_flower.client().get(f"/api/runs/{run.id}")
    assert code_of(refused, 401) == "not_logged_in"
    assert refused.headers["www-authenticate"].startswith("Basic")
    assert code_of(any_flower.client("alice:wrong").get("/api/runs"), 401) == "not_logged_in"
    assert code_of(send(any_flower.client(BOB), run), 403) == "not_permitted"
    client = any_flower.client(ALICE)
    for method in ("OPTIONS", "PUT", "DELETE", "HEAD", "TRACE", "QUERY"):
        wrong = client.ask(method, f"/api/runs/{run.id}/actions", Origin=ELSEWHERE)
        assert (wrong.status, wrong.headers["allow"]) == (405, "GET, POST")
    assert code_of(client.get("/api/runs?text=%ff"), 400) == "unreadable_request"
    assert code_of(client.get("/api/runs?text=a%00b"), 422) == "invalid_request"
    assert "%r" not in read(client.get("/api/runs/%ff"), 400)["error"]["problem"]
    assert code_of(client.get("/api/runs/a%2Fb"), 404) in ("unknown_run", "unknown_path")
    assert entries_of(run) == before
    assert "Traceback" not in any_flower.log


def test_a_ledger_that_is_away_is_said_in_json(start: Start, ledger: Ledger) -> None:
    """Its URL and its password are nowhere."""
    url = "postgresql+psycopg://backout:hidden-word@127.0.0.1:1/nowhere"
    flower = start(LOGIN, f"--backout_database_url={url}")
    away = flower.client(ALICE).get("/api/runs")
    assert code_of(away, 503) == "ledger_unavailable"
    assert "hidden-word" not in away.text + flower.log
