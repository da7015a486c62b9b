"""Ask the database that holds the ledger."""

from __future__ import annotations

import time
from typing import Final

from backout.errors import BackoutError, ConfigurationError, LedgerUnavailable
from backout.ledger import health, queries, schema
from backout.ledger.session import Ledger
from backout.tasks.doctor.about_runs import MOST_SENDS, overdue_seconds
from backout.tasks.doctor.clocks import difference
from backout.tasks.doctor.facts import Failed, LedgerFacts
from backout.tasks.doctor.patience import NoAnswer, ask_within

CONNECTIONS: Final = 1
MISSING_FILE_REMEDY: Final = "Check the path; `backout ledger upgrade` makes a new ledger"
ROOM: Final = 4
"""A database may take this many times as long as one answer: it is asked several questions."""


def ask_ledger(
    database_url: str, *, sweep_interval_seconds: float, timeout_seconds: float
) -> tuple[LedgerFacts | Failed, list[object]]:
    """Return what the ledger says, and the plans of its runs that are not final; changes nothing.

    Args:
        database_url: where it is.
        sweep_interval_seconds: the pause of the sweeper, from which follows when a row is overdue.
        timeout_seconds: how long to wait for it.
    """
    try:
        ledger = Ledger(database_url, pool_size=CONNECTIONS)
    except ConfigurationError as error:
        return Failed(said=error.problem, remedy=error.remedy), []
    if ledger.file is not None and not ledger.file.exists():
        # Opening it would make it.
        return Failed(place=ledger.shown_url, said="there is no such file", remedy=MISSING_FILE_REMEDY), []
    try:
        return ask_within(timeout_seconds * ROOM, lambda: _ask(ledger, overdue_seconds(sweep_interval_seconds)))
    except LedgerUnavailable as error:
        return Failed(place=ledger.shown_url, said=error.problem), []
    except (NoAnswer, BackoutError) as error:
        return Failed(place=ledger.shown_url, said=str(error)), []
    except Exception as error:
        said = queries.describe_failure(error)
        if said is None:
            raise
        return Failed(place=ledger.shown_url, said=said), []


def _ask(ledger: Ledger, overdue: float) -> tuple[LedgerFacts, list[object]]:
    try:
        return _read(ledger, overdue)
    finally:
        # By whoever asks: when a database answers too late, nobody waits any more.
        ledger.dispose()


def _read(ledger: Ledger, overdue: float) -> tuple[LedgerFacts, list[object]]:
    revision, expected = schema.current_revision(ledger), schema.expected_revision()
    is_right = revision == expected
    facts = LedgerFacts(
        place=ledger.shown_url,
        fingerprint=ledger.fingerprint,
        revision=revision,
        expected_revision=expected,
        differences=tuple(schema.differences(ledger)) if is_right else (),
        clock_seconds=_compare_clocks(ledger),
        database=ledger.read(health.read_database),
        health=ledger.read(
            lambda connection: health.read_health(connection, overdue_seconds=overdue, most_sends=MOST_SENDS)
        )
        if is_right
        else None,
    )
    return facts, list(ledger.read(health.list_open_plans)) if is_right else []


def _compare_clocks(ledger: Ledger) -> float:
    # The machine's clock and not the database's: it is what is to be compared.
    before = time.time()
    there = ledger.read(queries.read_clock).timestamp()
    return difference(there, asked_at=before, answered_at=time.time())
