"""What is masked of a run, and where its sensitive values are found in text."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backout.events import Event
from backout.ledger.records import Fact
from backout.pipelines.contract import Plan
from backout.pipelines.masking import NO_SECRETS, Fields, Secrets
from backout.pipelines.quotes import MASK
from backout.states import Direction, StepState
from tests.support.records import step_record
from tests.support.runs import contract

CARD: Final = "4111 1111"
PLAN: Final = Plan(
    pipeline="p",
    steps=(contract("charge", sensitive=("token",)), contract("ship", sensitive=("*",)), contract("tell")),
    sensitive=("card", "customer.iban"),
)
INPUT: Final = {"card": CARD, "customer": {"iban": "DE89", "name": "Ada"}, "pin": 77, "note": f"card {CARD}"}
ROWS: Final = (
    step_record("charge", 0, StepState.SUCCEEDED, output={"token": "t0k3n"}, external_ids={"token": "tok_1"}),
    step_record("ship", 1, StepState.SUCCEEDED, output=["secret van"], external_ids={"van": "van_17"}),
)
SECRETS: Final = Secrets(PLAN, INPUT, ROWS)


def fact(position: int, event: Event, detail: Any, direction: Direction = Direction.FORWARD) -> Fact:
    return Fact(position=position, direction=direction, event=event, detail=detail)


@pytest.mark.parametrize(
    ("declared", "document", "shown"),
    [
        (("a",), {"a": 1, "b": {"a": 2}, "c": [{"a": 3}]}, {"a": MASK, "b": {"a": MASK}, "c": [{"a": MASK}]}),
        (("b.a",), {"a": 1, "b": {"a": 2}, "c": {"b": {"a": 3}}}, {"a": 1, "b": {"a": MASK}, "c": {"b": {"a": 3}}}),
        (("b.a",), [{"b": [{"a": 2}]}], [{"b": [{"a": MASK}]}]),
        (("a",), {"a": {"deep": [1]}}, {"a": MASK}),
        (("a",), {"a": None}, {"a": MASK}),
        (("*",), {"a": 1}, MASK),
        (("*",), None, None),
        ((), {"a": 1}, {"a": 1}),
        (("a",), "a", "a"),
    ],
)
def test_a_name_is_masked_at_any_depth_and_a_path_exactly(declared: Any, document: Any, shown: Any) -> None:
    """Whatever the value is, the same stands for it: nothing can be told from it."""
    assert Fields.of(declared).cover(document) == shown


def test_what_is_sensitive_where_it_comes_in_is_masked_wherever_it_is_handed_on() -> None:
    """In its field, in other fields that quote it, and in what steps return."""
    shown = SECRETS.cover_input(INPUT)
    assert shown == {
        "card": MASK,
        "customer": {"iban": MASK, "name": "Ada"},
        "pin": 77,
        "note": f"card {MASK}",
    }
    assert SECRETS.cover_output({"card": "x", "token": "y", "iban": "z"}, 0) == {
        "card": MASK,
        "token": MASK,
        "iban": "z",
    }
    assert SECRETS.cover_output({"any": 1}, 1) == MASK
    assert SECRETS.cover_output({"token": "of another"}, 2) == {"token": "of another"}
    assert SECRETS.cover_ids({"token": "tok_1", "van": "van_17", "order": "o-1"}) == {
        "token": MASK,
        "van": MASK,
        "order": "o-1",
    }


@pytest.mark.parametrize(
    "text",
    [
        f"card {CARD} refused",
        f"KeyError: '{CARD}'",
        "iban de89 is unknown",
        "T0K3N",
        "no secret van for tok_1, van_17",
        "input_value={'card': '4111 1...', 'x': 1}, input_type=dict",
    ],
)
def test_values_are_found_in_text(text: str) -> None:
    """In whatever case, and also where pydantic has shortened what it quotes."""
    shown = SECRETS.hide(text).lower()
    assert MASK in shown
    assert not [one for one in (CARD, "4111", "de89", "t0k3n", "secret van", "tok_1", "van_17") if one in shown]


def test_what_python_and_json_escape_is_found_as_well() -> None:
    """Exceptions quote what they were given in their own way."""
    value = 'O\'Neill\n"Žofie"'
    secrets = Secrets(PLAN, {"card": value})
    for text in (value, repr(value), json.dumps(value), json.dumps(value, ensure_ascii=False), repr({"a": value})):
        assert "Neill" not in secrets.hide(f"got {text}!")


def test_numbers_are_found_as_numbers() -> None:
    """Not inside of longer ones; and too short ones nowhere but in their field."""
    secrets = Secrets(PLAN, {"card": [123456, 12]})
    assert secrets.hide("123456 of 9123456, at 12:00") == f"{MASK} of 9123456, at 12:00"
    assert secrets.cover_output({"amount": 123456, "is_ok": True}, 0) == {"amount": MASK, "is_ok": True}


def test_facts_of_the_engine_are_masked_by_what_they_are_about() -> None:
    """Outputs by their step, external ids by their name, and everything else by what it quotes."""
    assert SECRETS.cover_facts({"answer": "done", "output": {"token": 1}}, 0) == {
        "answer": "done",
        "output": {"token": MASK},
    }
    assert SECRETS.cover_facts({"name": "token", "value": "new"}, 0) == {"name": "token", "value": MASK}
    assert SECRETS.cover_facts({"external_ids": {"token": "x"}, "what": [f"{CARD}!"]}) == {
        "external_ids": {"token": MASK},
        "what": [f"{MASK}!"],
    }


def test_the_output_inside_an_answer_is_known() -> None:
    """A reconcile function may be the first to tell a value."""
    asked = step_record(
        "charge",
        0,
        StepState.SUCCEEDED,
        direction=Direction.RECONCILE,
        output={"answer": "done", "output": {"token": "f0und"}},
    )
    assert Secrets(PLAN, {}, [asked]).hide("f0und it") == f"{MASK} it"


def test_what_a_later_attempt_has_replaced_is_known_by_its_entry() -> None:
    """The row has only the newest id, and no answer that came too late."""
    facts = [
        fact(0, Event.EXTERNAL_ID_RECORDED, {"name": "token", "value": "tok_0"}),
        fact(1, Event.LATE_RESULT, {"outcome": "Succeeded", "output": "late van"}),
        fact(1, Event.STEP_REOPENED, {"state": "failed", "output": "old van"}),
        fact(2, Event.LATE_RESULT, None),
    ]
    assert Secrets(PLAN, {}, facts=facts).hide("tok_0, old van, late van") == f"{MASK}, {MASK}, {MASK}"


def test_an_answer_that_a_person_has_reopened_is_masked_where_its_output_is() -> None:
    """A path begins at the output inside it; an output of the step that looks like an answer is none."""
    plan = replace(PLAN, sensitive=(), steps=(contract("charge", sensitive=("card.pin", "card.number")),))
    output = {"card": {"pin": 77, "number": "4711 0815"}}
    said = {"state": "succeeded", "output": {"answer": "done", "output": output}}
    reopened = fact(0, Event.STEP_REOPENED, said, Direction.RECONCILE)
    secrets = Secrets(plan, {}, facts=[reopened])
    assert secrets.hide("4711 0815") == MASK
    covered = {"card": {"pin": MASK, "number": MASK}}
    assert secrets.cover_facts(said, 0, is_answer=True) == {**said, "output": {"answer": "done", "output": covered}}
    looks_like_one = {"output": {"answer": 1, **output}}
    assert secrets.cover_facts(looks_like_one, 0) == {"output": {"answer": 1, **covered}}


def test_words_and_numbers_of_the_engine_stay_though_a_secret_is_spelt_like_them() -> None:
    """Whoever shows them reads them: a page with the word masked could not be drawn."""
    secrets = Secrets(PLAN, {"card": ["done", 10.0, "in_doubt", "complete"]})
    for detail in (
        {"delay_seconds": 10.0},
        {"answer": "done", "output": None},
        {"outcome": "complete"},
        {"error": {"type": "in_doubt", "message": "no"}, "attempt": 10.0},
    ):
        assert secrets.cover_facts(detail, 0) == detail
    assert secrets.cover_facts({"why": "done", "output": [10.0], "external_ids": {"id": "10.0"}}, 0) == {
        "why": MASK,
        "output": [MASK],
        "external_ids": {"id": MASK},
    }


def test_a_value_that_is_a_name_is_masked_in_both_places() -> None:
    """Names of mappings are data where they do not look like fields; names that become the same are all there."""
    secrets = Secrets(PLAN, {"card": {"4111 1111": 1, "DE8937": {"number": "5222 2222"}}})
    assert secrets.hide("4111 1111, de8937, 5222 2222, number") == f"{MASK}, {MASK}, {MASK}, number"
    copy = {"number": 0, "by_card": {"4111 1111": 1, "DE8937": 2, "x": 3}}
    hidden = {MASK: 1, f"{MASK} 2": 2, "x": 3}
    assert secrets.cover_output(copy, 2) == {"number": 0, "by_card": hidden}
    assert secrets.cover_ids({"charge of 4111 1111": "ch_1"}) == {f"charge of {MASK}": "ch_1"}


@pytest.mark.parametrize(
    ("values", "text", "shown"),
    [
        (["abcdef", "defghi"], "abcdefghi", MASK),
        (["abab"], "xababab", f"x{MASK}"),
        (["abcdef", "cdef ghij"], "ABCDEF GHIJ", MASK),
        (["abcdef", "ghijkl"], "abcdefghijkl", f"{MASK}{MASK}"),
    ],
)
def test_values_that_overlap_leave_no_ends(values: list[str], text: str, shown: str) -> None:
    """What two of them have in common belongs to both."""
    assert Secrets(PLAN, {"card": values}).hide(text) == shown


def test_very_many_values_are_found_as_fast_as_few() -> None:
    """Whoever declares a whole catalogue sensitive can still look at the run."""
    secrets = Secrets(PLAN, {"card": [f"card {number}" for number in range(30_000)]})
    started = time.perf_counter()
    assert secrets.hide(f"{'no ' * 1_000}card 29999, Card 1234") == f"{'no ' * 1_000}{MASK}, {MASK}"
    assert time.perf_counter() - started < 2


def test_of_a_plan_that_cannot_be_read_nothing_is_shown() -> None:
    """A newer release may have called anything sensitive."""
    secrets = Secrets(None, INPUT, ROWS)
    assert secrets.cover_input(INPUT) == secrets.cover_output({"a": 1}, 0) == MASK
    assert secrets.cover_ids({"order": "o-1"}) == {"order": MASK}
    assert secrets.hide("Ada's t0k3n, DE89") == f"Ada's {MASK}, {MASK}"


def test_where_nothing_is_sensitive_nothing_changes() -> None:
    """Also not a word that looks as if."""
    plain = Secrets(replace(PLAN, sensitive=(), steps=(contract("charge"),)), INPUT, ROWS)
    text = "input_value='x', input_type=str"
    assert plain.are_none
    assert (plain.hide(text), plain.cover_input(INPUT), NO_SECRETS.hide(text)) == (text, INPUT, text)


SECRET_TEXTS: Final = st.text("abcXYZ0189 '\"\\é\n-", min_size=4, max_size=9).filter(lambda text: len(text.strip()) > 3)
HARMLESS: Final = st.one_of(st.none(), st.booleans(), st.integers(0, 99), st.text("mnop", max_size=3))
DOCUMENTS: Final = st.recursive(
    HARMLESS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("mnop"), inner, max_size=3)),
    max_leaves=6,
)


@given(SECRET_TEXTS, DOCUMENTS, st.text("mnop ", max_size=5), st.sampled_from(["card", "cards", "owner"]))
def test_no_sensitive_value_survives(secret: str, around: Any, words: str, place: str) -> None:
    """Wherever it is: in its field at any depth, inside other texts, in outputs, ids, errors and evidence."""
    held: Any = {
        "card": secret,
        "cards": [{"card": {"deep": [secret]}}],
        "owner": {"around": [around, {"card": secret}]},
    }
    given_input = {place: held[place], "note": f"{words}{secret}{words}", "rest": around}
    secrets = Secrets(PLAN, given_input)
    error = {"message": f"{words}{secret}", "traceback": f"{secret!r} {json.dumps(secret)}"}
    shown = [
        secrets.cover_input(given_input),
        secrets.cover_output({"copy": [given_input]}, 2),
        secrets.cover_ids({"x": secret}),
        secrets.cover_facts({"what": secret, "error": error, "more": [around, given_input]}, 2),
    ]
    sought = secret.strip().lower()
    assert not [text for text in texts_of(shown) if sought in text.lower()]
    assert secret.strip() not in "".join(texts_of(shown))


def texts_of(document: Any) -> list[str]:
    if isinstance(document, dict):
        return [text for item in document.values() for text in texts_of(item)]
    if isinstance(document, list):
        return [text for item in document for text in texts_of(item)]
    return [document] if isinstance(document, str) else []
