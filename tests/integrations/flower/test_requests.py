"""Who may do what, and from where: the same in every mode of Flower, and in every release."""

from __future__ import annotations

import json

import pytest
from tornado.web import create_signed_value

from backout.ledger.session import Ledger
from backout.states import RunState
from tests.integrations.flower.starting import ALICE, BOB, LOGIN, Start, open_form
from tests.support.flowers import Answer, Client, Flower, find_release
from tests.support.ledgers import read_run
from tests.support.runs import RecordedRun
from tests.support.scenes import entries_of, reserved

OPERATORS = "--backout_operators=alice,carol@example.com"
COOKIE_SECRET = "kept-by-nobody-but-this-test"
ELSEWHERE = "https://elsewhere.example"
FORGERIES: dict[str, dict[str, str]] = {
    "another site": {"Sec_Fetch_Site": "cross-site"},
    "another site of this host": {"Sec_Fetch_Site": "same-site"},
    "an address that was typed": {"Sec_Fetch_Site": "none"},
    "an origin elsewhere": {"Origin": ELSEWHERE},
    "no origin that can be named": {"Origin": "null"},
}


def post(client: Client, run: RecordedRun, verb: str = "pause", **headers: str) -> Answer:
    """Send the form that its page shows, filled in."""
    form = open_form(client, run.id, verb)
    return client.post(form.action, form.fields, **headers)


def is_untouched(run: RecordedRun) -> bool:
    """Return whether nobody has done anything to the run by hand."""
    return read_run(run.ledger, run.id).state is RunState.RUNNING and not actors_of(run)


def actors_of(run: RecordedRun) -> list[str]:
    """Return who has done something to a run in Flower, once for each entry."""
    return [entry.actor for entry in entries_of(run) if entry.actor.startswith("flower:")]


@pytest.fixture(scope="module")
def with_login(start: Start) -> Flower:
    return start(LOGIN, OPERATORS, "--url_prefix=mon/flower")


@pytest.fixture(scope="module", params=["2.0.1", "2.1.0", "2.2 without login", "2.2 with login"])
def any_flower(request: pytest.FixtureRequest, start: Start) -> Flower:
    """Each release, and the modes in which Flower itself checks nothing, or little."""
    match request.param:
        case "2.2 without login":
            return start("--backout_act_without_login", environment={"FLOWER_UNAUTHENTICATED_API": "1"})
        case "2.2 with login":
            return start(LOGIN, OPERATORS, "--url_prefix=mon/flower")
        case version:
            return start(LOGIN, packages=find_release(version))


def test_an_operator_acts_and_the_entry_keeps_their_name(any_flower: Flower, ledger: Ledger) -> None:
    """A form that its page has shown is carried out, and says where it led."""
    run = reserved(ledger)
    client = any_flower.client(ALICE)
    done = post(client, run)
    assert done.status == 303, done.text
    assert done.headers["location"].endswith(f"/runs/{run.id}")
    shown = client.get(done.headers["location"])
    assert "Done: pause the run" in shown.text
    assert "Done: pause the run" not in client.get(done.headers["location"]).text, "it is said once"
    assert read_run(ledger, run.id).state is RunState.PAUSED
    name = "anonymous" if "act_without_login" in " ".join(map(str, any_flower.process.args)) else "alice"  # type: ignore[arg-type]
    assert set(actors_of(run)) == {f"flower:{name}"}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_form_that_another_site_sends_changes_nothing(any_flower: Flower, ledger: Ledger, forgery: str) -> None:
    """Even with everything that the page's own form has."""
    run = reserved(ledger)
    refused = post(any_flower.client(ALICE), run, **FORGERIES[forgery])
    assert refused.status == 403
    assert is_untouched(run)


@pytest.mark.parametrize("lost", ["field", "cookie", "both", "wrong"])
def test_a_form_without_its_token_changes_nothing(any_flower: Flower, ledger: Ledger, lost: str) -> None:
    """The token is in the form and in the cookie, and they are the same."""
    run = reserved(ledger)
    client = any_flower.client(ALICE)
    form = open_form(client, run.id, "pause")
    if lost in ("field", "both"):
        del form.fields["_xsrf"]
    if lost in ("cookie", "both"):
        client.cookies.pop("_xsrf")
    if lost == "wrong":
        form.fields["_xsrf"] = "2|00000000|00000000000000000000000000000000|1700000000"
    # Flower 2.2 lets a request through that has any Authorization header.
    assert client.post(form.action, form.fields).status == 403
    assert is_untouched(run)


def test_the_same_form_sent_twice_is_done_once(any_flower: Flower, ledger: Ledger) -> None:
    """R13: the second one was decided on a state that is no more."""
    run = reserved(ledger)
    client = any_flower.client(ALICE)
    form = open_form(client, run.id, "pause")
    assert client.post(form.action, form.fields).status == 303
    before = len(entries_of(run))
    again = client.post(form.action, form.fields)
    assert again.status in (409, 422)
    assert "nothing was changed" in again.text
    assert len(entries_of(run)) == before


def test_no_other_site_may_read_or_frame_a_page(any_flower: Flower, ledger: Ledger) -> None:
    """Older releases, and one without log-in, let any site read Flower's own pages."""
    run = reserved(ledger)
    client = any_flower.client(ALICE)
    for path in ("/runs", f"/runs/{run.id}", f"/runs/{run.id}/act?verb=pause", "/reviews", "/runs/nothing"):
        shown = client.get(path, Origin=ELSEWHERE)
        assert "access-control-allow-origin" not in shown.headers, path
        assert shown.headers["x-frame-options"] == "DENY"
        assert shown.headers["cache-control"] == "no-store"
    assert client.ask("OPTIONS", f"/runs/{run.id}/act", Origin=ELSEWHERE).status == 405


