"""A scratch: runs that reach their end at once, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import Celery

from backout import AskHuman, InvalidInput, Pipeline, Retry, RunState, step
from backout.testing import Scratch
from tests.rehearsal import shop
from tests.support.definitions import unique

legacy_app = Celery("rehearsed_legacy", broker="redis://nowhere.invalid/0", set_as_current=False)


@legacy_app.task(name="rehearsal.legacy_invoice")
def invoice(order: str) -> str:
    return f"invoice of {order}"


def test_run_is_settled_when_it_is_returned(tmp_path: Path) -> None:
    """Its handle shows the end, and the ledger what led to it."""
    with Scratch(tmp_path) as scratch:
        handle = scratch.run(shop.SHOP, shop.ORDER)
        assert handle.status().state is RunState.SUCCEEDED
        assert [row.step for row in handle.steps()] == ["check_order", "reserve", "charge", "book", "tell"]
        assert handle.status().external_ids == {"charge": "ch_o-1"}
        assert scratch.reviews(handle) == []


def test_what_code_under_test_enqueues_goes_there_too(tmp_path: Path) -> None:
    """`settle` runs it."""
    with Scratch(tmp_path) as scratch:
        handle = shop.SMALL.enqueue(shop.ORDER, source_event_id="form-1")
        assert handle.status().state is RunState.PENDING
        scratch.settle()
        assert handle.status().state is RunState.SUCCEEDED
        assert shop.SMALL.enqueue(shop.ORDER, source_event_id="form-1").id == handle.id


def test_delays_of_any_length_are_over_at_once(tmp_path: Path) -> None:
    """Those of seconds that go with the message, and those of hours that wait in the ledger."""
    attempts: list[int] = []

    def fetch(order: str, ctx: object) -> str:
        attempts.append(len(attempts) + 1)
        if len(attempts) < 4:
            raise TimeoutError("not yet")
        return order

    fetched = step(name=unique("fetch"), effect="read", retry=Retry(limit=3, delay=30, max_delay=7_200))(fetch)
    with Scratch(tmp_path) as scratch:
        handle = scratch.run(Pipeline(unique("patient"), [fetched]), "o-1")
        assert handle.status().state is RunState.SUCCEEDED
    assert attempts == [1, 2, 3, 4]


def test_person_who_is_asked_is_seen(tmp_path: Path) -> None:
    """A test reads the reason as the operator would."""

    def unsure(order: str) -> str:
        raise AskHuman("systems_disagree", "the bank has it, the shop has not")

    asking = step(name=unique("unsure"), keep="it is harmless")(unsure)
    with Scratch(tmp_path) as scratch:
        handle = scratch.run(Pipeline(unique("asking"), [asking]), "o-1")
        (review,) = scratch.reviews(handle)
        assert (handle.status().state, review.reason) == (RunState.IN_REVIEW, "systems_disagree")
        scratch.renew()
        assert scratch.run(shop.SMALL, shop.ORDER).status().state is RunState.SUCCEEDED


def test_task_of_another_app_runs_in_the_scratch(tmp_path: Path) -> None:
    """An existing task that is a step needs neither its app nor its broker."""
    made = step.from_task(invoice, keep="an invoice may be cancelled by hand")
    with Scratch(tmp_path) as scratch:
        handle = scratch.run(Pipeline(unique("legacy"), [made]), "o-1")
        assert (handle.status().state, handle.output) == (RunState.SUCCEEDED, "invoice of o-1")


def test_input_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """As by the real enqueue."""
    with Scratch(tmp_path) as scratch, pytest.raises(InvalidInput):
        scratch.run(shop.SMALL, {"id": 3})


def test_two_scratches_share_nothing(tmp_path: Path) -> None:
    """The inner one takes over and gives back."""
    (tmp_path / "inner").mkdir()
    with Scratch(tmp_path) as outer:
        waiting = shop.SMALL.enqueue(shop.ORDER)
        with Scratch(tmp_path / "inner") as inner:
            assert inner.run(shop.SMALL, shop.ORDER).status().state is RunState.SUCCEEDED
        assert waiting.status().state is RunState.PENDING
        assert outer.run(shop.SMALL, shop.ORDER).status().state is RunState.SUCCEEDED
        assert waiting.status().state is RunState.SUCCEEDED
