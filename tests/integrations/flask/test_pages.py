"""The blueprint: who is let in, that forms are ours, and that the pages find their way under any prefix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from flask import Flask, abort, redirect
from flask.testing import FlaskClient
from flask_wtf import CSRFProtect
from itsdangerous import TimestampSigner
from jinja2 import DictLoader
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import TestResponse

from backout import AskHuman, ConfigurationError, Pipeline, RunHandle, RunState, step
from backout.integrations.flask import Backout, Permission, backout_pages
from backout.testing import Scratch
from tests.integrations.flask.apps import MakeApp, app_maker
from tests.support.forms import Form, Reader

PREFIX = "/staff/pipelines"
REASON = {"reason": "the customer has called"}


@step(effect="write", idempotent=True, keep="harmless")
def look(customer: str) -> None:
    raise AskHuman("systems_disagree", "two addresses")


asks = Pipeline("asks_a_person", [look], subject=lambda customer: customer)


@dataclass(kw_only=True)
class Desk:
    """A web site with the pages, somebody in front of it, and a run that waits for a person.

    Attributes:
        allowed: what the person who is logged in may do.
        denies: what happens where they may not.
    """

    app: Flask
    scratch: Scratch
    run: RunHandle
    who: str = "ada"
    allowed: set[Permission] = field(default_factory=lambda: set(Permission))
    denies: Callable[[], None] = lambda: None

    def authorize(self, permission: Permission) -> str | None:
        if permission in self.allowed:
            return self.who
        self.denies()
        return None

    def client(self) -> FlaskClient:
        return self.app.test_client()

    @property
    def page(self) -> str:
        return f"{PREFIX}/runs/{self.run.id}"

    def preview(self, client: FlaskClient, verb: str = "cancel") -> Form:
        shown = client.get(f"{self.page}/act", query_string={"verb": verb})
        assert shown.status_code == 200
        return Reader(shown.text).post

    def state(self) -> RunState:
        return self.run.status().state


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeApp]:
    with app_maker(tmp_path) as making:
        yield making


@pytest.fixture
def desk(make: MakeApp, tmp_path: Path) -> Iterator[Desk]:
    app = make(SECRET_KEY="secret", BACKOUT_DATABASE_URL="sqlite:///ledger.sqlite3")
    extension = Backout(app)
    with Scratch(tmp_path) as scratch:
        desk = Desk(app=app, scratch=scratch, run=scratch.run(asks, "customer-1"))
        app.register_blueprint(extension.blueprint(desk.authorize), url_prefix=PREFIX)
        assert desk.state() is RunState.IN_REVIEW
        yield desk


def send(client: FlaskClient, form: Form, *, headers: dict[str, str] | None = None, **fields: str) -> TestResponse:
    return client.post(form.action, data={**form.fields, **REASON, **fields}, headers=headers)


# --- Who is let in ----------------------------------------------------------------------------------------------------


def test_pages_without_a_doorkeeper_cannot_be_made(make: MakeApp) -> None:
    """Nobody forgets to say who may see the pages: without it there are none. Without a secret key neither."""
    with pytest.raises(TypeError):
        backout_pages()  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="Give `authorize`"):
        backout_pages(None)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="Set SECRET_KEY"):
        make().register_blueprint(backout_pages(lambda _: "ada"))


def test_stranger_sees_and_changes_nothing(desk: Desk) -> None:
    """Whoever is not let in gets 403 for every page and every form, and reads nothing about any run."""
    form = desk.preview(desk.client())
    desk.allowed.clear()
    pages = [
        "/",
        f"/runs/{desk.run.id}",
        f"/runs/{desk.run.id}/act?verb=cancel",
        "/reviews",
        "/reviews/1",
        "/pipelines",
    ]
    answers = [desk.client().get(f"{PREFIX}{page}") for page in pages]
    answers += [send(desk.client(), form), desk.client().post(f"{PREFIX}/reviews/1/take")]
    assert {answer.status_code for answer in answers} == {403}
    assert not any("customer-1" in answer.text for answer in answers)
    assert desk.state() is RunState.IN_REVIEW


def test_stranger_is_sent_to_the_login_if_the_app_says_so(desk: Desk) -> None:
    """The application's own answer to strangers goes out as it is."""
    desk.allowed.clear()
    desk.denies = lambda: abort(redirect("/login"))
    assert desk.client().get(desk.page).location == "/login"


