"""The heartbeat of a claim, on a real SQLite ledger."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from backout.ledger import queries, schema
from backout.ledger.records import Claim
from backout.ledger.session import Ledger
from backout.tasks.heartbeat import LOOK_SECONDS, Heartbeat
from tests.support.ledgers import create_run, key_of, read_step, release, try_claim
from tests.support.waiting import wait_until

LEASE_SECONDS = 0.9
LONG_SECONDS = 60.0
PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A migrated ledger that the tests of this file share; each has a run of its own."""
    ledger = Ledger(f"sqlite:///{tmp_path_factory.mktemp('heartbeat') / 'ledger.sqlite3'}")
    schema.upgrade(ledger)
    yield ledger
    ledger.dispose()


@pytest.fixture
def claim(ledger: Ledger) -> Claim:
    """A claim on the first step of a new run, for a short lease."""
    return start(ledger)


def start(ledger: Ledger) -> Claim:
    claimed = try_claim(ledger, key_of(create_run(ledger)), lease_seconds=LEASE_SECONDS)
    assert claimed is not None
    return claimed


def expires_at(ledger: Ledger, claim: Claim) -> datetime:
    instant = read_step(ledger, claim.key).claim_expires_at
    assert instant is not None
    return instant


def has_expired(ledger: Ledger, claim: Claim) -> bool:
    return ledger.read(queries.read_clock) > expires_at(ledger, claim)


def wait_until_beaten(ledger: Ledger, claim: Claim, *, beats: int = 1) -> None:
    for _ in range(beats):
        before = expires_at(ledger, claim)
        wait_until(lambda: expires_at(ledger, claim) > before, PATIENCE_SECONDS, "the claim is extended")  # noqa: B023


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "backout.tasks.heartbeat"]


def test_claim_that_lasts_is_extended_beyond_its_lease(ledger: Ledger, claim: Claim) -> None:
    """A step that takes longer than the lease keeps its claim while it runs."""
    first = expires_at(ledger, claim)
    with Heartbeat().holding(ledger, claim, lease_seconds=LEASE_SECONDS, at_most_seconds=LONG_SECONDS):
        twice = first + timedelta(seconds=LEASE_SECONDS)
        wait_until(lambda: expires_at(ledger, claim) >= twice, PATIENCE_SECONDS, "the claim lasts for two leases")


def test_each_extension_is_for_one_lease(ledger: Ledger, claim: Claim) -> None:
    """A process that is killed between two beats is noticed after one lease, not later."""
    with Heartbeat().holding(ledger, claim, lease_seconds=LEASE_SECONDS, at_most_seconds=LONG_SECONDS):
        wait_until_beaten(ledger, claim, beats=2)
        left = expires_at(ledger, claim) - ledger.read(queries.read_clock)
    assert left <= timedelta(seconds=LEASE_SECONDS)


def test_claim_is_never_held_past_its_deadline(ledger: Ledger, claim: Claim) -> None:
    """A step that hangs loses its claim although its process lives: no run is held for ever (R4)."""
    with Heartbeat().holding(ledger, claim, lease_seconds=LEASE_SECONDS, at_most_seconds=2 * LEASE_SECONDS):
        wait_until(lambda: has_expired(ledger, claim), PATIENCE_SECONDS, "the claim has expired")


def test_beats_end_with_the_block(ledger: Ledger, claim: Claim) -> None:
    """What has ended is not held any longer."""
    heartbeat = Heartbeat()
    with heartbeat.holding(ledger, claim, lease_seconds=LEASE_SECONDS, at_most_seconds=LONG_SECONDS):
        wait_until_beaten(ledger, claim)
    wait_until(lambda: has_expired(ledger, claim), PATIENCE_SECONDS, "the claim has expired")


def test_beats_end_with_a_block_that_fails(ledger: Ledger, claim: Claim) -> None:
    """An exception of the step ends its beats as well."""
    holding = Heartbeat().holding(ledger, claim, lease_seconds=LEASE_SECONDS, at_most_seconds=LONG_SECONDS)
    with pytest.raises(ValueError, match="broken"), holding:
        raise ValueError("broken")
    wait_until(lambda: has_expired(ledger, claim), PATIENCE_SECONDS, "the claim has expired")


