"""Runs that are enqueued in Django's transactions: they exist if the transaction commits, and only then."""

from __future__ import annotations

import threading
import unittest
from collections.abc import Iterator

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.test import Client, TestCase
from django.test.utils import CaptureQueriesContext

from backout import RunHandle
from backout.errors import ConfigurationError
from backout.integrations.django.models import Run
from tests.integrations.django.inside.looking import committed_runs, new_number, rolled_back, take_messages
from tests.integrations.django.project.shop.models import Order
from tests.integrations.django.project.shop.pipelines import fulfil

WAITS_SECONDS = 0.5
"""Long enough for a second enqueue that does not wait to be done."""
NOTE = "100 % 'sure' %s"


@pytest.fixture(autouse=True)
def no_messages() -> Iterator[None]:
    take_messages()
    yield
    take_messages()


def order(number: str) -> RunHandle:
    Order.objects.create(number=number)
    return fulfil.enqueue({"number": number, "note": NOTE}, source_event_id=number)


def test_run_commits_with_the_block() -> None:
    """Nobody sees it before, its message goes out after, and there is one of each."""
    number = new_number()
    with transaction.atomic():
        handle = order(number)
        assert (committed_runs(), take_messages()) == ([], [])
    assert [run.id for run in committed_runs()] == [handle.id]
    assert take_messages() == [handle.id]
    assert handle.status().input == {"number": number, "fails": False, "note": NOTE}


def test_run_goes_with_the_block() -> None:
    """A rollback leaves neither row nor run nor message."""
    with rolled_back():
        order(new_number())
    assert (Order.objects.count(), committed_runs(), take_messages()) == (0, [], [])


def test_run_goes_with_its_savepoint() -> None:
    """What was enqueued in an inner block that fails is gone; the outer block's run is not."""
    with transaction.atomic():
        kept = order(new_number())
        with rolled_back():
            order(new_number())
    assert [run.id for run in committed_runs()] == [kept.id]
    assert take_messages() == [kept.id]


def test_broken_transaction_is_not_written_to() -> None:
    """After an error of the database Django's own guard speaks, and nothing of the block remains."""
    number = new_number()
    with transaction.atomic():
        order(number)
        with pytest.raises(IntegrityError):
            Order.objects.create(number=number)
        with pytest.raises(transaction.TransactionManagementError):
            fulfil.enqueue({"number": number})
    assert (Order.objects.count(), committed_runs(), take_messages()) == (0, [], [])


def test_outside_of_a_block_it_is_recorded_at_once() -> None:
    """With a transaction of its own."""
    handle = order(new_number())
    assert [run.id for run in committed_runs()] == [handle.id]
    assert take_messages() == [handle.id]


def test_second_run_of_an_event_is_the_first_one() -> None:
    """In the same block and in a later one (R9), and the block goes on."""
    number = new_number()
    with transaction.atomic():
        first = order(number)
        again = fulfil.enqueue({"number": number}, source_event_id=number)
    with transaction.atomic():
        later = fulfil.enqueue({"number": number}, source_event_id=number)
        other = fulfil.enqueue({"number": number}, source_event_id=new_number())
    assert (again.id, again.was_created, later.id, later.was_created) == (first.id, False, first.id, False)
    assert sorted(take_messages()) == sorted([first.id, other.id])


def test_django_sees_the_statements() -> None:
    """Its logging, wrappers and captured queries have those of backout among its own."""
    with transaction.atomic(), CaptureQueriesContext(connection) as captured:
        order(new_number())
    tables = [table for table in ("backout_run", "backout_step", "backout_entry") if table in str(list(captured))]
    assert tables == ["backout_run", "backout_step", "backout_entry"]


def test_block_of_another_database_is_waited_for() -> None:
    """Recorded and sent after its commit, and not at all after its rollback."""
    with rolled_back("other"):
        fulfil.enqueue({"number": "1"})
    with transaction.atomic(using="other"):
        handle = fulfil.enqueue({"number": "2"}, source_event_id="2")
        assert committed_runs() == []
    assert [run.id for run in committed_runs()] == [handle.id]
    assert take_messages() == [handle.id]
    with transaction.atomic(using="other"):
        assert fulfil.enqueue({"number": "2"}, source_event_id="2").id == handle.id


