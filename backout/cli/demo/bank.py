"""The tiny outside world of the demo: a bank, a warehouse, a courier and a mailer, each with idempotency keys.

They know nothing of backout. What they did is in their books, and nowhere else.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from backout.cli.demo.books import Booked, Books, Effect
from backout.cli.demo.orders import Order

LATE_ANSWER_SECONDS: Final = 20.0
"""How long the bank takes to answer about the card that answers late; the charge is in its books before."""


class NoVan(Exception):
    """The courier has no van that goes there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    """Somebody outside who does one thing and, most of them, can take it back.

    Attributes:
        deed: what it is asked to do.
        undoing: what it is asked to take back; empty when it takes nothing back.
        prefixes: of the numbers that it gives to what it did and to what it took back.
        answer_seconds: how long each answer is on its way; the effect is booked before.
    """

    name: str
    deed: str
    undoing: str
    prefixes: tuple[str, str]
    books: Books
    answer_seconds: float

    def do(self, order_id: str, amount: int, *, key: str, is_answer_late: bool = False) -> Effect:
        """Do it once for each key; a repeated request gets the first one's effect."""
        booked = self.books.book(
            partner=self.name, deed=self.deed, key=key, order_id=order_id, prefix=self.prefixes[0], amount=amount
        )
        is_late = is_answer_late and not booked.is_repeated
        return self._answer(booked, LATE_ANSWER_SECONDS if is_late else self.answer_seconds)

    def undo(self, order_id: str, *, key_of_deed: str, key: str) -> Effect | None:
        """Take back what was done under a key, once; `None` when nothing was done."""
        done = self.find(key_of_deed)
        if done is None:
            self._refuse(order_id, self.undoing, key, f"the {self.name} has nothing to {self.undoing}")
            return None
        booked = self.books.book(
            partner=self.name,
            deed=self.undoing,
            key=key,
            order_id=order_id,
            prefix=self.prefixes[1],
            amount=-done.amount,
            undoes=done.id,
        )
        return self._answer(booked, self.answer_seconds)

    def find(self, key: str) -> Effect | None:
        """Return what was done under a key; `None` when nothing was."""
        return self.books.find_effect(partner=self.name, deed=self.deed, key=key)

    def refuse(self, order_id: str, *, key: str, reason: str) -> None:
        """Answer that it cannot be done; nothing happens."""
        self._refuse(order_id, self.deed, key, reason)

    def _answer(self, booked: Booked, seconds: float) -> Effect:
        time.sleep(seconds)
        self.books.mark_answered(booked.request_id)
        return booked.effect

    def _refuse(self, order_id: str, deed: str, key: str, reason: str) -> None:
        request_id = self.books.note(partner=self.name, deed=deed, key=key, order_id=order_id, outcome=reason)
        time.sleep(self.answer_seconds)
        self.books.mark_answered(request_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideWorld:
    """The four partners of the shop, who share one file of books."""

    warehouse: Partner
    bank: Partner
    courier: Partner
    mailer: Partner

    @classmethod
    def with_books(cls, path: Path, *, answer_seconds: float) -> Self:
        """Return the partners that write into these books."""
        books = Books(path)

        def partner(name: str, deed: str, undoing: str, prefixes: tuple[str, str]) -> Partner:
            return Partner(
                name=name, deed=deed, undoing=undoing, prefixes=prefixes, books=books, answer_seconds=answer_seconds
            )

        return cls(
            warehouse=partner("warehouse", "reserve", "release", ("RS", "RL")),
            bank=partner("bank", "charge", "refund", ("CH", "RF")),
            courier=partner("courier", "book", "cancel", ("BK", "CN")),
            mailer=partner("mailer", "send", "", ("MS", "")),
        )

    def reserve_stock(self, order: Order, *, key: str) -> Effect:
        """Set the pieces of an order aside."""
        return self.warehouse.do(order.id, order.pieces, key=key)

    def charge_card(self, order: Order, *, key: str) -> Effect:
        """Charge the card of an order."""
        return self.bank.do(order.id, order.total_cents, key=key, is_answer_late=order.is_answered_late)

    def book_courier(self, order: Order, *, key: str) -> Effect:
        """Book a van for an order.

        Raises:
            NoVan: none goes to the destination; nothing was booked.
        """
        if not order.is_deliverable:
            reason = f"no van goes to {order.destination}"
            self.courier.refuse(order.id, key=key, reason=reason)
            raise NoVan(reason)
        return self.courier.do(order.id, 1, key=key)

    def send_receipt(self, order: Order, *, key: str) -> Effect:
        """Mail the receipt of an order."""
        return self.mailer.do(order.id, 1, key=key)
