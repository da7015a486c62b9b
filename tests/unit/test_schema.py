"""Annotations of user functions, read as the schema of what goes in and what comes out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional, TypedDict
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from backout import DefinitionError, NotDone, StepContext, Unknown
from backout.jsontext import JsonValue, dump_json
from backout.pipelines.schema import Schema, Unserialisable, from_json, problems_of, read_schema, to_json

if TYPE_CHECKING:
    from fractions import Fraction


class Size(StrEnum):
    SMALL = "s"
    LARGE = "l"


class Line(BaseModel):
    article: str
    count: int = Field(ge=1)


class Order(BaseModel):
    id: UUID
    placed_at: datetime
    total: Decimal
    size: Size
    lines: list[Line]
    note: str | None = None


@dataclass(frozen=True)
class Address:
    street: str
    since: date
    tags: tuple[str, ...] = ()


ORDER = Order(
    id=UUID("0198c0de-0000-7000-8000-000000000001"),
    placed_at=datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2))),
    total=Decimal("1234567890.10"),
    size=Size.LARGE,
    lines=[Line(article="tea", count=2)],
)


def schema_of(function: Callable[..., Any], data_arguments: int = 1) -> Schema:
    return read_schema(function, subject="step shop.charge", data_arguments=data_arguments)


def stored(adapter: TypeAdapter[Any], value: object) -> JsonValue:
    """Return a value as it comes back from the ledger, where it was text."""
    loaded: JsonValue = json.loads(dump_json(to_json(adapter, value)))
    return loaded


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Order, ORDER),
        (Address, Address(street="Main Street 1", since=date(2026, 2, 28), tags=("a", "b"))),
        (dict[str, list[int]], {"a": [1, 2], "b": []}),
        (list[Order], [ORDER]),
        (Order | None, None),
        (Order | Address, Address(street="x", since=date(2026, 1, 1))),
        (str, "Grüße, 世界 🚀 \x00 \u2028"),
        (int, 2**70),
        (float, 0.1),
        (bool, False),
        (type(None), None),
        (datetime, datetime(2026, 10, 25, 1, 59, 59, 999999, tzinfo=UTC)),
        (timedelta, timedelta(days=2, microseconds=1)),
        (Decimal, Decimal("0.10")),
        (UUID, UUID(int=7)),
        (bytes, b"plain"),
        (Path, Path("/tmp/x")),
        (set[int], {1, 2, 3}),
        (Any, {"nested": [1, "two", None, {"three": 3.5}]}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value))[:40],
)
def test_value_comes_back_from_the_ledger_as_it_went_in(kind: Any, value: object) -> None:
    """What a step declares survives the way through JSON, with its type."""
    adapter = TypeAdapter(kind)
    found = from_json(adapter, stored(adapter, value))
    assert found == value
    assert type(found) is type(value)


def test_decimal_keeps_its_digits_and_a_datetime_its_instant() -> None:
    """Money is never a float on its way, and no time zone is lost."""
    adapter = TypeAdapter(Order)
    kept = stored(adapter, ORDER)
    assert isinstance(kept, dict)
    assert kept["total"] == "1234567890.10"
    assert str(from_json(adapter, kept).total) == "1234567890.10"
    assert from_json(adapter, kept).placed_at.astimezone(UTC).isoformat() == "2026-03-29T00:30:00.123456+00:00"


def test_value_is_validated_before_it_is_stored() -> None:
    """What only looks like the declared type becomes it, before anything is written."""
    adapter = TypeAdapter(Line)
    assert to_json(adapter, {"article": "tea", "count": "3"}) == {"article": "tea", "count": 3}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Line, {"article": "tea", "count": 0}),
        (Line, {"article": "tea"}),
        (Line, None),
        (Line, ORDER),
        (int, "three"),
        (float, float("nan")),
        (float, float("inf")),
        (Any, object()),
        (Any, lambda: None),
        (bytes, b"\xff\xfe"),
        (str, "half a character \udc80"),
        (Any, {"half a character": "\udc80"}),
        (Any, {"\udc80": 1}),
    ],
)
def test_value_that_cannot_be_stored_is_refused(kind: Any, value: object) -> None:
    """NaN, live objects, half characters and wrong types are refused with a reason, never stored as something else."""
    with pytest.raises(Unserialisable) as refused:
        to_json(TypeAdapter(kind), value)
    assert str(refused.value)


@pytest.mark.parametrize("kind", [Any, dict, list, dict[str, Any], dict[str, Any] | None, dict[str, float]])
def test_number_that_json_has_no_word_for_is_refused_where_no_type_is_declared(kind: Any) -> None:
    """NaN never becomes null on its way, also where a step says `dict` or nothing at all."""

    def convert(value):  # type: ignore[no-untyped-def] # annotated below: the type is a parameter
        raise NotImplementedError

    convert.__annotations__["value"] = kind
    adapter = schema_of(convert).argument_types[0]
    value: object = [float("nan")] if kind is list else {"price": float("nan")}
    with pytest.raises(Unserialisable, match="JSON"):
        to_json(adapter, value)


def test_problems_name_the_place_and_keep_the_value_to_themselves() -> None:
    """A refusal says which field is wrong, without spilling what may be a customer's data."""
    with pytest.raises(Unserialisable) as refused:
        to_json(TypeAdapter(Order), {**ORDER.model_dump(), "lines": [{"article": "secret tea", "count": 0}]})
    assert str(refused.value) == "lines.0.count: Input should be greater than or equal to 1"


