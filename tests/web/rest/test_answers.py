"""What the JSON API answers: the shapes that its document promises, in every scene; and every verb, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from backout.compensations.actions import act, preview
from backout.compensations.requests import Request, ReviewDecision, Verb
from backout.ledger import queries
from backout.ledger.session import Ledger
from backout.views.look import look_at
from backout.views.shapes import shape, shape_preview
from backout.web.form_reading import write_fields
from backout.web.host import Permission
from backout.web.rest import Call, answer
from tests.support.ledgers import read_run
from tests.support.pages import viewer
from tests.support.recorder import RecordingEngine
from tests.support.rest import ALICE, DOCUMENT, ask
from tests.support.runs import RecordedRun
from tests.support.scenes import BY, REQUESTS, SCENES, doubted, entries_of, parked, reserved, rolled_back

LOOKER: Final = viewer(Permission.VIEW, name="flower:lena")
ON_BOTH: Final = pytest.mark.parametrize("ledger", ["postgresql", "sqlite"], indirect=True)
ON_ONE: Final = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
BODY: Final = b'{"verb": "pause", "reason": "x", "expecting": "y"}'
IN_EACH_SCENE: Final = pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)


def body_of(request: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a request that an answer holds, with what is missing from it."""
    typed = {"reason": "the till is open", "output": {"by": "hand"}}
    return {**request["body"], **{name: typed[name] for name in request["missing"]}}


@ON_BOTH
@IN_EACH_SCENE
def test_answers_in_each_scene_are_those_of_the_document(
    ledger: Ledger, engine: RecordingEngine, scene: Callable[[Ledger], RecordedRun]
) -> None:
    """Every GET, whatever has become of the run; an action that is listed is the one that its preview shows."""
    run = scene(ledger)
    before = entries_of(run)
    status, listed = ask(engine, "GET", "/runs", state=[read_run(ledger, run.id).state.value, "waiting"])
    assert (status, [one["id"] for one in listed["runs"]]) == (200, [run.id])
    status, shown = ask(engine, "GET", f"/runs/{run.id}", entries="true")
    assert (status, shown["run"]) == (200, listed["runs"][0])
    assert shown["entries"] == shape(before)
    assert ask(engine, "GET", f"/runs/{run.id.upper()}")[1]["steps"] == shown["steps"]
    status, found = ask(engine, "GET", f"/runs/{run.id}/actions")
    assert status == 200
    for action in found["actions"]:
        asked = {name: action[name] for name in ("verb", "step", "to_step", "review_id", "decision")}
        query: dict[str, Any] = {name: str(value) for name, value in asked.items() if value is not None}
        status, seen = ask(engine, "GET", f"/runs/{run.id}/preview", **query)
        assert (status, seen["request"]) == (200, action["request"])
        assert (seen["request"] is not None) is action["is_possible"]
    for review in ask(engine, "GET", "/reviews")[1]["reviews"]:
        status, asked_for = ask(engine, "GET", f"/reviews/{review['id']}")
        assert (status, len(asked_for["decisions"])) == (200, 3)
        assert asked_for["review"]["run_id"] == run.id
    assert entries_of(run) == before


@ON_ONE
@IN_EACH_SCENE
def test_verb_does_what_its_preview_showed_and_only_once(
    ledger: Ledger, engine: RecordingEngine, scene: Callable[[Ledger], RecordedRun]
) -> None:
    """What is refused, sent twice, or asked for by one who may not, changes nothing."""
    for request in REQUESTS.values():
        run = scene(ledger)
        fields: dict[str, Any] = write_fields(request)
        if request.verb is Verb.RESOLVE:
            fields["review_id"] = str(find_review_id(run))
        shown = ask(engine, "GET", f"/runs/{run.id}/preview", **fields)[1]
        before = entries_of(run)
        body = body_of(shown["request"] or {"body": typed(fields), "missing": ["reason"]})
        body.setdefault("expecting", shown["version"])
        assert ask(engine, "POST", f"/runs/{run.id}/actions", body=body, who=LOOKER)[0] == 403
        if shown["request"] is None:
            status, refused = ask(engine, "POST", f"/runs/{run.id}/actions", body=body)
            assert (status, refused["error"]["code"]) == (422, "action_refused")
            assert entries_of(run) == before
            continue
        would = preview(run.id, replace(request, output=body.get("output")), engine=engine)
        status, done = ask(engine, "POST", f"/runs/{run.id}/actions", body=body)
        assert (status, done["state"]) == (200, would.leads_to), done
        after = entries_of(run)
        assert any((one.actor, one.reason) == ("flower:alice", "the till is open") for one in after[len(before) :])
        status, again = ask(engine, "POST", f"/runs/{run.id}/actions", body=body)
        assert (status, again["error"]["code"]) == (409, "state_changed")
        assert again["error"]["entries"] == shape(after[-3:])
        assert entries_of(run) == after


