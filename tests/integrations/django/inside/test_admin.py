"""Runs and reviews in Django's admin: finding them, looking at them, acting on them, and who may."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection, connections, transaction
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from backout.integrations.django.engine import find_engine
from backout.integrations.django.models import Entry, Review, Run
from backout.ledger import schema
from backout.ledger.session import Ledger
from backout.states import ReviewReason
from tests.integrations.django.project.shop.pipelines import fulfil
from tests.support.runs import RecordedRun

RUNS = "/admin/backout/run/"
REVIEWS = "/admin/backout/review/"
LOOKS, ACTS, CROSSES = "view_run", "act_run", "act_across_irreversible"


@pytest.fixture
def ledger() -> Ledger:
    return find_engine().ledger


def client_of(*permissions: str, name: str = "alice", **options: Any) -> Client:
    """Return the browser of somebody of the staff."""
    user = User.objects.create_user(name, password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client(**options)
    client.force_login(user)
    return client


def parked(ledger: Ledger, **values: Any) -> RecordedRun:
    run = RecordedRun(ledger=ledger, **values)
    run.succeed("check_address")
    run.park("the shop is closed")
    return run


def asked(ledger: Ledger) -> RecordedRun:
    run = RecordedRun(ledger=ledger)
    run.succeed("check_address")
    run.ask_person("reserve_stock", ReviewReason.CONFIRMATION_MISSING)
    return run


def found(client: Client, **query: str) -> list[str]:
    """Return the ids of the runs in the list, in order."""
    text = client.get(RUNS, query).content.decode()
    return list(dict.fromkeys(re.findall(r"/admin/backout/run/([0-9a-f-]{36})/change/", text)))


class Form(HTMLParser):
    """The fields of the form that posts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.is_inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        given = dict(attributes)
        if tag == "form":
            self.is_inside = given.get("method", "").lower() == "post" and "/act/" in given.get("action", "")
        elif self.is_inside and tag == "input" and "name" in given:
            self.fields[given["name"]] = given.get("value", "")


def form_of(client: Client, run: RecordedRun, **request: str) -> dict[str, str]:
    """Return the form of the preview of a request, as a browser would send it."""
    shown = client.get(f"{RUNS}{run.id}/act/", request)
    assert shown.status_code == 200, shown.content.decode()
    return Form(shown.content.decode()).fields


def test_list_shows_runs_newest_first_with_their_state_in_words(ledger: Ledger) -> None:
    """With sign and word, without the columns that make a run long, and with a fixed number of queries."""
    runs = [parked(ledger), asked(ledger)]
    client = client_of(LOOKS)
    with CaptureQueriesContext(connection) as captured:
        shown = client.get(RUNS).content.decode()
    assert found(client) == [run.id for run in reversed(runs)]
    assert [word in shown for word in ("■\xa0parked", "!\xa0in\xa0review", "customer-17")] == [True, True, True]
    statements = [query["sql"] for query in captured if "backout_run" in query["sql"]]
    assert len(statements) <= 3
    assert not [sql for sql in statements if '"plan"' in sql]
    assert "Add run" not in shown


def test_list_leads_to_the_pipelines(ledger: Ledger) -> None:
    """Their page stands in the frame of the admin, for those who may see runs, and leads to the list."""
    run = parked(ledger)
    client = client_of(LOOKS)
    assert f"{RUNS}pipelines/" in client.get(RUNS).content.decode()
    shown = client.get(f"{RUNS}pipelines/", {"window": "week"}).content.decode()
    for word in ("fulfil_order", "breadcrumbs", f"{RUNS}{run.id}/change/", "state__exact=parked"):
        assert word in shown, word
    assert client_of(name="bob").get(f"{RUNS}pipelines/").status_code == 403


