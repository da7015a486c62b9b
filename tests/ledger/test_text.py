"""Text is kept and compared exactly, on every database: MySQL's default would take "A" for "a" and for "a "."""

from __future__ import annotations

import pytest

from backout.ledger import queries, transitions
from backout.ledger.session import KeyTaken, Ledger
from tests.support.ledgers import RESEND_SECONDS, create_run, describe_run, key_of, read_run, start_run, try_claim

ALIKE = [
    "form",
    "Form",
    "form ",
    " form",
    "form\t",
    "förm",
    "fo\u0308rm",
    "ｆorm",
    "ſorm",
    "form\u200b",
    "form🙂",
    "form🙃",
]
"""Each is another text; some rules of comparison take some of them for the same."""


def test_source_events_that_look_alike_have_runs_of_their_own(ledger: Ledger) -> None:
    """R9: one source event, one run; another source event, another run."""
    run_ids = [create_run(ledger, source_event_id=event) for event in ALIKE]
    for event, run_id in zip(ALIKE, run_ids, strict=True):
        found = ledger.read(lambda connection: queries.find_run_of_event(connection, "fulfil_order", event))  # noqa: B023
        assert found == run_id
        assert read_run(ledger, run_id).source_event_id == event


def test_pipelines_that_look_alike_are_not_one(ledger: Ledger) -> None:
    """R9: a source event belongs to one pipeline, by its exact name."""
    for pipeline in ("fulfil_order", "Fulfil_order", "fulfil_order "):
        create_run(ledger, pipeline=pipeline, source_event_id="form-1")
    with ledger.transaction() as connection:
        again = describe_run(pipeline="fulfil_order", source_event_id="form-1")
        assert not transitions.create_run(connection, again, resend_seconds=RESEND_SECONDS)


def test_keys_that_look_alike_exclude_nobody(ledger: Ledger) -> None:
    """A run is stopped by the very same key only."""
    for text in ALIKE:
        assert try_claim(ledger, key_of(create_run(ledger)), own_key=text, exclusive_key=text)
    with pytest.raises(KeyTaken):
        ledger.repeat(lambda: try_claim(ledger, key_of(create_run(ledger)), own_key="form", exclusive_key="form"))


def test_subjects_that_look_alike_are_found_apart(ledger: Ledger) -> None:
    """A person who looks for one customer is not shown another one."""
    create_run(ledger, subject_id="Customer")
    wanted = create_run(ledger, subject_id="customer")
    found = ledger.read(lambda connection: queries.list_runs(connection, text="customer"))
    assert [record.id for record in found] == [wanted]


def test_long_text_is_kept_whole(ledger: Ledger) -> None:
    """R14: nothing that is said about an error is cut off, however long it is."""
    claimed, reason = start_run(ledger), "🙂 it failed, and here is the page that came back: " + "x" * 300_000
    with ledger.transaction() as connection:
        assert transitions.fail_step(connection, claimed, error={"message": reason}, reason=reason)
    entries = ledger.read(lambda connection: queries.list_entries(connection, claimed.key.run_id))
    assert entries[-1].reason == reason
