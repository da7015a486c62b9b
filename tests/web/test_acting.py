"""Acting from a page: a form does what its preview showed, once, for those who may; or says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from backout.compensations.actions import act, preview
from backout.compensations.requests import Request, ReviewDecision, Verb
from backout.ledger import queries
from backout.ledger.records import ReviewRecord
from backout.ledger.session import Ledger
from backout.pipelines.contract import RecoveryKind
from backout.web.acting import act_on_form, draw_preview, take_review
from backout.web.form_reading import write_fields
from backout.web.host import Acted, Page, Permission
from tests.support.ledgers import read_run
from tests.support.pages import PLACES, Read, query_of, read, viewer
from tests.support.recorder import RecordingEngine
from tests.support.runs import ORDER_PLAN, RecordedRun
from tests.support.scenes import BY, REQUESTS, SCENES, doubted, parked, reserved, succeeded
from tests.support.snapshots import take_snapshot
from tests.support.views import with_contract

ALICE: Final = viewer()
LOOKER: Final = viewer(Permission.VIEW, name="django:lena")
ACTOR: Final = viewer(Permission.VIEW, Permission.ACT)
WHY: Final = "the till is <open>\r\nagain"
ON_BOTH: Final = pytest.mark.parametrize("ledger", ["postgresql", "sqlite"], indirect=True)
ON_ONE: Final = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
CELLS: Final = [
    pytest.param(scene, request, id=f"{name}-{label}")
    for name, scene in SCENES.items()
    for label, request in REQUESTS.items()
]


def review_of(run: RecordedRun) -> ReviewRecord:
    return run.ledger.read(lambda connection: queries.list_reviews(connection, run.id))[-1]


def fields_of(run: RecordedRun, request: Request) -> dict[str, str]:
    """Return what the links and forms of the pages would ask for."""
    fields = write_fields(request)
    if request.verb is Verb.RESOLVE:
        reviews = run.ledger.read(lambda connection: queries.list_reviews(connection, run.id))
        fields["review_id"] = str(reviews[-1].id if reviews else 1)
    return fields


def look(engine: RecordingEngine, run: RecordedRun, fields: dict[str, str], who: Any = ALICE) -> tuple[Page, Read]:
    page = draw_preview(engine, run.id, fields, places=PLACES, viewer=who)
    return page, read(page)


def send(engine: RecordingEngine, run: RecordedRun, form: dict[str, str], who: Any = ALICE) -> Acted | Page:
    return act_on_form(engine, run.id, form, places=PLACES, viewer=who)


def filled(page: Read, **typed: str) -> dict[str, str]:
    """Return what a browser sends of a page's form, with what a person types."""
    form = page.post_form()
    return {**form.fields, **{"reason": WHY, **typed}}


@ON_BOTH
@pytest.mark.parametrize(("scene", "request_"), CELLS)
def test_form_does_what_its_preview_showed_and_only_once(
    ledger: Ledger, engine: RecordingEngine, scene: Callable[[Ledger], RecordedRun], request_: Request
) -> None:
    """Every verb in every scene is what `act` makes of it; a double click, or one who may not, changes nothing."""
    run = scene(ledger)
    fields = fields_of(run, request_)
    before = take_snapshot(ledger)
    page, seen = look(engine, run, fields)
    assert take_snapshot(ledger) == before
    assert page.status == 200
    assert "`" not in page.title + seen.text
    shown = preview(run.id, request_, engine=engine)
    typed = {"output": '{"by": "hand"}'} if request_.decision is ReviewDecision.DONE else {}
    posts = [form for form in seen.forms if form.method == "post"]
    assert bool(posts) is (shown.refusal is None)
    if not posts:
        assert "Not possible now" in seen.text
        refused = send(engine, run, {**fields, **typed, "reason": WHY, "expecting": shown.version})
        assert isinstance(refused, Page)
        assert refused.status == 422
        assert "Nothing was changed" in read(refused).text or "nothing was changed" in read(refused).text
        assert take_snapshot(ledger) == before
        return
    form = filled(seen, **typed)
    denied = send(engine, run, form, LOOKER)
    assert isinstance(denied, Page)
    assert denied.status == 403
    assert take_snapshot(ledger) == before

    done = send(engine, run, form)
    assert isinstance(done, Acted), read(done).text
    assert done.run_id == run.id
    assert read_run(ledger, run.id).state is shown.leads_to
    assert ("as soon as a worker takes it up" in done.message) is bool(shown.tasks)
    assert shown.tasks or not engine.sent
    after = take_snapshot(ledger)
    new = [after["backout_entry"][name] for name in after["backout_entry"].keys() - before["backout_entry"].keys()]
    mine = [entry for entry in new if entry["actor"] == "django:alice"]
    assert any(entry["reason"] == "the till is <open>\nagain" for entry in mine)

    again = send(engine, run, form)
    assert isinstance(again, Page)
    assert again.status == 409
    assert "That was you" in read(again).text or "engine" in read(again).text
    assert take_snapshot(ledger) == after