def find_review_id(run: RecordedRun) -> int:
    """Return the number of the run's newest review; of any where it has none."""
    reviews = run.ledger.read(lambda connection: queries.list_reviews(connection, run.id))
    return reviews[-1].id if reviews else 1


def typed(fields: dict[str, str]) -> dict[str, Any]:
    """Return the fields of a form as a program sends them."""
    return {name: int(value) if name == "review_id" else value for name, value in fields.items()}


@ON_BOTH
def test_shapes_are_those_of_the_command_line(ledger: Ledger, engine: RecordingEngine) -> None:
    """A program that reads `--json` reads these as well."""
    run = parked(ledger)
    look = look_at(engine, run.id, Request(verb=Verb.ROLLBACK))
    seen = ask(engine, "GET", f"/runs/{run.id}/preview", verb="rollback")[1]
    assert {name: seen[name] for name in shape_preview(look)} == shape_preview(look)
    again = seen["request"]
    assert again["path"] == f"/runs/{run.id}/actions"
    assert again["body"] == {"verb": "rollback", "expecting": look.preview.version}
    assert again["missing"] == ["reason"]


@ON_BOTH
def test_whoever_is_too_late_is_told_what_changed(ledger: Ledger, engine: RecordingEngine) -> None:
    """R13: and on what to decide anew."""
    run = parked(ledger)
    version = ask(engine, "GET", f"/runs/{run.id}/actions")[1]["version"]
    act(run.id, Request(verb=Verb.RESUME), engine=engine, actor="django:bob", reason="all clear")
    body = {"verb": "cancel", "reason": "too old", "expecting": version}
    status, late = ask(engine, "POST", f"/runs/{run.id}/actions", body=body)
    error = late["error"]
    assert (status, error["state"]) == (409, "running")
    assert "django:bob" in {entry["actor"] for entry in error["entries"]}
    body["expecting"] = error["version"]
    assert ask(engine, "POST", f"/runs/{run.id}/actions", body=body)[0] == 200


@ON_BOTH
def test_output_is_asked_for_where_later_steps_need_it(ledger: Ledger, engine: RecordingEngine) -> None:
    """Null is an output; what is not sent is none."""
    run = doubted(ledger)
    [review] = ask(engine, "GET", "/reviews")[1]["reviews"]
    decision = ask(engine, "GET", f"/reviews/{review['id']}")[1]["decisions"][0]
    assert (decision["decision"], decision["request"]["missing"]) == ("done", ["reason", "output"])
    body = {**decision["request"]["body"], "reason": "asked them"}
    status, refused = ask(engine, "POST", f"/runs/{run.id}/actions", body=body)
    assert (status, [one["field"] for one in refused["error"]["fields"]]) == (422, ["output"])
    assert ask(engine, "POST", f"/runs/{run.id}/actions", body={**body, "output": None})[0] == 200
    assert ask(engine, "GET", f"/reviews/{review['id']}")[1]["decisions"] == []


@ON_BOTH
def test_lists_lead_from_page_to_page(ledger: Ledger, engine: RecordingEngine) -> None:
    """Each run and each review stands on one page."""
    made = [doubted(ledger).id for _ in range(3)]
    page: dict[str, Any] = ask(engine, "GET", "/runs", limit="2", needs_person="1")[1]
    assert [run["id"] for run in page["runs"]] == [made[2], made[1]]
    assert page["counts"] == {"in_review": 3}
    page = ask(engine, "GET", "/runs", limit="2", before=page["next_before"], since="2001-01-01")[1]
    assert [run["id"] for run in page["runs"]] == made[:1]
    assert page["next_before"] is None
    first = ask(engine, "GET", "/reviews", limit="2", assignee="unassigned")[1]
    rest = ask(engine, "GET", "/reviews", limit="2", after=str(first["next_after"]))[1]
    assert [one["run_id"] for one in first["reviews"] + rest["reviews"]] == made
    assert rest["next_after"] is None
    narrow: tuple[dict[str, Any], ...] = ({"text": "nobody"}, {"pipeline": "x"}, {"since": "9999-12-31T23:00:00+00:00"})
    for query in narrow:
        assert ask(engine, "GET", "/runs", **query)[1]["runs"] == []