def test_reader_gets_pages_without_forms(desk: Desk) -> None:
    """Who may only look sees the run; a form of somebody else's does nothing, also where the app answers otherwise."""
    form = desk.preview(desk.client())
    desk.allowed = {Permission.VIEW}
    desk.denies = lambda: abort(401)
    client = desk.client()
    shown = client.get(desk.page)
    assert (shown.status_code, "customer-1" in shown.text) == (200, True)
    assert [one for one in Reader(shown.text).forms if one.method == "post"] == []
    assert send(client, form).status_code == 401
    assert desk.state() is RunState.IN_REVIEW


def test_doorkeeper_that_returns_no_name_is_an_error(desk: Desk) -> None:
    """A user object would be kept as an actor that nobody can read: refused, with what to return."""
    desk.who = object()  # type: ignore[assignment]
    desk.app.testing = True
    with pytest.raises(ConfigurationError, match="Return the name"):
        desk.client().get(desk.page)


# --- Acting -----------------------------------------------------------------------------------------------------------


def test_action_is_done_once_and_signed(desk: Desk) -> None:
    """Preview, agree: done, said on the run's page, the person in the entry. The same form again changes nothing."""
    client = desk.client()
    form = desk.preview(client)
    done = send(client, form)
    assert (done.status_code, done.location) == (303, desk.page)
    assert desk.state() is RunState.CANCELLED
    assert 'class="flash"' in client.get(desk.page).text
    actors = [entry.actor for entry in desk.run.entries() if entry.reason == REASON["reason"]]
    assert actors
    assert set(actors) == {"flask:ada"}
    entries = desk.run.entries()
    assert send(client, form).status_code == 409
    assert desk.run.entries() == entries


def test_review_is_taken_and_decided(desk: Desk) -> None:
    """A person takes a review from the list and decides it."""
    client = desk.client()
    (review,) = desk.scratch.reviews(desk.run)
    listed = client.get(f"{PREFIX}/reviews")
    assert f"{PREFIX}/reviews/{review.id}" in Reader(listed.text).links
    taking = next(
        one for one in Reader(client.get(f"{PREFIX}/reviews/{review.id}").text).forms if one.action.endswith("/take")
    )
    assert send(client, taking).status_code == 303
    (taken,) = desk.scratch.reviews(desk.run)
    assert taken.assignee == "flask:ada"


def test_unknown_run_is_not_found(desk: Desk) -> None:
    """A page about nothing says so."""
    assert desk.client().get(f"{PREFIX}/runs/nothing").status_code == 404
    assert desk.client().get(f"{PREFIX}/reviews/99").status_code == 404


# --- Forms that are not ours ------------------------------------------------------------------------------------------


def without_token(desk: Desk, client: FlaskClient) -> TestResponse:
    form = desk.preview(client)
    del form.fields["backout_token"]
    return send(client, form)


def with_token_of_somebody_else(desk: Desk, client: FlaskClient) -> TestResponse:
    form = desk.preview(client)
    desk.who = "eve"
    return send(client, form)


def with_token_of_another_browser(desk: Desk, client: FlaskClient) -> TestResponse:
    form = desk.preview(desk.client())
    client.get(desk.page)
    return send(client, form)


def without_the_session(desk: Desk, client: FlaskClient) -> TestResponse:
    return send(desk.client(), desk.preview(client))


def from_another_site(desk: Desk, client: FlaskClient) -> TestResponse:
    return send(client, desk.preview(client), headers={"Sec-Fetch-Site": "cross-site"})


def from_a_neighbour(desk: Desk, client: FlaskClient) -> TestResponse:
    return send(client, desk.preview(client), headers={"Sec-Fetch-Site": "same-site"})


def from_another_origin(desk: Desk, client: FlaskClient) -> TestResponse:
    return send(client, desk.preview(client), headers={"Origin": "https://evil.example"})


def from_nowhere(desk: Desk, client: FlaskClient) -> TestResponse:
    return send(client, desk.preview(client), headers={"Origin": "null"})


def with_token_of_another_key(desk: Desk, client: FlaskClient) -> TestResponse:
    form = desk.preview(client)
    desk.app.secret_key = "another"
    return send(client, form)