@ON_BOTH
def test_second_operator_is_told_what_changed_and_by_whom(ledger: Ledger, engine: RecordingEngine) -> None:
    """R13: nothing is done; the page has a fresh preview, what was typed, and a form that works now."""
    run = parked(ledger)
    _, seen = look(engine, run, {"verb": "cancel"})
    act(run.id, Request(verb=Verb.RESUME), engine=engine, actor="django:bob", reason="all clear")
    act(run.id, Request(verb=Verb.PAUSE), engine=engine, actor="django:bob", reason="wait")
    late = send(engine, run, filled(seen))
    assert isinstance(late, Page)
    assert late.status == 409
    shown = read(late)
    assert "django:bob" in shown.text
    assert "run paused" in shown.text
    assert "That was you" not in shown.text
    assert shown.post_form().fields["reason"] == WHY.replace("\r\n", "\n")
    done = send(engine, run, shown.post_form().fields)
    assert isinstance(done, Acted)
    assert read_run(ledger, run.id).state.value == "cancelled"


@ON_ONE
@pytest.mark.parametrize(
    ("typed", "where", "told"),
    [
        ({"reason": "  "}, "b-reason-problem", "Say why"),
        ({"reason": "x" * 2_001}, "b-reason-problem", "2,001"),
        ({"reason": "a\x00b"}, "b-reason-problem", "cannot be recorded"),
        ({"reason": "a\ud800b"}, "b-reason-problem", "cannot be recorded"),
        ({"output": ""}, "b-output-problem", "null"),
        ({"output": "{nope"}, "b-output-problem", "no JSON"),
        ({"output": '{"a": NaN}'}, "b-output-problem", "JSON has no NaN"),
        ({"output": "1e999"}, "b-output-problem", "larger than any number"),
        ({"output": '{"id": 1, "id": 2}'}, "b-output-problem", "a name twice"),
        ({"output": "[" * 101 + "]" * 101}, "b-output-problem", "deeper than 100 levels"),
        ({"output": "[" * 100_000}, "b-output-problem", "no JSON"),
        ({"output": '"\\ud800"'}, "b-output-problem", "no JSON"),
        ({"output": f'"{"x" * 1_048_576}"'}, "b-output-problem", "1,048,578 bytes"),
        ({"expecting": ""}, None, "Look at what would be done first"),
        ({"decision": "perhaps"}, None, "Choose one of the decisions"),
        ({"review_id": "9" * 40}, None, "Name the review"),
        ({"review_id": "²"}, None, "Name the review"),
        ({"verb": "drop_tables"}, None, "Choose what is to be done"),
        ({"verb": ""}, None, "Choose what is to be done"),
    ],
)
def test_field_that_cannot_be_used_is_shown_with_what_was_typed(
    ledger: Ledger, engine: RecordingEngine, typed: dict[str, str], where: str | None, told: str
) -> None:
    """Status 422, the problem at its field and tied to it, nothing lost of what was typed, nothing written."""
    run = doubted(ledger)
    before = take_snapshot(ledger)
    _, seen = look(engine, run, fields_of(run, Request(verb=Verb.RESOLVE, decision=ReviewDecision.DONE)))
    page = send(engine, run, {**filled(seen, output='{"id": 7}'), **typed})
    assert isinstance(page, Page)
    assert page.status == 422
    shown = read(page)
    assert told in shown.text
    assert take_snapshot(ledger) == before
    if where is None:
        return
    described = [value for tag, name, value in shown.attributes if name == "aria-describedby" and tag == "textarea"]
    assert any(where in (one or "").split() for one in described)
    form = shown.post_form()
    if "output" not in typed:
        assert form.fields["output"] == '{"id": 7}'
    elif "\\" not in typed["output"]:
        assert form.fields["output"] == typed["output"]
    if "reason" not in typed:
        assert form.fields["reason"] == WHY.replace("\r\n", "\n")


