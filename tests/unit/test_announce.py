"""Telling what a commit meant must never harm whoever committed it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from backout import Direction
from backout.identifiers import new_claim_token, new_run_id, new_task_id
from backout.ledger.records import Claim, RunFacts, StepKey
from backout.ledger.session import Ledger
from backout.signals import any_event
from backout.tasks.announce import Announcer


@pytest.fixture
def announcer(sqlite_url: str) -> Iterator[Announcer]:
    """One whose ledger has no tables: every question to it fails."""
    ledger = Ledger(sqlite_url)
    app = Celery("shop", broker="memory://", set_as_current=False)
    yield Announcer(app, ledger)
    ledger.dispose()


@pytest.fixture
def receiver() -> Iterator[None]:
    """Somebody who listens."""

    def hear(**_: Any) -> None: ...

    any_event.connect(hear, weak=False)
    yield
    any_event.disconnect(hear)


def describe_claim() -> Claim:
    run_id = new_run_id()
    return Claim(
        key=StepKey(run_id=run_id, round=1, position=0, direction=Direction.FORWARD),
        step="charge_card",
        token=new_claim_token(),
        attempt=1,
        lost_attempts=0,
        start_order=1,
        idempotency_key="key",
        task_id=new_task_id(),
        external_ids={},
        run=RunFacts(
            pipeline="order",
            definition_digest="",
            subject_id=None,
            input=None,
            external_ids={},
            last_successful_step=None,
        ),
    )


@pytest.mark.usefixtures("receiver")
def test_ledger_that_fails_is_logged_and_harms_nobody(announcer: Announcer, caplog: pytest.LogCaptureFixture) -> None:
    """The claim holds and the outcome is recorded, whether anybody hears of it or not."""
    claim = describe_claim()
    with caplog.at_level(logging.ERROR):
        assert announcer.position_of(claim.key.run_id) is None
        assert announcer.announce_claim(claim) is None
        announcer.announce(claim.key.run_id, after_id=0)
    assert len(caplog.records) == 3
    assert all(claim.key.run_id in record.getMessage() for record in caplog.records)


def test_ledger_is_not_asked_where_nobody_listens(announcer: Announcer, caplog: pytest.LogCaptureFixture) -> None:
    """Each of these would fail if it asked."""
    claim = describe_claim()
    assert not announcer.is_heard()
    assert announcer.position_of(claim.key.run_id) is None
    assert announcer.announce_claim(claim) is None
    announcer.announce(claim.key.run_id, after_id=0)
    assert caplog.records == []


@pytest.mark.usefixtures("receiver")
def test_nothing_is_told_of_a_time_when_nobody_listened(announcer: Announcer, caplog: pytest.LogCaptureFixture) -> None:
    """Where the run stood is not known then; old news would be told as new."""
    announcer.announce(new_run_id(), after_id=None)
    assert caplog.records == []


@pytest.mark.parametrize("is_on", [False, True])
def test_process_that_is_no_worker_follows_celerys_setting_for_what_it_sends(announcer: Announcer, is_on: bool) -> None:
    """Celery sends `task-sent` from there by the same setting."""
    announcer._app.conf.update(task_send_sent_event=is_on, worker_send_task_events=True)
    assert announcer.is_heard() is is_on


@pytest.mark.parametrize("is_on", [False, True])
def test_worker_goes_by_what_it_was_started_with(announcer: Announcer, is_on: bool) -> None:
    """Whatever the settings say: `-E` is an option of the command."""
    announcer._app.conf.update(task_send_sent_event=not is_on, worker_send_task_events=not is_on)
    announcer.task_events = is_on
    assert announcer.is_heard() is is_on