def test_lost_claim_is_noticed_and_let_go(ledger: Ledger, claim: Claim, caplog: pytest.LogCaptureFixture) -> None:
    """An attempt that outlived its claim does not take it back, and its worker's log says so once (R3)."""
    other = start(ledger)
    heartbeat = Heartbeat()
    with (
        heartbeat.holding(ledger, claim, lease_seconds=LEASE_SECONDS, at_most_seconds=LONG_SECONDS),
        heartbeat.holding(ledger, other, lease_seconds=LEASE_SECONDS, at_most_seconds=LONG_SECONDS),
    ):
        assert release(ledger, claim)
        wait_until(lambda: warnings(caplog), PATIENCE_SECONDS, "the loss is noticed")
        # The other claim's beats prove that the heartbeat goes on, and has passed the lost one by.
        wait_until_beaten(ledger, other, beats=3)
    assert read_step(ledger, claim.key).claim_expires_at is None
    assert warnings(caplog) == [
        f"backout: attempt 1 of reserve in run {claim.key.run_id} has lost its claim; "
        "its answer will be kept as an entry only",
    ]


def test_heartbeat_goes_on_after_the_ledger_was_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A beat that the database refused is tried again; one outage does not cost the claim."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    schema.upgrade(ledger)
    claim = start(ledger)
    with Heartbeat().holding(ledger, claim, lease_seconds=LEASE_SECONDS, at_most_seconds=LONG_SECONDS):
        rename_steps(ledger, "backout_step", "hidden")
        wait_until(lambda: warnings(caplog), PATIENCE_SECONDS, "a beat has failed")
        rename_steps(ledger, "hidden", "backout_step")
        wait_until_beaten(ledger, claim)
    ledger.dispose()
    assert f"could not extend the claim of reserve in run {claim.key.run_id}" in warnings(caplog)[0]


def rename_steps(ledger: Ledger, old: str, new: str) -> None:
    with ledger.transaction() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")


FORK = """
import os
from backout.tasks.heartbeat import heartbeat
mine = heartbeat()
child = os.fork()
if child == 0:
    os._exit(heartbeat() is mine)
print(os.waitpid(child, 0)[1], heartbeat() is mine)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_child_of_a_fork_beats_for_itself() -> None:
    """A prefork child never waits for a thread that stayed behind in its parent."""
    ended = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["0", "True"]


def test_short_steps_write_nothing(ledger: Ledger, claim: Claim, caplog: pytest.LogCaptureFixture) -> None:
    """A step that ends within a third of its lease costs no extension."""
    caplog.set_level(logging.DEBUG)
    before = expires_at(ledger, claim)
    with Heartbeat().holding(ledger, claim, lease_seconds=LONG_SECONDS, at_most_seconds=LONG_SECONDS):
        pass
    assert expires_at(ledger, claim) == before
    assert warnings(caplog) == []


def test_process_whose_step_hangs_is_killed(ledger: Ledger, claim: Claim) -> None:
    """In a burst Celery's limit is that of another step; ours comes before it."""
    killed: list[bool] = []
    heart = Heartbeat(kill=lambda: killed.append(True))
    with heart.holding(
        ledger, claim, lease_seconds=LEASE_SECONDS, at_most_seconds=LONG_SECONDS, kill_seconds=LOOK_SECONDS + 0.1
    ):
        wait_until(lambda: killed, 15, "it is killed")
    assert killed == [True]


def test_process_whose_step_has_ended_is_not_killed(ledger: Ledger, claim: Claim) -> None:
    """What is over cannot hang: the next step has its own time."""
    killed: list[bool] = []
    heart = Heartbeat(kill=lambda: killed.append(True))
    options = {"lease_seconds": LEASE_SECONDS, "at_most_seconds": LONG_SECONDS, "kill_seconds": LOOK_SECONDS + 0.1}
    with heart.holding(ledger, claim, **options):
        pass
    with heart.holding(ledger, start(ledger), **options):
        wait_until(lambda: killed, 15, "the other one is killed")
    assert killed == [True]