def test_problems_of_any_other_error_are_its_words() -> None:
    """An error that is not pydantic's is passed on as it is."""
    assert problems_of(ValueError("no JSON")) == ("no JSON",)


def test_stored_value_that_no_longer_fits_is_an_error() -> None:
    """A deploy that changes a type is told so, instead of computing with a wrong value."""
    with pytest.raises(ValidationError, match="count"):
        from_json(TypeAdapter(Line), {"article": "tea"})


def plain(order: Order) -> Line:
    raise NotImplementedError


def with_context(order: Order, ctx: StepContext) -> Line:
    raise NotImplementedError


def bare(order, ctx):  # type: ignore[no-untyped-def] # what is tested: no annotations
    raise NotImplementedError


def undo(order: Order, line: Line | None, ctx: StepContext) -> None:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("function", "data_arguments", "takes_context"),
    [(plain, 1, False), (with_context, 1, True), (bare, 1, True), (undo, 2, True)],
)
def test_context_is_told_from_the_data_by_its_place(
    function: Callable[..., Any], data_arguments: int, takes_context: bool
) -> None:
    """A function that takes one argument more than its data gets the context there."""
    schema = schema_of(function, data_arguments)
    assert len(schema.argument_types) == data_arguments
    assert schema.takes_context is takes_context


def test_annotations_are_the_schema() -> None:
    """Input and output are validated as the function declares them, without a second declaration."""
    schema = schema_of(undo, 2)
    kept = stored(schema.argument_types[0], ORDER)
    assert from_json(schema.argument_types[0], kept) == ORDER
    assert from_json(schema.argument_types[1], None) is None
    assert to_json(schema.output_type, None) is None
    with pytest.raises(Unserialisable):
        to_json(schema.output_type, "something")


def test_function_without_annotations_takes_any_json() -> None:
    """A step may be written without types; JSON still has to express what it returns."""
    schema = schema_of(bare)
    assert to_json(schema.argument_types[0], {"a": [1]}) == {"a": [1]}
    with pytest.raises(Unserialisable):
        to_json(schema.output_type, object())


def test_constraints_in_annotations_hold() -> None:
    """`Annotated` types keep what pydantic checks."""

    def charge(cents: Annotated[int, Field(gt=0)]) -> int:
        raise NotImplementedError

    adapter = schema_of(charge).argument_types[0]
    assert to_json(adapter, 5) == 5
    with pytest.raises(Unserialisable):
        to_json(adapter, 0)


