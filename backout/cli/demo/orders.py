"""The orders of the demo: their type, the file they are read from, and what in an order makes which trouble."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backout.errors import ConfigurationError

PACKAGED_ORDERS: Final = Path(__file__).with_name("orders.json")
"""The same as `examples/orders.json`, which an installed wheel does not have."""
LATE_CARD: Final = "card-answers-late"
"""Charged like any card, but the bank's first answer takes so long that the worker can be killed meanwhile."""
UNSERVED_DESTINATION: Final = "Tristan da Cunha"
"""Where no courier goes."""


class OrderLine(BaseModel):
    """So many pieces of one thing."""

    model_config = ConfigDict(extra="forbid")

    item: str = Field(min_length=1)
    quantity: int = Field(gt=0)


class Order(BaseModel):
    """What a customer ordered: the input of the pipeline."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1)
    customer: str = Field(min_length=1)
    email: str = Field(min_length=3)
    lines: list[OrderLine] = Field(min_length=1)
    total_cents: int = Field(gt=0)
    card: str = Field(min_length=1)
    destination: str = Field(min_length=1)

    @property
    def pieces(self) -> int:
        """How many things the warehouse has to set aside."""
        return sum(line.quantity for line in self.lines)

    @property
    def is_deliverable(self) -> bool:
        """True when a courier goes to the destination."""
        return self.destination != UNSERVED_DESTINATION

    @property
    def is_answered_late(self) -> bool:
        """True when the bank's first answer about the card takes long."""
        return self.card == LATE_CARD


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOrder:
    """One entry of the file.

    Attributes:
        id: as the file says; the place in the file where it says nothing.
        content: as it is in the file; the pipeline decides whether it is an order.
        order: the typed order; `None` when the entry is malformed.
    """

    id: str
    content: Any
    order: Order | None


def read_orders(path: Path) -> list[ReadOrder]:
    """Return the orders of a file, malformed ones too, in its order.

    Raises:
        ConfigurationError: the file cannot be read, is no JSON list, or uses an id twice. Nothing was started.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unusable(path, str(error)) from error
    if not isinstance(entries, list) or not entries:
        raise _unusable(path, "it is no JSON list of orders")
    orders = [_read_one(place, entry) for place, entry in enumerate(entries, start=1)]
    twice = sorted({order.id for order in orders if [other.id for other in orders].count(order.id) > 1})
    if twice:
        raise _unusable(path, f"it has more than one order with the id {', '.join(twice)}")
    return orders


def _read_one(place: int, entry: Any) -> ReadOrder:
    given_id = entry.get("id") if isinstance(entry, dict) else None
    try:
        order = Order.model_validate(entry)
    except ValidationError:
        order = None
    return ReadOrder(id=str(given_id or f"entry {place}"), content=entry, order=order)


def _unusable(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        problem=f"the orders in {path} cannot be used: {problem}",
        remedy="Give a JSON list of orders, such as examples/orders.json",
    )