def test_list_is_narrowed_by_filters(ledger: Ledger) -> None:
    """By pipeline, state, the need of a person, and the time of enqueue."""
    waiting, asking = parked(ledger), asked(ledger)
    handle = fulfil.enqueue({"number": "1"})
    client = client_of(LOOKS)
    assert found(client, pipeline="fulfil") == [handle.id]
    assert found(client, pipeline="fulfil_order") == [asking.id, waiting.id]
    assert found(client, state__exact="parked") == [waiting.id]
    assert found(client, requires_human_review__exact="1") == [asking.id]
    assert found(client, enqueued="today") == [handle.id, asking.id, waiting.id]
    old = "01800000-0000-7000-8000-000000000000"
    past = RecordedRun(ledger=ledger, id=old)  # type: ignore[arg-type]  # an id of 2022
    assert past.id not in found(client, enqueued="365")
    assert past.id in found(client)


@pytest.mark.parametrize(
    "address",
    [f"{RUNS}?input__contains=4111", f"{RUNS}?input__regex=4", f"{RUNS}?error_summary__contains=4"],
)
def test_nobody_guesses_what_is_masked_by_narrowing_the_list(ledger: Ledger, address: str) -> None:
    """A value that no page shows could be read letter by letter."""
    parked(ledger)
    assert client_of(LOOKS).get(address).status_code == 400


def test_list_is_searched_by_whatever_somebody_has_at_hand(ledger: Ledger) -> None:
    """A run's id or its beginning, a source event, a subject, an external id: whole words, on every database."""
    run = parked(ledger, source_event="form-7", subject="customer 8")
    other = asked(ledger)
    client = client_of(LOOKS)
    with connection.cursor() as cursor:
        ids = '{"charge": "ch_1 \\"quoted\\" ü", "letter": "l-2"}'
        cursor.execute("UPDATE backout_run SET external_ids = %s WHERE id = %s", [ids, run.id])
    for text in (run.id, run.id[:-4], run.id.replace("-", ""), "form-7", "customer 8", 'ch_1 "quoted" ü', "l-2"):
        assert found(client, q=text) == [run.id], text
    assert found(client, q=run.id[:4]) == [other.id, run.id]
    for text in ("form", "ch_1", "charge", "%", "nothing", "' OR 1=1", "\\"):
        assert found(client, q=text) == [], text


def test_search_asks_indexes(ledger: Ledger) -> None:
    """At a million runs anything else would be felt; PostgreSQL has an index of external ids too."""
    run = parked(ledger, source_event="form-7")
    client = client_of(LOOKS)
    with CaptureQueriesContext(connection) as captured:
        assert found(client, q=run.id) == [run.id]
    if connection.vendor != "postgresql":
        return
    statements = [query["sql"] for query in captured if "backout_run" in query["sql"]]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for statement in statements:
            cursor.execute(f"EXPLAIN {statement.replace('%', '%%')}")
            plan = " ".join(line for (line,) in cursor.fetchall())
            assert "ix_backout_run_external_ids" in plan or "BitmapOr" in plan, statement


def test_run_has_its_page_in_the_frame_of_the_admin(ledger: Ledger) -> None:
    """What happened, what is safe to do next, the entries; with the admin's breadcrumbs and one style sheet."""
    run = parked(ledger)
    client = client_of(LOOKS)
    shown = client.get(f"{RUNS}{run.id}/change/")
    text = shown.content.decode()
    for word in ("the shop is closed", "check_address", "breadcrumbs", 'class="backout"', "process:shop"):
        assert word in text, word
    assert not re.search(r"<(script|style)[^>]*>[^<]*backout|\sstyle=", text)
    style = unescape(re.findall(r'href="([^"]*style\.css[^"]*)"', text)[0])
    assert client.get(style)["Content-Type"] == "text/css; charset=utf-8"
    assert client.get(f"{RUNS}nothing/change/").status_code == 404
    assert client.get(f"{RUNS}{run.id[:-1]}0/change/").status_code in (200, 404)


