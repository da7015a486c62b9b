"""The outside world of the demo does a thing once for each idempotency key, and its books tell all."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backout.cli.demo.bank import NoVan, OutsideWorld
from backout.cli.demo.books import Books
from backout.cli.demo.orders import UNSERVED_DESTINATION, Order, OrderLine


@pytest.fixture
def books(tmp_path: Path) -> Books:
    books = Books(tmp_path / "books.sqlite3")
    books.open_new()
    return books


@pytest.fixture
def outside(books: Books) -> OutsideWorld:
    return OutsideWorld.with_books(books.path, answer_seconds=0)


def make_order(*, destination: str = "Uppsala", card: str = "card-1") -> Order:
    lines = [OrderLine(item="tea cup", quantity=4)]
    return Order(
        id="A-1", customer="Ada", email="ada@x.org", lines=lines, total_cents=3150, card=card, destination=destination
    )


def deeds(books: Books) -> list[tuple[str, int]]:
    return [(effect.deed, effect.amount) for effect in books.effects_of("A-1")]


def outcomes(books: Books) -> list[str]:
    return [request.outcome for request in books.requests_of("A-1")]


def test_repeated_charge_is_booked_once(outside: OutsideWorld, books: Books) -> None:
    """A second request under the same key gets the first one's charge; the books have both requests."""
    first = outside.charge_card(make_order(), key="run:charge_card")
    second = outside.charge_card(make_order(), key="run:charge_card")
    assert second == first
    assert deeds(books) == [("charge", 3150)]
    assert outcomes(books) == ["done", "repeated"]


def test_another_key_is_another_charge(outside: OutsideWorld, books: Books) -> None:
    """The bank knows keys and not orders: whoever asks under two keys is charged twice."""
    first = outside.charge_card(make_order(), key="one")
    second = outside.charge_card(make_order(), key="two")
    assert first.number != second.number
    assert deeds(books) == [("charge", 3150), ("charge", 3150)]


def test_same_key_at_two_partners_is_two_deeds(outside: OutsideWorld, books: Books) -> None:
    """A key belongs to one partner."""
    outside.reserve_stock(make_order(), key="key")
    outside.charge_card(make_order(), key="key")
    assert deeds(books) == [("reserve", 4), ("charge", 3150)]


def test_requests_at_the_same_time_have_one_effect(outside: OutsideWorld, books: Books) -> None:
    """Of many requests under one key at one moment exactly one has the effect."""
    with ThreadPoolExecutor(8) as threads:
        numbers = list(threads.map(lambda _: outside.charge_card(make_order(), key="key").number, range(24)))
    assert len(set(numbers)) == 1
    assert deeds(books) == [("charge", 3150)]
    assert sorted(outcomes(books)) == ["done"] + ["repeated"] * 23


def test_numbers_are_not_given_twice(outside: OutsideWorld, books: Books) -> None:
    """Requests under different keys at one moment get different numbers."""
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda place: outside.charge_card(make_order(), key=str(place)), range(24)))
    assert len({effect.number for effect in books.effects_of("A-1")}) == 24


def test_refund_gives_back_what_was_charged_once(outside: OutsideWorld, books: Books) -> None:
    """A refund takes back the charge under its key; repeated, also under another key, it gives nothing more."""
    charge = outside.charge_card(make_order(), key="charge")
    first = outside.bank.undo("A-1", key_of_deed="charge", key="undo")
    again = outside.bank.undo("A-1", key_of_deed="charge", key="undo")
    by_another = outside.bank.undo("A-1", key_of_deed="charge", key="another undo")
    assert first is not None
    assert first.undoes == charge.id
    assert first == again == by_another
    assert deeds(books) == [("charge", 3150), ("refund", -3150)]


def test_refund_without_charge_does_nothing(outside: OutsideWorld, books: Books) -> None:
    """What was never charged is not given back; the books have the request and why."""
    assert outside.bank.undo("A-1", key_of_deed="charge", key="undo") is None
    assert deeds(books) == []
    assert outcomes(books) == ["the bank has nothing to refund"]


def test_unserved_destination_is_refused(outside: OutsideWorld, books: Books) -> None:
    """Where no van goes nothing is booked, however often it is tried."""
    for _ in range(2):
        with pytest.raises(NoVan, match="no van goes to"):
            outside.book_courier(make_order(destination=UNSERVED_DESTINATION), key="key")
    assert deeds(books) == []
    assert outside.courier.find("key") is None


def test_late_answer_is_late_once(outside: OutsideWorld, books: Books) -> None:
    """A repeated request about the card that answers late is answered at once, from the books."""
    booked = books.book(partner="bank", deed="charge", key="key", order_id="A-1", prefix="CH", amount=3150)
    charge = outside.charge_card(make_order(card="card-answers-late"), key="key")
    assert charge == booked.effect
    assert [request.answered_at is None for request in books.requests_of("A-1")] == [True, False]


def test_found_is_what_was_done(outside: OutsideWorld) -> None:
    """Whoever is in doubt can ask under the key."""
    assert outside.bank.find("key") is None
    charge = outside.charge_card(make_order(), key="key")
    assert outside.bank.find("key") == charge
