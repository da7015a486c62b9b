"""Extend the claim while user code runs, from the process that runs it: a killed process stops beating by itself.

One daemon thread for each process, started by the first claim. It only touches claims that last, and never holds one
past its deadline: a hung attempt must not keep its run for ever.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from backout.identifiers import ClaimToken
from backout.ledger import transitions
from backout.ledger.records import Claim
from backout.ledger.session import Ledger

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Beat:
    ledger: Ledger
    claim: Claim
    lease_seconds: float
    next_at: float
    ends_at: float


class Heartbeat:
    """The beats of one process."""

    def __init__(self) -> None:
        self._beats: dict[ClaimToken, _Beat] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._pause_seconds = 10.0

    @contextmanager
    def holding(self, ledger: Ledger, claim: Claim, *, lease_seconds: float, at_most_seconds: float) -> Iterator[None]:
        """Hold a claim inside the block, for at most the attempt's timeout."""
        started = time.monotonic()
        beat = _Beat(
            ledger=ledger,
            claim=claim,
            lease_seconds=lease_seconds,
            next_at=started + lease_seconds / 3,
            ends_at=started + at_most_seconds,
        )
        with self._changed:
            self._beats[claim.token] = beat
            # No notify: the thread looks more often than any claim is due, and short steps should not pay for it.
            self._pause_seconds = min(self._pause_seconds, lease_seconds / 6)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="backout-heartbeat", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._beats.pop(claim.token, None)

    def _run(self) -> None:
        while True:
            for beat in self._wait_for_due():
                self._extend(beat)

    def _wait_for_due(self) -> list[_Beat]:
        """Sleep until a claim has lasted a third of its lease; return the claims to extend."""
        with self._changed:
            while True:
                now = time.monotonic()
                due = [beat for beat in self._beats.values() if beat.next_at <= now]
                if due:
                    return due
                self._changed.wait(self._pause_seconds)

    def _extend(self, beat: _Beat) -> None:
        now = time.monotonic()
        lease_seconds = min(beat.lease_seconds, beat.ends_at - now)
        beat.next_at = now + beat.lease_seconds / 3
        if lease_seconds <= 0:
            beat.next_at = float("inf")
            return
        try:
            with beat.ledger.change() as connection:
                is_held = transitions.extend_claim(connection, beat.claim, lease_seconds=lease_seconds)
        except Exception:
            logger.warning(
                "backout: could not extend the claim of %s in run %s; trying again in %.0f s",
                beat.claim.step,
                beat.claim.key.run_id,
                beat.lease_seconds / 3,
                exc_info=True,
            )
            return
        if not is_held:
            beat.next_at = float("inf")
            logger.warning(
                "backout: attempt %s of %s in run %s has lost its claim; its answer will be kept as an entry only",
                beat.claim.attempt,
                beat.claim.step,
                beat.claim.key.run_id,
            )


_of_process: Final[list[Heartbeat]] = [Heartbeat()]


def heartbeat() -> Heartbeat:
    """Return the heartbeat of this process."""
    return _of_process[0]


def _start_anew() -> None:
    # The thread does not survive a fork, and its lock may have been held at that moment.
    _of_process[0] = Heartbeat()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
