"""Examples made from types: they fit, and where none can be made it is said why."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from pydantic import AnyUrl, BaseModel, Field, TypeAdapter

from backout.testing.rehearsal.examples import NoExample, make_example


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    street: str = Field(min_length=10, max_length=12)
    number: int = Field(gt=6, le=8)
    factor: float = Field(ge=2.5)
    even: int = Field(multiple_of=4, ge=5)


class Customer(BaseModel):
    id: uuid.UUID
    born_on: date
    seen_at: datetime
    at: time
    patience: timedelta
    colour: Colour
    kind: Literal["private", "business"]
    address: Address
    others: list[Address] = Field(min_length=2)
    pair: tuple[int, str]
    page: AnyUrl
    balance: Decimal
    nickname: str = "Al"
    parent: Customer | None = None
    tags: dict[str, int] = Field(default_factory=dict)


@dataclass
class Charge:
    id: str
    amounts: list[int] = field(default_factory=list)


class Point(NamedTuple):
    x: int
    y: float


class Coded(BaseModel):
    code: str = Field(pattern=r"^[A-Z]{3}$", examples=["ABC"])


class Uncoded(BaseModel):
    code: str = Field(pattern=r"^[A-Z]{3}$")


class Endless(BaseModel):
    inner: Endless


class Live(BaseModel, arbitrary_types_allowed=True):
    app: NoExample


class Tree(BaseModel):
    """The first choice never ends; the second does."""

    left: Tree | int


TYPES: list[Any] = [
    Customer,
    Charge,
    Point,
    Coded,
    Tree,
    str,
    int,
    float,
    bool,
    bytes,
    None,
    Any,
    dict[str, Any],
    list[int],
    int | str,
    Customer | None,
    Annotated[int, Field(lt=-3)],
    Annotated[set[int], Field(max_length=3)],
]


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_example_fits_its_type(kind: Any) -> None:
    """It is what pydantic makes of its own JSON."""
    adapter = TypeAdapter(kind)
    example = make_example(adapter)
    assert adapter.validate_json(adapter.dump_json(example)) == example


def test_defaults_and_examples_come_first() -> None:
    """What the author has written is better than what we make up."""
    assert make_example(TypeAdapter(Customer)).nickname == "Al"
    assert make_example(TypeAdapter(Coded)).code == "ABC"


def test_two_examples_are_equal() -> None:
    """Nothing is random: a rehearsal is the same each time."""
    assert make_example(TypeAdapter(Customer)) == make_example(TypeAdapter(Customer))


@pytest.mark.parametrize(("kind", "why"), [(Uncoded, "code: String should match pattern"), (Endless, "without end")])
def test_type_without_an_example_says_why(kind: Any, why: str) -> None:
    """The caller names the step, and what to do."""
    with pytest.raises(NoExample, match=why):
        make_example(TypeAdapter(kind))


def test_type_without_a_json_schema_says_so() -> None:
    """No traceback of pydantic's."""
    with pytest.raises(NoExample, match="JsonSchema"):
        make_example(TypeAdapter(Live))