@ON_BOTH
def test_across_what_cannot_be_undone_goes_only_who_may(ledger: Ledger, engine: RecordingEngine) -> None:
    """R7: a permission of its own, and a reason of its own."""
    plan = with_contract(
        ORDER_PLAN, "charge_card", recovery=RecoveryKind.IRREVERSIBLE, recovery_reason="it is spent", compensation=None
    )
    run = RecordedRun(ledger=ledger, plan=plan)
    run.succeed("check_address", "reserve_stock", "charge_card", "book_courier", "send_receipt")
    before = take_snapshot(ledger)
    across = {"verb": "rollback", "across_irreversible": "the <owner> agreed"}
    for fields, who, is_offered in (
        ({"verb": "rollback"}, ALICE, True),
        ({"verb": "rollback"}, ACTOR, False),
        (across, ACTOR, False),
    ):
        page, seen = look(engine, run, fields, who)
        assert not [form for form in seen.forms if form.method == "post"]
        [again] = seen.forms
        assert ("across_irreversible" in again.fields) is is_offered
        assert page.status == (403 if fields is across else 200)
    version = preview(run.id, Request(verb=Verb.ROLLBACK), engine=engine).version
    for fields in (across, {"verb": "cancel", "with_rollback": "1", "across_irreversible": "x"}):
        denied = send(engine, run, {**fields, "reason": WHY, "expecting": version}, ACTOR)
        assert isinstance(denied, Page)
        assert denied.status in (403, 422)
    assert take_snapshot(ledger) == before
    _, seen = look(engine, run, across)
    done = send(engine, run, filled(seen))
    assert isinstance(done, Acted), read(done).text
    assert read_run(ledger, run.id).state.value == "rolling_back"


@ON_ONE
def test_rollback_back_to_a_step_is_chosen_in_the_preview(ledger: Ledger, engine: RecordingEngine) -> None:
    """The form that acts carries what was previewed, not what was chosen after it."""
    run = succeeded(ledger)
    _, seen = look(engine, run, {"verb": "rollback"})
    again = next(form for form in seen.forms if form.method == "get")
    assert again.fields == {"site": "1", "verb": "rollback", "to_step": ""}
    _, chosen = look(engine, run, {**again.fields, "to_step": "reserve_stock"})
    assert "undo reserve_stock" not in chosen.text
    assert "undo charge_card" in chosen.text
    assert chosen.post_form().fields["to_step"] == "reserve_stock"
    assert isinstance(send(engine, run, filled(chosen)), Acted)
    assert read_run(ledger, run.id).rollback_to == 1


@ON_ONE
def test_message_says_what_was_done_and_how_it_goes_on(ledger: Ledger, engine: RecordingEngine) -> None:
    """The host shows it after the redirect."""
    run = succeeded(ledger)
    _, seen = look(engine, run, {"verb": "rollback"})
    done = send(engine, run, filled(seen))
    assert isinstance(done, Acted)
    assert done.message == (
        "Done: undo what the run did. The run is rolling back; next, as soon as a worker takes it up: undo "
        "book_courier, then undo charge_card, then undo reserve_stock."
    )


@ON_ONE
def test_who_may_not_look_is_shown_nothing(ledger: Ledger, engine: RecordingEngine) -> None:
    """Whatever else they may."""
    run = parked(ledger)
    nobody = viewer(Permission.ACT, Permission.ACROSS_IRREVERSIBLE)
    before = take_snapshot(ledger)
    page, seen = look(engine, run, {"verb": "cancel"}, nobody)
    for one in (page, send(engine, run, {"verb": "cancel", "reason": WHY, "expecting": "x"}, nobody)):
        assert isinstance(one, Page)
        assert one.status == 403
        assert "fulfil_order" not in one.body + one.title
    assert seen.forms == []
    assert take_snapshot(ledger) == before


