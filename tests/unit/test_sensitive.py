"""What `sensitive=` accepts, that a misspelt name is refused, and that the plan keeps it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from backout import StepContext, step
from backout.pipelines.contract import Plan
from backout.pipelines.definition import PipelineDefinition
from tests.support.definitions import make, refused, unique


class Customer(BaseModel):
    iban: str
    notes: dict[str, Any] = {}


class Order(BaseModel):
    id: str
    customer: Customer
    cards: list[Card] | None = None
    parent: Order | None = None


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")

    id: str


@dataclass
class Card:
    number: str


class Aliased(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True, alias_generator=to_camel, populate_by_name=True)

    card_number: str
    pay_by: list[Aliased] = []
    old_customer: Customer | None = None


def pay(order: Order) -> Card:
    return Card(number="4111")


def pay_noting(order: Order, ctx: StepContext) -> Card:
    ctx.record_external_id("charge", "ch_1")
    return Card(number="4111")


def pay_blindly(order: Order, ctx: StepContext) -> Card:
    note = ctx.record_external_id
    note("charge", "ch_1")
    return Card(number="4111")


def pay_anything(order: dict[str, Any]) -> Any: ...
def pay_open(order: Open) -> None: ...
def pay_aliased(order: Aliased) -> Aliased:
    return order


def pay_by_alias(order: Open) -> Aliased:
    return Aliased(card_number=order.id)


def of_input(*names: str, function: Callable[..., Any] = pay) -> Plan:
    return PipelineDefinition("p", [make(function)], sensitive=names).plan


def of_step(*names: str, function: Callable[..., Any] = pay) -> Plan:
    return PipelineDefinition("p", [make(function, sensitive=names)]).plan


@pytest.mark.parametrize(
    "name", ["iban", "customer", "customer.iban", "cards.number", "number", "parent.customer.iban", "*"]
)
def test_fields_of_the_input_are_accepted(name: str) -> None:
    """A name at any depth, also inside lists and in a type that has itself for a field; a path from the root."""
    assert of_input(name).sensitive == (name,)


@pytest.mark.parametrize(
    ("name", "recorded"),
    [
        ("card_number", ("cardNumber", "card_number")),
        ("cardNumber", ("cardNumber", "card_number")),
        ("payBy.card_number", ("payBy.cardNumber", "payBy.card_number", "pay_by.cardNumber", "pay_by.card_number")),
        ("old_customer.notes.no_field", ("oldCustomer.notes.no_field", "old_customer.notes.no_field")),
        ("iban", ("iban",)),
    ],
)
def test_a_field_with_an_alias_is_hidden_by_both_names(name: str, recorded: tuple[str, ...]) -> None:
    """Which of them is stored is a setting of the model; people know either."""
    assert of_input(name, function=pay_aliased).sensitive == recorded
    assert of_step(name, function=pay_aliased).steps[0].sensitive == recorded


def test_what_is_handed_on_is_hidden_by_its_alias_there() -> None:
    """A name of the input is hidden in outputs too, whose models may store it otherwise."""
    assert of_input("card_number", function=pay_by_alias).sensitive == ("cardNumber", "card_number")
    assert "no such field" in refused(lambda: of_input("cardNumbr", function=pay_aliased)).problem


@pytest.mark.parametrize("name", ["ibn", "customer.ibna", "customer.number", "ssn", "cards.numbers"])
def test_a_field_that_the_input_cannot_have_is_refused(name: str) -> None:
    """What is misspelt would be shown, and nobody would notice."""
    error = refused(lambda: of_input(name))
    assert repr(name) in error.problem
    assert "Fields: cards, customer, iban, id, notes, number, parent." in error.remedy


def test_the_refusal_names_the_field_that_is_meant() -> None:
    """Whoever has misspelt it sees what to write."""
    assert "Did you mean 'iban'?" in refused(lambda: of_input("ibna")).remedy


@pytest.mark.parametrize(
    ("name", "function"),
    [("customer.notes.ssn", pay), ("anything", pay_anything), ("more", pay_open), ("a.b", pay_anything)],
)
def test_a_field_that_the_type_leaves_open_is_accepted(name: str, function: Callable[..., Any]) -> None:
    """A dictionary may have fields of any name; inside a model it is named by its path."""
    assert of_input(name, function=function).sensitive == (name,)


@pytest.mark.parametrize("name", ["number", "charge", "*"])
def test_fields_of_the_output_and_external_ids_are_accepted(name: str) -> None:
    """Both belong to the step."""
    assert of_step(name, function=pay_noting).steps[0].sensitive == (name,)


@pytest.mark.parametrize(("name", "function"), [("numbr", pay_noting), ("charge", pay), ("card.number", pay_blindly)])
def test_what_a_step_neither_returns_nor_records_is_refused(name: str, function: Callable[..., Any]) -> None:
    """As far as the source shows which ids it records; a path never leads to one."""
    assert "its output has no such field" in refused(lambda: of_step(name, function=function)).problem


def test_an_id_that_the_source_does_not_show_is_accepted() -> None:
    """Who hands the context on may record ids of any name."""
    assert of_step("charge", function=pay_blindly).steps[0].sensitive == ("charge",)


@pytest.mark.parametrize("names", ["card", ("",), (5,), ("a..b",), (".a",), ("a.*",), ("a\x00",), None, {"a": 1}])
def test_what_is_no_list_of_names_is_refused(names: Any) -> None:
    """A bare text would be taken for its letters."""
    refused(lambda: make(pay_anything, sensitive=names))
    refused(lambda: PipelineDefinition("p", [make(pay_anything)], sensitive=names))


def test_an_existing_task_has_them_as_well() -> None:
    """`step.from_task` takes the same contract."""

    class Task:
        name = unique("task")
        run = staticmethod(pay)

    assert step.from_task(Task(), keep="-", sensitive=["number"]).contract().sensitive == ("number",)


def test_the_plan_keeps_them() -> None:
    """Whoever reads the plan masks, also without the code; in one order, so that the digest is the same everywhere."""
    plan = PipelineDefinition("p", [make(pay, sensitive={"number"})], sensitive=["id", "customer.iban", "id"]).plan
    assert plan.as_json["sensitive"] == ["customer.iban", "id"]
    assert Plan.from_json(plan.as_json) == plan


def test_a_plan_without_them_is_stored_as_before() -> None:
    """Its digest is that of older releases, and they read it."""
    stored = of_input().as_json
    assert "sensitive" not in stored
    assert "sensitive" not in stored["steps"][0]