def test_blocks_of_several_other_databases_need_a_name() -> None:
    """Nobody can tell which commit counts, so it must be said."""
    with transaction.atomic(using="other"), transaction.atomic(using="third"):
        with pytest.raises(ConfigurationError, match=r"connection=connections\['other'\]"):
            fulfil.enqueue({"number": "1"})
        handle = fulfil.enqueue({"number": "1"}, connection=connections["third"])
    assert [run.id for run in committed_runs()] == [handle.id]


def test_ledgers_block_comes_before_others() -> None:
    """Whichever was opened first."""
    with rolled_back("other"), transaction.atomic():
        handle = order(new_number())
    assert [run.id for run in committed_runs()] == [handle.id]


@pytest.mark.parametrize("given", [connection, connections["default"]], ids=["proxy", "connection"])
def test_connection_can_be_given(given: object) -> None:
    """The one of a block takes part in it; one without a block is refused."""
    with pytest.raises(ConfigurationError, match=r"Enqueue inside `transaction.atomic\(\)`"):
        fulfil.enqueue({"number": "1"}, connection=given)
    with rolled_back():
        fulfil.enqueue({"number": "1"}, connection=given)
    with transaction.atomic():
        handle = fulfil.enqueue({"number": "1"}, connection=given)
    assert [run.id for run in committed_runs()] == [handle.id]


def test_transaction_by_hand_is_refused() -> None:
    """Django cannot tell when it commits, so no message could follow it."""
    transaction.set_autocommit(False)
    try:
        for given in (None, connection):
            with pytest.raises(ConfigurationError, match="autocommit is turned off on the connection 'default'"):
                fulfil.enqueue({"number": "1"}, connection=given)
        with transaction.atomic():
            handle = fulfil.enqueue({"number": "1"})
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert [run.id for run in committed_runs()] == [handle.id]
    assert take_messages() == [handle.id]


@pytest.fixture
def requests_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)


@pytest.mark.usefixtures("requests_in_blocks")
def test_requests_in_blocks_commit_or_vanish_whole() -> None:
    """ATOMIC_REQUESTS: a view that fails leaves neither order nor run, one that succeeds leaves one of each."""
    client = Client(raise_request_exception=False)
    assert client.post("/order/1/?fail").status_code == 500
    assert (Order.objects.count(), committed_runs(), take_messages()) == (0, [], [])
    answered = client.post("/order/1/")
    assert [run.id for run in committed_runs()] == [answered.content.decode()] == take_messages()


class InATestCase(TestCase):
    """Django's TestCase, whose transaction is never committed; run by the test below."""

    __test__ = False

    def test_run_is_there_and_is_sent_when_callbacks_are(self) -> None:
        with self.captureOnCommitCallbacks() as callbacks:
            handle = order("in a test case")
        assert (len(callbacks), take_messages()) == (1, [])
        with self.captureOnCommitCallbacks(execute=True):
            again = order("in a test case, executed")
        assert take_messages() == [again.id]
        assert {run.id for run in Run.objects.all()} == {handle.id, again.id}


def test_test_case_sends_with_its_callbacks() -> None:
    """`captureOnCommitCallbacks(execute=True)` sends; the test case's rollback takes the runs with it."""
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(InATestCase).run(result)
    assert (result.testsRun, result.errors, result.failures) == (1, [], [])
    assert committed_runs() == []


@pytest.mark.parametrize("commits", [True, False])
def test_two_blocks_with_one_event_wait_for_each_other(commits: bool) -> None:
    """The second gets the first one's run (R9); where the first rolls back, it gets one of its own."""
    asked, may_end, answers = threading.Event(), threading.Event(), {}

    def ask_first() -> None:
        with transaction.atomic():
            answers["first"] = fulfil.enqueue({"number": "1"}, source_event_id="one event")
            asked.set()
            may_end.wait()
            transaction.set_rollback(not commits)
        connection.close()

    def ask_second() -> None:
        asked.wait()
        with transaction.atomic():
            answers["second"] = fulfil.enqueue({"number": "1"}, source_event_id="one event")
        connection.close()

    threads = [threading.Thread(target=target, daemon=True) for target in (ask_first, ask_second)]
    for thread in threads:
        thread.start()
    threads[1].join(WAITS_SECONDS)
    assert "second" not in answers
    may_end.set()
    for thread in threads:
        thread.join()
    assert answers["second"].was_created is not commits
    expected = answers["first" if commits else "second"].id
    assert [run.id for run in committed_runs()] == [answers["second"].id] == [expected]
