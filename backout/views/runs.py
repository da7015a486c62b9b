"""A page of runs, filtered, with the counts by state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from backout.identifiers import RunId
from backout.ledger import queries
from backout.ledger.records import RunRecord
from backout.ledger.session import Ledger, LedgerConnection
from backout.states import RunState
from backout.views.masking import Masking


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs are meant; see `queries.list_runs`."""

    pipeline: str | None
    states: tuple[RunState, ...]
    text: str | None
    needs_person: bool
    before: RunId | None
    limit: int
    enqueued_since: datetime | None = None

    @property
    def is_narrow(self) -> bool:
        """True when it leaves runs out by what they are."""
        return bool(
            self.pipeline or self.states or self.text or self.needs_person or self.enqueued_since or self.before
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """One page of runs, and what there is in all.

    Attributes:
        counts: of all runs, or of the pipeline's.
        counted_to: no state was counted further: one more means that there are more. `None`: all were counted.
    """

    runs: list[RunRecord]
    counts: dict[RunState, int]
    counted_to: int | None
    has_older: bool
    now: datetime


def read_runs(ledger: Ledger, wanted: RunFilter, *, count_to: int | None = None) -> RunPage:
    """Return a page of runs, masked; one more than asked for is read to know whether there is another page.

    Args:
        ledger: to read.
        wanted: which runs.
        count_to: count no further in any state; `None`: count all.
    """

    def read(connection: LedgerConnection) -> RunPage:
        runs = queries.list_runs(
            connection,
            pipeline=wanted.pipeline,
            states=wanted.states,
            text=wanted.text,
            needs_person=wanted.needs_person,
            enqueued_since=wanted.enqueued_since,
            before=wanted.before,
            limit=wanted.limit + 1,
        )
        return RunPage(
            runs=Masking().mask_runs(connection, runs[: wanted.limit]),
            counts=queries.count_by_state(connection, wanted.pipeline, at_most=count_to),
            counted_to=count_to,
            has_older=len(runs) > wanted.limit,
            now=queries.read_clock(connection),
        )

    return ledger.read(read)
