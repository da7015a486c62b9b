"""Keeps what `/metrics` tells: a thread reads the ledger now and then, and whoever asks is given what it has found."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from backout.errors import ConfigurationError
from backout.ledger import figures
from backout.ledger.figures import RunCounts
from backout.ledger.session import LEDGER_ERRORS, Ledger
from backout.pipelines.follow import Follower
from backout.views.counting import Counts
from backout.views.metrics import RUNS, Durations, Sample, read_gauges

logger: Final = logging.getLogger("flower.backout")

LONGEST_PAUSE_SECONDS: Final = 60.0
"""Between two tries while the ledger is away, unless it is read less often than that anyway."""
COUNTING_SHARE: Final = 0.05
"""The most of the time that is spent on counting finished runs: their number is read the more seldom the more it is."""
STOP_SECONDS: Final = 2.0
HANGING_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What was found at one moment.

    Attributes:
        is_up: whether the last try succeeded; `None`: there was none yet.
        read_at: of the last one that did, or of the beginning; by `time.monotonic`.
    """

    gauges: tuple[Sample, ...] = ()
    counters: tuple[Sample, ...] = ()
    durations: tuple[Durations, ...] = ()
    is_up: bool | None = None
    read_at: float


class Refresher:
    """Reads a ledger again and again, and follows its entries from the first time on.

    Args:
        find_ledger: returns it, or raises while it cannot be used.
        every_seconds: the pause between two reads.
        overdue_seconds: see `read_figures`.
    """

    def __init__(self, find_ledger: Callable[[], Ledger], *, every_seconds: float, overdue_seconds: float) -> None:
        self.snapshot = Snapshot(read_at=time.monotonic())
        """Replaced as a whole, so that any thread may read it at any time."""
        self._find_ledger = find_ledger
        self._every_seconds = every_seconds
        self._overdue_seconds = overdue_seconds
        self._counts = Counts()
        self._follower: Follower | None = None
        self._final_runs: RunCounts = {}
        self._count_again_at = 0.0
        self._failures = 0
        self._said = ""
        self._began_at: float | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="backout-metrics", daemon=True)

    def start(self) -> None:
        """Begin, in a thread that ends with the process at the latest."""
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end, and wait for it for a moment."""
        self._ending.set()
        self._thread.join(STOP_SECONDS)

    def refresh(self) -> None:
        """Read the ledger once; what goes wrong is kept as that, and said in the log once."""
        self._began_at = time.monotonic()
        try:
            self._read()
        except (ConfigurationError, *LEDGER_ERRORS) as error:
            self._note_failure(str(error))
        except Exception as error:
            # A release that writes what this one does not know, or a defect of ours: Flower has to go on.
            self._note_failure(f"{type(error).__name__}: {error}")
        else:
            if self._failures:
                logger.info("Metrics of runs: the ledger is read again")
            self._failures, self._said = 0, ""
        finally:
            self._began_at = None

    @property
    def is_hanging(self) -> bool:
        """Whether the ledger has not answered for very long: neither up, nor refused."""
        began_at = self._began_at
        return began_at is not None and time.monotonic() - began_at > HANGING_SECONDS

    def _run(self) -> None:
        while not self._ending.is_set():
            self.refresh()
            self._ending.wait(self._pause_seconds())

    def _pause_seconds(self) -> float:
        longest = max(LONGEST_PAUSE_SECONDS, self._every_seconds)
        return min(self._every_seconds * 2.0 ** min(self._failures, 20), longest)

    def _read(self) -> None:
        ledger = self._find_ledger()
        if self._follower is None:
            self._follower = Follower(ledger, after_id=None, pipeline=None)
        self._count_final_runs(ledger)
        found = ledger.read(lambda connection: figures.read_figures(connection, overdue_seconds=self._overdue_seconds))
        self._follow(self._follower)
        known = {sample.labels[0] for sample in self.snapshot.gauges if sample.metric is RUNS}
        self.snapshot = Snapshot(
            gauges=tuple(read_gauges(found, self._final_runs, known=known)),
            counters=tuple(self._counts.samples()),
            durations=tuple(self._counts.durations()),
            is_up=True,
            read_at=time.monotonic(),
        )

    def _count_final_runs(self, ledger: Ledger) -> None:
        began_at = time.monotonic()
        if began_at >= self._count_again_at:
            self._final_runs = ledger.read(figures.count_final_runs)
            ended_at = time.monotonic()
            self._count_again_at = ended_at + (ended_at - began_at) / COUNTING_SHARE

    def _follow(self, follower: Follower) -> None:
        # After an outage there may be very much: the rest comes the next time.
        ends_at = time.monotonic() + self._every_seconds
        while (found := follower.take(timeout_seconds=0)) is not None:
            self._counts.count(found.entry, pipeline=found.pipeline)
            if time.monotonic() > ends_at or self._ending.is_set():
                return

    def _note_failure(self, problem: str) -> None:
        self._failures += 1
        self.snapshot = replace(self.snapshot, is_up=False)
        if not self._said:
            logger.warning("Metrics of runs stay as they are until the ledger is read again: %s", problem)
        self._said = problem