def test_a_viewer_looks_and_cannot_act(with_login: Flower, ledger: Ledger) -> None:
    """Who is not among the operators is told so, sees no button, and a form of their own changes nothing."""
    run = reserved(ledger)
    bob = with_login.client(BOB)
    shown = bob.get(f"/runs/{run.id}").text
    assert "You may look, and not act: bob is not among the operators" in shown
    assert 'method="post"' not in bob.get(f"/runs/{run.id}/act?verb=pause").text
    form = open_form(with_login.client(ALICE), run.id, "pause")
    form.fields["_xsrf"] = bob.cookies["_xsrf"]
    assert bob.post(form.action, form.fields).status == 403
    assert is_untouched(run)


@pytest.mark.parametrize("user", ["", "alice:wrong", "eve:right", "alice"])
def test_nobody_gets_in_with_a_wrong_password(with_login: Flower, ledger: Ledger, user: str) -> None:
    """Neither to read nor to act."""
    run = reserved(ledger)
    form = open_form(with_login.client(ALICE), run.id, "pause")
    stranger = with_login.client(user)
    for path in ("/runs", f"/runs/{run.id}", "/reviews", f"/runs/{run.id}/act?verb=pause"):
        refused = stranger.get(path)
        assert refused.status == 401, path
        assert run.id not in refused.text
    stranger.cookies["_xsrf"] = form.fields["_xsrf"]
    assert stranger.post(form.action, form.fields).status in (401, 403)
    assert is_untouched(run)


@pytest.mark.parametrize("mode", ["read only", "without login"])
def test_where_nobody_may_act_all_may_look_and_are_told_why(start: Start, ledger: Ledger, mode: str) -> None:
    """Flower's own buttons do nothing there either."""
    run = reserved(ledger)
    if mode == "read only":
        client, why = start(LOGIN, "--read_only").client(ALICE), "this Flower is read-only"
    else:
        client, why = start().client(), "this Flower does not ask who you are"
    shown = client.get(f"/runs/{run.id}")
    assert shown.status == 200
    assert why in shown.text
    assert 'method="post"' not in client.get(f"/runs/{run.id}/act?verb=pause").text
    fields = {"verb": "pause", "reason": "so", "expecting": "x", "_xsrf": client.cookies.get("_xsrf", "")}
    assert client.post(f"/runs/{run.id}/act", fields).status == 403
    assert is_untouched(run)


def test_with_oauth_the_entry_keeps_the_address_and_a_stranger_is_sent_to_the_login(
    start: Start, ledger: Ledger
) -> None:
    """A session is Flower's own signed cookie; the token is asked for beside it."""
    flower = start(
        "--auth=.*@example.com",
        "--auth_provider=flower.views.auth.GoogleAuth2LoginHandler",
        "--oauth2_key=key",
        "--oauth2_secret=secret",
        "--oauth2_redirect_uri=http://localhost/login",
        f"--cookie_secret={COOKIE_SECRET}",
        OPERATORS,
    )
    run = reserved(ledger)
    stranger = flower.client().get(f"/runs/{run.id}")
    assert stranger.status == 302
    assert stranger.headers["location"].startswith("/login")
    users = {}
    for name in ("carol", "dave"):
        users[name] = flower.client()
        signed = create_signed_value(COOKIE_SECRET, "user", f"{name}@example.com")
        users[name].cookies["user"] = signed.decode()
    assert "dave@example.com is not among the operators" in users["dave"].get(f"/runs/{run.id}").text
    form = open_form(users["carol"], run.id, "pause")
    assert users["carol"].post(form.action, {**form.fields, "_xsrf": ""}, Authorization="Bearer x").status == 403
    assert is_untouched(run)
    assert users["carol"].post(form.action, form.fields).status == 303
    assert set(actors_of(run)) == {"flower:carol@example.com"}


def test_what_is_not_there_is_said_on_a_page_of_its_own(with_login: Flower) -> None:
    """No traceback, and no page of Flower that speaks of tasks."""
    client = with_login.client(ALICE)
    for path in ("/runs/nothing", "/runs/0198f000-0000-7000-8000-000000000000", "/reviews/999999"):
        missing = client.get(path)
        assert missing.status == 404
        assert "Traceback" not in missing.text
        assert "backout-tab" in missing.text
    assert client.get("/runs?state=%ff").status == 400
    assert "backout-tab" in client.get("/runs?state=%ff").text
    token = client.cookies["_xsrf"]
    assert client.post("/runs/nothing/act", b"x" * (17 * 1024 * 1024), X_Xsrftoken=token).status == 413


def test_the_url_of_the_ledger_and_its_password_are_nowhere(start: Start, ledger: Ledger) -> None:
    """Also where the option of the tab names it, and where the ledger is away."""
    url = "postgresql+psycopg://backout:hidden-word@127.0.0.1:1/nowhere"
    flower = start(LOGIN, f"--backout_database_url={url}")
    client = flower.client(ALICE)
    away = client.get("/runs")
    assert away.status == 503
    assert "cannot be used just now" in away.text
    assert client.get("/workers").status == 200, "Flower's own pages go on"
    assert "hidden-word" not in away.text + flower.log
    assert json.dumps(url) not in flower.log
