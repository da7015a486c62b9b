"""Many runs that are enqueued in Django's transactions: they exist if the transaction commits, and only then."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from backout import EnqueuedRuns
from tests.integrations.django.inside.looking import committed_runs, new_number, rolled_back, take_messages
from tests.integrations.django.inside.test_enqueue import NOTE
from tests.integrations.django.project.shop.models import Order
from tests.integrations.django.project.shop.pipelines import fulfil

MANY = 1_200


@pytest.fixture(autouse=True)
def no_messages() -> Iterator[None]:
    take_messages()
    yield
    take_messages()


def order(numbers: list[str], **options: object) -> EnqueuedRuns:
    Order.objects.bulk_create([Order(number=number) for number in dict.fromkeys(numbers)])
    inputs = ({"number": number, "note": NOTE} for number in numbers)
    return fulfil.enqueue_many(inputs, source_event_ids=lambda order: order.number, **options)  # type: ignore[arg-type]


def created(result: EnqueuedRuns) -> list[str]:
    return [handle.id for handle in result if handle.was_created]


def test_runs_commit_with_the_block() -> None:
    """However many they are: nobody sees one before, and each message goes out after."""
    numbers = [new_number() for _ in range(MANY)]
    with transaction.atomic():
        result = order([*numbers, numbers[0]])
        assert (committed_runs(), take_messages(), result.unsent) == ([], [], None)
    assert result.created == MANY
    assert result.handles[-1].id == result.handles[0].id
    assert take_messages() == created(result)
    assert result.handles[7].status().input == {"number": numbers[7], "fails": False, "note": NOTE}


def test_runs_go_with_the_block() -> None:
    """A rollback leaves neither rows nor runs nor messages."""
    with rolled_back():
        order([new_number() for _ in range(3)])
    assert (Order.objects.count(), committed_runs(), take_messages()) == (0, [], [])


def test_runs_go_with_their_savepoint() -> None:
    """What was enqueued in an inner block that fails is gone; the outer block's runs are not."""
    with transaction.atomic():
        kept = order([new_number() for _ in range(2)])
        with rolled_back():
            order([new_number() for _ in range(2)])
    assert {run.id for run in committed_runs()} == set(created(kept))
    assert take_messages() == created(kept)


def test_outside_of_a_block_they_are_recorded_at_once() -> None:
    """In transactions of their own."""
    result = order([new_number() for _ in range(3)])
    assert result.unsent == 0
    assert {run.id for run in committed_runs()} == set(take_messages()) == set(created(result))


def test_events_that_are_known_get_their_runs() -> None:
    """R9: those of another transaction, of `enqueue`, and of the same block; the block goes on."""
    numbers = [new_number() for _ in range(4)]
    first = order(numbers[:2])
    with transaction.atomic():
        alone = fulfil.enqueue({"number": numbers[2]}, source_event_id=numbers[2])
        inputs = [({"number": number}, number) for number in [*numbers, numbers[3]]]
        result = fulfil.enqueue_many(inputs, source_event_ids="pairs")
        Order.objects.create(number=numbers[3])
    ids = [handle.id for handle in result]
    assert ids[:3] == [*created(first), alone.id]
    assert [handle.was_created for handle in result] == [False, False, False, True, False]
    assert sorted(take_messages()) == sorted({*ids})


def test_django_sees_the_statements() -> None:
    """Its logging, wrappers and captured queries have those of backout, a few for all runs."""
    with transaction.atomic(), CaptureQueriesContext(connection) as captured:
        order([new_number() for _ in range(50)])
    about = [query["sql"] for query in captured if "backout_" in query["sql"]]
    assert all(any(table in sql for sql in about) for table in ("backout_run", "backout_step", "backout_entry"))
    assert len(about) <= 4


def test_block_of_another_database_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """Recorded and sent after its commit, and not at all after its rollback; known events get their runs at once."""
    known = fulfil.enqueue({"number": "1"}, source_event_id="1")
    take_messages()
    inputs = [({"number": number}, number) for number in ("1", "2", "3", "2")]
    with rolled_back("other"):
        fulfil.enqueue_many(inputs, source_event_ids="pairs")
    assert [run.id for run in committed_runs()] == [known.id]
    with transaction.atomic(using="other"):
        result = fulfil.enqueue_many(inputs, source_event_ids="pairs")
        assert [run.id for run in committed_runs()] == [known.id]
    assert (result.handles[0].id, result.handles[3].id) == (known.id, result.handles[1].id)
    assert [handle.was_created for handle in result] == [False, True, True, False]
    assert {run.id for run in committed_runs()} == {known.id, *created(result)}
    assert take_messages() == created(result)
    assert "promised" not in caplog.text


def test_event_that_somebody_else_got_meanwhile_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A run that was promised in another database's block, and does not exist, is in the log."""
    with caplog.at_level(logging.WARNING), transaction.atomic(using="other"):
        fulfil.enqueue({"number": "7"}, source_event_id="7")
        fulfil.enqueue_many([({"number": "7"}, "7"), ({"number": "8"}, "8")], source_event_ids="pairs")
    assert "the source events of 1 runs of fulfil, which were promised" in caplog.text
    assert sorted(run.source_event_id or "" for run in committed_runs()) == ["7", "8"]


def test_connection_can_be_given() -> None:
    """As to `enqueue`."""
    with transaction.atomic():
        result = order([new_number()], connection=connections["default"])
    assert [run.id for run in committed_runs()] == created(result)