@ON_ONE
def test_who_may_only_look_has_a_preview_without_a_form(ledger: Ledger, engine: RecordingEngine) -> None:
    """They see what would happen, and that they cannot do it."""
    page, seen = look(engine, parked(ledger), {"verb": "cancel"}, LOOKER)
    assert page.status == 200
    assert "and would be – cancelled" in seen.text
    assert "You may look, and not act" in seen.text
    assert seen.forms == []


# taking a review


def take(engine: RecordingEngine, review_id: int, form: dict[str, str], who: Any = ALICE) -> Acted | Page:
    return take_review(engine, review_id, form, places=PLACES, viewer=who)


@ON_BOTH
def test_review_is_taken_by_one_of_two(ledger: Ledger, engine: RecordingEngine) -> None:
    """The second sees who was faster, and may take it over from them."""
    run = doubted(ledger)
    review = review_of(run)
    form = {"assignee": "django:alice", "from_assignee": "", "reason": ""}
    first = take(engine, review.id, form)
    assert isinstance(first, Acted)
    assert first == Acted(run_id=run.id, message=f"You look after review {review.id} now.")
    taken = take_snapshot(ledger)
    assert take(engine, review.id, form) == first, "a double click is told the same"
    assert take_snapshot(ledger) == taken
    bob = viewer(name="django:bob")
    late = take(engine, review.id, {**form, "assignee": "django:bob"}, bob)
    assert isinstance(late, Page)
    assert late.status == 409
    shown = read(late)
    assert "django:alice" in shown.text
    over = next(one for one in shown.forms if one.action.endswith("/take"))
    assert isinstance(take(engine, review.id, over.fields, bob), Acted)
    assert review_of(run).assignee == "django:bob"


@ON_BOTH
@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"assignee": "x" * 201}, 422),
        ({"assignee": "a\x00"}, 422),
        ({"reason": "y" * 2_001}, 422),
        ({"assignee": "z"}, 403),
    ],
)
def test_review_that_cannot_be_taken_so_stays_as_it_is(
    ledger: Ledger, engine: RecordingEngine, form: dict[str, str], status: int
) -> None:
    """A name that cannot be recorded, or somebody who may not."""
    run = doubted(ledger)
    before = take_snapshot(ledger)
    page = take(engine, review_of(run).id, form, LOOKER if status == 403 else ALICE)
    assert isinstance(page, Page)
    assert page.status == status
    read(page)
    assert take_snapshot(ledger) == before


@ON_BOTH
def test_decided_review_is_not_taken(ledger: Ledger, engine: RecordingEngine) -> None:
    """Its page says who has decided."""
    run = doubted(ledger)
    act(run.id, REQUESTS["accept"], engine=engine, **BY)
    page = take(engine, review_of(run).id, {})
    assert isinstance(page, Page)
    assert page.status == 422
    shown = read(page)
    assert "anna" in shown.text
    assert shown.forms == []


@ON_BOTH
@pytest.mark.parametrize("number", [0, -1, 10**9, 10**30])
def test_review_that_is_not_there_is_said_so(ledger: Ledger, engine: RecordingEngine, number: int) -> None:
    """Also one whose number no database has."""
    page = take(engine, number, {})
    assert isinstance(page, Page)
    assert page.status == 404


@ON_ONE
def test_links_of_the_preview_are_those_that_the_host_decodes(ledger: Ledger, engine: RecordingEngine) -> None:
    """The query of a preview's link is the form that the host hands back."""
    run = reserved(ledger)
    request = Request(verb=Verb.ROLLBACK, to_step="a&b=ü <c>", across_irreversible="ja & nein")
    page = draw_preview(engine, run.id, write_fields(request), places=PLACES, viewer=ALICE)
    assert "the run has no step" in read(page).text
    assert query_of("/runs/x?" + "verb=rollback&to_step=a%26b%3D%C3%BC+%3Cc%3E")["to_step"] == request.to_step