@pytest.mark.parametrize(
    "forge",
    [
        without_token,
        with_token_of_somebody_else,
        with_token_of_another_browser,
        without_the_session,
        from_another_site,
        from_a_neighbour,
        from_another_origin,
        from_nowhere,
        with_token_of_another_key,
    ],
)
def test_forged_form_changes_nothing(desk: Desk, forge: Callable[[Desk, FlaskClient], TestResponse]) -> None:
    """A form that our pages did not show to this person in this browser is refused, and nothing happens."""
    assert forge(desk, desk.client()).status_code == 403
    assert desk.state() is RunState.IN_REVIEW


def test_form_expires(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A form that was left open for longer than a working day is refused."""
    client = desk.client()
    form = desk.preview(client)
    now = TimestampSigner("x").get_timestamp()
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: now + 12 * 60 * 60 + 60)
    assert send(client, form).status_code == 403
    assert desk.state() is RunState.IN_REVIEW


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
        {"Origin": "http://localhost"},
        # A proxy that ends TLS does not always say so.
        {"Origin": "https://localhost"},
    ],
)
def test_form_of_our_own_is_taken(desk: Desk, headers: dict[str, str]) -> None:
    """What browsers say of a form that was sent from its own page is right; also after the secret key was replaced."""
    client = desk.client()
    form = desk.preview(client)
    desk.app.config["SECRET_KEY_FALLBACKS"] = [desk.app.secret_key]
    desk.app.secret_key = "newer"
    assert send(client, form, headers=headers).status_code == 303
    assert desk.state() is RunState.CANCELLED


def test_forms_work_beside_flask_wtf(desk: Desk) -> None:
    """An application whose `CSRFProtect` guards every form need not exempt the pages."""
    CSRFProtect(desk.app)
    client = desk.client()
    form = desk.preview(client)
    assert send(client, form, csrf_token="").status_code == 400
    assert send(client, form).status_code == 303


# --- The frame --------------------------------------------------------------------------------------------------------


def test_links_lead_under_every_prefix(desk: Desk) -> None:
    """Links, forms and style sheet are found under the blueprint's prefix and the server's own."""
    desk.app.wsgi_app = DispatcherMiddleware(lambda *_: [], {"/site": desk.app.wsgi_app})  # type: ignore[method-assign]
    client = desk.client()
    shown = Reader(client.get(f"/site{desk.page}").text)
    places = [*shown.links, *(form.action for form in shown.forms)]
    assert places
    assert all(place.startswith((f"/site{PREFIX}/", "#")) for place in places)
    form = Reader(client.get(f"/site{desk.page}/act", query_string={"verb": "cancel"}).text).post
    done = send(client, form)
    assert (done.status_code, done.location) == (303, f"/site{desk.page}")


def test_pages_are_not_kept_and_load_nothing_from_elsewhere(desk: Desk) -> None:
    """Nobody else's page frames them, no proxy keeps them, no script runs in them; the style sheet is kept."""
    client = desk.client()
    shown = client.get(desk.page)
    assert shown.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
    assert "frame-ancestors 'self'" in shown.headers["Content-Security-Policy"]
    assert (shown.headers["X-Content-Type-Options"], shown.headers["Referrer-Policy"]) == ("nosniff", "same-origin")
    (sheet,) = (link for link in Reader(shown.text).links if "style.css" in link)
    desk.allowed.clear()
    style = client.get(sheet)
    assert (style.status_code, style.mimetype) == (200, "text/css")
    assert "max-age=31536000" in style.headers["Cache-Control"]
    assert client.get(sheet, headers={"If-None-Match": style.headers["ETag"]}).status_code == 304


def test_layout_of_the_application_takes_the_place_of_ours(desk: Desk) -> None:
    """A template of the same name in the application's folder is the frame."""
    desk.app.jinja_loader = DictLoader({"backout/layout.html": "<h1>My shop</h1>{{ page.body|safe }}"})
    shown = desk.client().get(desk.page).text
    assert shown.startswith("<h1>My shop</h1><div")


def test_database_that_is_away_is_said(make: MakeApp) -> None:
    """While the database is away the pages say so, and not where it is."""
    app = make(SECRET_KEY="secret", BACKOUT_DATABASE_URL="postgresql://hidden-host.invalid:1/x")
    app.register_blueprint(Backout(app).blueprint(lambda _: "ada"))
    shown = app.test_client().get("/")
    assert shown.status_code == 503
    assert "hidden-host" not in shown.text