def find_or_not(order: Order) -> Line | NotDone | Unknown:
    raise NotImplementedError


def find_optional(order: Order) -> Optional[Line] | NotDone:  # noqa: UP045 - the older spelling is what is tested
    raise NotImplementedError


def find_nothing(order: Order) -> NotDone | Unknown:
    raise NotImplementedError


def never_done(order: Order) -> NotDone:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("function", "value", "kept"),
    [
        (find_or_not, Line(article="tea", count=1), {"article": "tea", "count": 1}),
        (find_optional, None, None),
        (find_optional, Line(article="tea", count=1), {"article": "tea", "count": 1}),
        (find_nothing, None, None),
        (never_done, None, None),
    ],
)
def test_answers_of_a_reconcile_function_are_no_part_of_its_output(
    function: Callable[..., Any], value: object, kept: JsonValue
) -> None:
    """`NotDone` and `Unknown` are answers about the step, and never stored as its output."""
    assert to_json(schema_of(function).output_type, value) == kept


def test_answer_is_not_taken_for_an_output() -> None:
    """An answer that reaches the output by mistake is refused."""
    with pytest.raises(Unserialisable):
        to_json(schema_of(find_or_not).output_type, NotDone())


def test_annotation_that_only_a_type_checker_sees_is_refused_with_a_remedy() -> None:
    """A type under TYPE_CHECKING cannot be a schema, and the message says where to put the import."""

    def convert(amount: Fraction) -> int:
        raise NotImplementedError

    with pytest.raises(DefinitionError, match=r"step shop\.charge: its annotations cannot be resolved.*Fraction") as e:
        schema_of(convert)
    assert "TYPE_CHECKING" in e.value.remedy


class Shipment(BaseModel):
    weight: Fraction


@dataclass
class Parcel:
    weights: list[Fraction]


@pytest.mark.parametrize("kind", [Shipment, Parcel, list[Shipment], Shipment | None], ids=str)
def test_model_with_a_field_that_only_a_type_checker_sees_is_refused_with_a_remedy(kind: Any) -> None:
    """What pydantic would find out at the first enqueue is refused when the pipeline is defined."""

    def weigh(shipment):  # type: ignore[no-untyped-def] # annotated below: the type is a parameter
        raise NotImplementedError

    weigh.__annotations__["shipment"] = kind
    with pytest.raises(DefinitionError, match="have types that cannot be resolved") as refused:
        schema_of(weigh)
    assert "TYPE_CHECKING" in refused.value.remedy


class Early(BaseModel):
    later: Later


class Later(BaseModel):
    value: int


def test_model_may_use_a_type_that_is_defined_after_it() -> None:
    """Types are resolved when a pipeline is made of the steps, so their order in a module does not matter."""

    def handle(early: Early) -> Later:
        raise NotImplementedError

    assert to_json(schema_of(handle).argument_types[0], {"later": {"value": 1}}) == {"later": {"value": 1}}


class Registered(TypedDict):
    email: str


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="pydantic reads it from Python 3.12 on")
def test_type_that_pydantic_has_its_own_rules_for_is_refused_in_its_words() -> None:
    """What pydantic will not read is refused like any other type, with what it says about it."""

    def register(customer: Registered) -> None:
        raise NotImplementedError

    with pytest.raises(DefinitionError, match=r"has no JSON schema \(Please use `typing_extensions"):
        schema_of(register)


def test_type_without_a_json_form_is_refused_with_a_remedy() -> None:
    """A live object is no input: it could not be stored for a later attempt in another process."""

    class Connection:
        pass

    def convert(connection):  # type: ignore[no-untyped-def] # annotated below: the class is local
        raise NotImplementedError

    convert.__annotations__["connection"] = Connection
    with pytest.raises(DefinitionError, match="has no JSON schema") as refused:
        schema_of(convert)
    assert "pass ids instead of live objects" in refused.value.remedy