@ON_BOTH
def test_review_is_taken_by_one_of_two(ledger: Ledger, engine: RecordingEngine) -> None:
    """The second is told who was faster, and may take it over; one who sends it twice is told the same."""
    run = doubted(ledger)
    [review] = ask(engine, "GET", "/reviews")[1]["reviews"]
    path = f"/reviews/{review['id']}/assignment"
    body = {"reason": "my shift"}
    first = ask(engine, "POST", path, body=body)
    told = {"review_id": review["id"], "run_id": run.id, "assignee": "flower:alice", "before": None}
    assert first == (200, told)
    taken = entries_of(run)
    assert ask(engine, "POST", path, body=body) == first
    assert entries_of(run) == taken
    bob = viewer(name="flower:bob")
    status, late = ask(engine, "POST", path, body=body, who=bob)
    assert (status, late["error"]["assignee"]) == (409, "flower:alice")
    assert ask(engine, "POST", path, body={**body, "from_assignee": "flower:alice"}, who=bob)[0] == 200
    assert ask(engine, "GET", "/reviews", assignee="mine", who=bob)[1]["reviews"][0]["assignee"] == "flower:bob"
    assert ask(engine, "GET", "/reviews", assignee="mine")[1]["reviews"] == []
    act(run.id, REQUESTS["accept"], engine=engine, **BY)
    assert ask(engine, "POST", path, body=body)[1]["error"]["code"] == "action_refused"


@ON_ONE
def test_document_serves_itself_and_names_no_host(ledger: Ledger, engine: RecordingEngine) -> None:
    """It is the same wherever the API is."""
    found = ask(engine, "GET", "/backout/openapi.json")
    assert found == (200, {**DOCUMENT, "servers": [{"url": ".."}]})
    operations = [one["operationId"] for path in DOCUMENT["paths"].values() for one in path.values()]
    assert len(operations) == len(set(operations)) == 9


@ON_ONE
def test_plan_of_a_newer_release_leaves_the_run_to_be_read(ledger: Ledger, engine: RecordingEngine) -> None:
    """What can be done is not guessed."""
    newer = replace(rolled_back(ledger).plan, format=99)
    run = RecordedRun(ledger=ledger, plan=newer)
    run.succeed("check_address")
    assert ask(engine, "GET", f"/runs/{run.id}")[1]["plan"] is None
    body = {"verb": "pause", "reason": "x", "expecting": "y"}
    for status, refused in (
        ask(engine, "GET", f"/runs/{run.id}/actions"),
        ask(engine, "GET", f"/runs/{run.id}/preview", verb="pause"),
        ask(engine, "POST", f"/runs/{run.id}/actions", body=body),
    ):
        assert (status, refused["error"]["code"]) == (422, "plan_unreadable")


@ON_ONE
def test_decision_with_an_output_is_recorded_as_it_was_previewed(ledger: Ledger, engine: RecordingEngine) -> None:
    """The output goes into the query as JSON text, and back as JSON."""
    run = doubted(ledger)
    [review] = ask(engine, "GET", "/reviews")[1]["reviews"]
    query: dict[str, Any] = {"verb": "resolve", "review_id": str(review["id"]), "decision": ReviewDecision.DONE.value}
    seen = ask(engine, "GET", f"/runs/{run.id}/preview", **query, output='{"id": [1, 2.5]}')[1]
    assert seen["request"]["body"]["output"] == {"id": [1, 2.5]}
    assert seen["request"]["missing"] == ["reason"]
    body = body_of(seen["request"])
    assert ask(engine, "POST", f"/runs/{run.id}/actions", body=body)[0] == 200
    steps = ask(engine, "GET", f"/runs/{run.id}")[1]["steps"]
    assert {"id": [1, 2.5]} in [step["output"] for step in steps]


@ON_ONE
def test_ledger_that_is_away_is_said_without_a_word_of_the_database(
    ledger: Ledger, engine: RecordingEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether a POST was done is then not known; the log has the rest."""
    run = reserved(ledger)
    engine.ledger = Ledger("postgresql+psycopg://anna:s3cret@127.0.0.1:1/shop")
    calls = (Call(method="GET", path="/runs"), Call(method="POST", path=f"/runs/{run.id}/actions", body=BODY))
    for call, told in zip(calls, ("try again", "not known"), strict=True):
        away = answer(engine, call, viewer=ALICE)
        assert away.status == 503
        assert told in str(away.document)
        assert not {"anna", "s3cret", "127.0.0.1", "psycopg"} & set(str(away.document).replace("'", " ").split())
    assert "does not answer" in caplog.text or "refused" in caplog.text
    engine.ledger.dispose()