def test_action_is_previewed_done_and_kept_with_its_person(ledger: Ledger) -> None:
    """The preview changes nothing; the form does what it showed; the entry says who and why."""
    run = parked(ledger)
    client = client_of(LOOKS, ACTS, enforce_csrf_checks=True)
    fields = form_of(client, run, verb="cancel")
    assert Run.objects.get().state == "parked"
    answered = client.post(f"{RUNS}{run.id}/act/", {**fields, "reason": "the customer called"}, follow=True)
    assert answered.redirect_chain == [(f"{RUNS}{run.id}/change/", 302)]
    assert "messagelist" in answered.content.decode()
    assert Run.objects.get().state == "cancelled"
    entry = Entry.objects.get(event="run_cancelled")
    assert (entry.actor, entry.reason) == ("django:alice", "the customer called")


def test_second_click_changes_nothing(ledger: Ledger) -> None:
    """Somebody was faster, perhaps oneself: the page says what it is now (R13)."""
    run = parked(ledger)
    client = client_of(LOOKS, ACTS)
    form = {**form_of(client, run, verb="cancel"), "reason": "the customer called"}
    assert client.post(f"{RUNS}{run.id}/act/", form).status_code == 302
    before = Entry.objects.count()
    assert client.post(f"{RUNS}{run.id}/act/", form).status_code == 409
    assert Entry.objects.count() == before


def test_missing_reason_changes_nothing(ledger: Ledger) -> None:
    """The form comes back with what is missing."""
    run = parked(ledger)
    client = client_of(LOOKS, ACTS)
    answered = client.post(f"{RUNS}{run.id}/act/", form_of(client, run, verb="cancel"))
    assert (answered.status_code, Run.objects.get().state) == (422, "parked")


@pytest.mark.parametrize(
    ("permissions", "sees", "acts"),
    [((), False, False), ((LOOKS,), True, False), ((ACTS,), False, False), ((LOOKS, ACTS), True, True)],
)
def test_permissions_decide_who_sees_and_who_acts(
    ledger: Ledger, permissions: tuple[str, ...], sees: bool, acts: bool
) -> None:
    """Each by itself: who may only look sees no form, and who sends one all the same is refused."""
    run = parked(ledger)
    form = {**form_of(client_of(LOOKS, ACTS, name="bob"), run, verb="cancel"), "reason": "I may"}
    client = client_of(*permissions)
    for url in (RUNS, REVIEWS, f"{RUNS}{run.id}/change/", f"{RUNS}{run.id}/act/?verb=cancel"):
        assert client.get(url).status_code == (200 if sees else 403), url
    if sees:
        assert ("Preview" in client.get(f"{RUNS}{run.id}/change/").content.decode()) is acts
    assert client.post(f"{RUNS}{run.id}/act/", form).status_code == (302 if acts else 403)
    assert Run.objects.get().state == ("cancelled" if acts else "parked")
    for url in (f"{RUNS}add/", f"{RUNS}{run.id}/delete/"):
        assert client.get(url).status_code == 403


def test_forged_form_and_stranger_are_refused(ledger: Ledger) -> None:
    """Without Django's token nothing is done, and who has not logged in is sent to the login."""
    run = parked(ledger)
    client = client_of(LOOKS, ACTS, enforce_csrf_checks=True)
    form = {**form_of(client, run, verb="cancel"), "reason": "x"}
    assert client.post(f"{RUNS}{run.id}/act/", {**form, "csrfmiddlewaretoken": "y"}).status_code == 403
    stranger = Client()
    for url in (f"{RUNS}{run.id}/act/?verb=cancel", f"{RUNS}{run.id}/change/"):
        assert stranger.get(url)["Location"].startswith("/admin/login/")
    assert Run.objects.get().state == "parked"


