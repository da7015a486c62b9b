"""Extend the claim while user code runs, from the process that runs it: a killed process stops beating by itself.

It also ends a child of a pool whose step hangs in a burst: Celery's own limit is that of the burst's message.

One daemon thread for each process, started by the first claim. It only touches claims that last, and never holds one
past its deadline: a hung attempt must not keep its run for ever.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from backout.identifiers import ClaimToken
from backout.ledger import transitions
from backout.ledger.records import Claim
from backout.ledger.session import Ledger

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 2.5
"""The longest pause between two looks while there is a process to be killed."""


@dataclass(slots=True, kw_only=True)
class _Beat:
    ledger: Ledger
    claim: Claim
    lease_seconds: float
    next_at: float
    ends_at: float
    kill_at: float


def kill_this_process() -> None:
    """End this process as Celery's hard time limit does: no code of its own runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)


class Heartbeat:
    """The beats of one process.

    Args:
        kill: ends the process.
    """

    def __init__(self, *, kill: Callable[[], None] = kill_this_process) -> None:
        self._kill = kill
        self._beats: dict[ClaimToken, _Beat] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._pause_seconds = 10.0

    @contextmanager
    def holding(
        self,
        ledger: Ledger,
        claim: Claim,
        *,
        lease_seconds: float,
        at_most_seconds: float,
        kill_seconds: float = float("inf"),
    ) -> Iterator[None]:
        """Hold a claim inside the block, for at most the attempt's timeout.

        Args:
            ledger: of the claim.
            claim: of the attempt.
            lease_seconds: for which the claim is extended each time.
            at_most_seconds: after which it is not extended any more.
            kill_seconds: before which this process is killed if the block has not ended, `LOOK_SECONDS` before it at
                the earliest. A thread does it, which code that never lets go of the interpreter keeps from running.
        """
        started = time.monotonic()
        beat = _Beat(
            ledger=ledger,
            claim=claim,
            lease_seconds=lease_seconds,
            next_at=started + lease_seconds / 3,
            ends_at=started + at_most_seconds,
            kill_at=started + max(kill_seconds - LOOK_SECONDS, 0.0),
        )
        with self._changed:
            self._beats[claim.token] = beat
            # No notify: the thread looks more often than any claim is due, and short steps should not pay for it.
            pause_seconds = lease_seconds / 6 if beat.kill_at == float("inf") else min(lease_seconds / 6, LOOK_SECONDS)
            self._pause_seconds = min(self._pause_seconds, pause_seconds)
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
                due = [beat for beat in self._beats.values() if min(beat.next_at, beat.kill_at) <= now]
                if due:
                    return due
                self._changed.wait(self._pause_seconds)

    def _extend(self, beat: _Beat) -> None:
        now = time.monotonic()
        if beat.kill_at <= now:
            self._end(beat)
            return
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

    def _end(self, beat: _Beat) -> None:
        beat.kill_at = float("inf")
        logger.critical(
            "backout: attempt %s of %s in run %s does not end although its time is long up; its process is killed",
            beat.claim.attempt,
            beat.claim.step,
            beat.claim.key.run_id,
        )
        self._kill()


_of_process: Final[list[Heartbeat]] = [Heartbeat()]


def heartbeat() -> Heartbeat:
    """Return the heartbeat of this process."""
    return _of_process[0]


def _start_anew() -> None:
    # The thread does not survive a fork, and its lock may have been held at that moment.
    _of_process[0] = Heartbeat()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
