"""`backout rehearse`: safe by default, readable, and an exit code for scripts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.commands import call, read_json

SHOP = """
from pathlib import Path
from pydantic import BaseModel, Field
from backout import NotDone, Pipeline, step

class Order(BaseModel):
    id: str = Field(min_length=3)
    amount: int

class Coded(BaseModel):
    code: str = Field(pattern="^[A-Z]{{3}}$")

def note(what):
    with Path("called").open("a") as file:
        file.write(what + " ")

@step
def charge(order: Order) -> str:
    note("charge")
    return "paid"

@charge.compensation(action="refund")
def refund(order: Order, output: str | None) -> None:
    note("refund")

@charge.reconcile
def find(order: Order) -> str | NotDone:
    return NotDone()

@step(keep="it expires")
def book(order: Order) -> Order:
    note("book")
    return order

@step(effect="read")
def look(code: Coded) -> Coded: ...

Pipeline("{name}", [charge, book])
Pipeline("{name}_coded", [look])
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the working directory that defines a pipeline of its own name."""
    name = f"rehearsed_{os.urandom(4).hex()}"
    (tmp_path / f"{name}.py").write_text(SHOP.format(name=name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_rehearsal_calls_none_of_the_functions_and_says_so(shop: str) -> None:
    """Whoever tries it on a real project must not charge anybody."""
    result = call("rehearse", shop, "--module", shop)
    assert (result.exit_code, result.stderr) == (0, "")
    assert not Path("called").exists()
    assert "none of yours was called" in result.stdout
    assert '"id": "example"' in result.stdout
    assert "nothing was done twice, or left behind without contract" in result.stdout


def test_table_shows_what_each_failure_leads_to(shop: str) -> None:
    """Undone in order, left behind with the contract's word, asked, and the end; places that end alike share a line."""
    shown = call("rehearse", shop, "--module", shop, COLUMNS="160").stdout
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "fails after its effect ↩ charge = book kept ↩ rolled back" in lines
    assert "dies at any moment ✓ succeeded" in lines
    assert any("dies inside" in line and "! confirmation missing (book)" in line for line in lines)
    assert "undoing charge, after book has failed" in lines


def test_json_has_each_case(shop: str) -> None:
    """The shape is documented and stable."""
    document = read_json(call("rehearse", shop, "--module", shop, "--only", "book:fails_*", "--json"))
    assert (document["ok"], document["pipeline"], document["calls_real_functions"]) == (True, shop, False)
    before, after = document["cases"]
    assert before["place"]["id"] == "book:fails_before_effect"
    assert after["left_behind"] == [{"step": "book", "why": "kept", "reason": "it expires"}]
    assert (after["state"], after["undone"], after["asked"]) == ("rolled_back", ["charge"], [])
    assert [(made["step"], made["is_undo"]) for made in after["calls"]] == [
        ("charge", False),
        ("book", False),
        ("charge", True),
    ]


def test_input_comes_from_a_file(shop: str) -> None:
    """As JSON, checked before anything runs."""
    Path("order.json").write_text(json.dumps({"id": "o-17", "amount": 3}))
    options = ["rehearse", shop, "--module", shop, "--only", "smooth"]
    assert "o-17" in call(*options, "--input", "order.json").stdout
    Path("order.json").write_text(json.dumps({"id": "o", "amount": 3}))
    refused = call(*options, "--input", "order.json")
    assert refused.exit_code == 1
    assert "id: String should have at least 3 characters" in refused.stderr
    Path("order.json").write_text("{")
    assert "is no JSON" in call(*options, "--input", "order.json").stderr


def test_input_that_cannot_be_made_up_is_asked_for(shop: str) -> None:
    """With what is missing, and what to give."""
    result = call("rehearse", f"{shop}_coded", "--module", shop)
    assert result.exit_code == 2
    assert "code: String should match pattern" in result.stderr
    assert "--input FILE" in result.stderr


def test_output_that_cannot_be_made_up_is_asked_for(shop: str) -> None:
    """With the step, and what to give."""
    Path("code.json").write_text('{"code": "ABC"}')
    result = call("rehearse", f"{shop}_coded", "--module", shop, "--input", "code.json")
    assert result.exit_code == 2
    assert "no example of the output of step 'look'" in result.stderr


def test_real_functions_are_called_only_when_asked_for_and_with_a_warning(shop: str) -> None:
    """Here the reconcile function denies a charge that has happened: done twice, and left behind."""
    only = ["--only", "charge:dies_after_effect", "--only", "charge:fails_after_effect"]
    result = call("rehearse", shop, "--module", shop, "--real", *only, COLUMNS="160")
    assert result.exit_code == 1
    assert "calls the functions" in result.stderr
    assert "none of yours" not in result.stdout
    assert Path("called").read_text().split() == ["charge", "charge", "book", "charge"]
    assert "✗ twice: charge" in result.stdout
    assert "✗ charge nobody knows of it" in result.stdout
    assert "· step_succeeded charge, attempt 2" in result.stdout
    assert "2 problems: charge:dies_after_effect and charge:fails_after_effect" in result.stdout.replace("\n", " ")


def test_unknown_names_are_not_found(shop: str) -> None:
    """A pipeline, and a place, with those that there are."""
    assert call("rehearse", "nothing", "--module", shop).exit_code == 3
    result = call("rehearse", shop, "--module", shop, "--only", "refund:*")
    assert (result.exit_code, "charge:undo_fails_before_effect" in result.stderr) == (2, True)
    assert call("rehearse", shop).exit_code == 2