def test_reviews_that_wait_come_first_and_are_decided_on_their_page(ledger: Ledger) -> None:
    """Oldest first, taken and resolved; then they are among the decided."""
    run, later = asked(ledger), asked(ledger)
    client = client_of(LOOKS, ACTS)
    text = client.get(REVIEWS).content.decode()
    first, second = Review.objects.all()
    assert text.index(f">#{first.id}<") < text.index(f">#{second.id}<")
    assert client.get(f"{REVIEWS}{first.id}/change/").status_code == 200
    assert client.get(f"{REVIEWS}999/change/").status_code == 404
    assert client.post(f"{REVIEWS}{first.id}/take/", {"from_assignee": ""}).status_code == 302
    assert Review.objects.get(pk=first.pk).assignee == "django:alice"
    assert f">#{first.id}<" in client.get(REVIEWS, {"assignee": "mine"}).content.decode()
    assert f">#{first.id}<" not in client.get(REVIEWS, {"assignee": "nobody"}).content.decode()
    form = form_of(client, run, verb="resolve", review_id=str(first.id), decision="accept")
    assert client.post(f"{RUNS}{run.id}/act/", {**form, "reason": "the bank says so"}).status_code == 302
    text = client.get(REVIEWS).content.decode()
    assert text.index(f">#{second.id}<") < text.index(f">#{first.id}<")
    assert f">#{first.id}<" not in client.get(REVIEWS, {"decided": "no"}).content.decode()
    assert later.id == Review.objects.get(pk=second.pk).run_id


def test_pages_speak_with_any_time_zone_and_language(ledger: Ledger) -> None:
    """USE_TZ off, another language: the same pages."""
    run = asked(ledger)
    client = client_of(LOOKS, ACTS)
    with override_settings(USE_TZ=False, LANGUAGE_CODE="de"):
        connections["default"].close()
        for url in (
            RUNS,
            f"{RUNS}?enqueued=today",
            REVIEWS,
            f"{RUNS}{run.id}/change/",
            f"{RUNS}{run.id}/act/?verb=cancel",
        ):
            assert client.get(url).status_code == 200, url
    connections["default"].close()


@pytest.fixture
def requests_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)


@pytest.mark.usefixtures("requests_in_blocks")
def test_action_does_not_wait_for_its_own_request(ledger: Ledger) -> None:
    """With ATOMIC_REQUESTS on SQLite, a request would hold the lock that the action needs."""
    run = parked(ledger)
    client = client_of(LOOKS, ACTS)
    form = {**form_of(client, run, verb="cancel"), "reason": "the customer called"}
    assert client.post(f"{RUNS}{run.id}/act/", form).status_code == 302


def test_ledger_outside_of_djangos_databases_has_pages_all_the_same(tmp_path: Path) -> None:
    """The lists are drawn by backout then; before it has tables, the page says how to make them."""
    client = client_of(LOOKS, ACTS)
    url = f"sqlite:///{tmp_path / 'elsewhere.sqlite3'}"
    with override_settings(BACKOUT={"DATABASE_URL": url}):
        assert "has no backout tables" in client.get(RUNS).content.decode()
        elsewhere = Ledger(url)
        schema.upgrade(elsewhere)
        run = asked(elsewhere)
        assert found(client) == found(client, state="in_review") == [run.id]
        assert found(client, state="parked") == []
        assert client.get(REVIEWS).status_code == 200
        form = {**form_of(client, run, verb="cancel"), "reason": "the customer called"}
        assert client.post(f"{RUNS}{run.id}/act/", form).status_code == 302
        elsewhere.dispose()


def test_second_admin_site_has_pages_of_its_own(ledger: Ledger) -> None:
    """Registered there, its links stay there."""
    run = parked(ledger)
    client = client_of(LOOKS, ACTS)
    User.objects.update(is_superuser=True)
    text = client.get(f"/staff/backout/run/{run.id}/change/").content.decode()
    assert f"/staff/backout/run/{run.id}/act/" in text
    assert "/admin/backout/" not in text
