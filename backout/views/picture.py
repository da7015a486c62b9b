"""All that the ledger knows of one run, read at one moment: what every picture of the run is drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from backout.errors import UnknownRun
from backout.events import Event
from backout.identifiers import RunId
from backout.ledger import queries, reading
from backout.ledger.records import EntryRecord, ReviewRecord, RunRecord, StepRecord
from backout.ledger.session import Ledger, LedgerConnection
from backout.pipelines.contract import Plan, StepContract
from backout.pipelines.customer import customer_message, read_plan
from backout.pipelines.secrets import secrets_of
from backout.states import Direction
from backout.views.masking import mask_entry, mask_review, mask_run, mask_step

MOST_COUNTED: Final = 1_000
"""How many runs with the same beginning are counted for the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPicture:
    """One run as the ledger shows it, without the values of sensitive fields.

    Attributes:
        plan: as recorded with the run; `None` when it is of a format that this release does not know.
        steps: all rows, by round, forward before compensation, in the order of start.
        entries: in the order in which they were written.
        reviews: oldest first.
        now: the ledger's time when it was read, aware UTC.
        older_entries: how many there are before those that were read.
    """

    run: RunRecord
    plan: Plan | None
    steps: Sequence[StepRecord]
    entries: Sequence[EntryRecord]
    reviews: Sequence[ReviewRecord]
    now: datetime
    older_entries: int = 0

    def latest(self, direction: Direction) -> list[StepRecord]:
        """Return the newest row of each step in one direction, in the order of start."""
        newest = {row.position: row for row in self.steps if row.direction is direction}
        return sorted(newest.values(), key=lambda row: (row.round, row.start_order))

    def contract_of(self, row: StepRecord) -> StepContract | None:
        """Return the contract under which a step ran; `None` when the plan cannot be read."""
        if self.plan is None or row.position >= len(self.plan.steps):
            return None
        return self.plan.steps[row.position]

    def entries_of(self, row: StepRecord) -> list[EntryRecord]:
        """Return what happened to one step row, in order."""
        key = (row.round, row.position, row.direction)
        return [entry for entry in self.entries if (entry.round, entry.position, entry.direction) == key]

    def attempt_started_at(self, row: StepRecord) -> datetime | None:
        """Return when the newest attempt of a step row started; `None` when none has."""
        starts = [entry.at for entry in self.entries_of(row) if entry.event is Event.ATTEMPT_STARTED]
        return starts[-1] if starts else None

    @property
    def customer_message(self) -> str:
        """What a customer may be told about the run now."""
        return customer_message(self.plan, self.run.state, self.run.operator_state)

    def masked(self, review: ReviewRecord) -> ReviewRecord:
        """Return a review of the run, that was read without it, as it may be shown."""
        return next((known for known in self.reviews if known.id == review.id), review)

    def open_review(self) -> ReviewRecord | None:
        """Return the newest question that nobody has answered; `None` when there is none."""
        return next((review for review in reversed(self.reviews) if review.decision is None), None)


def read_picture(ledger: Ledger, run_id: RunId, *, last_entries: int | None = None) -> RunPicture:
    """Read a run.

    Args:
        ledger: where it is recorded.
        run_id: its id.
        last_entries: read only so many of its entries, the newest; `None`: the first 10,000.

    Raises:
        UnknownRun: the ledger has no such run; look at `runs list`.
    """
    picture = ledger.read(lambda connection: _read(connection, run_id, last_entries))
    if picture is None:
        raise UnknownRun(run_id=run_id)
    return picture


def _read(connection: LedgerConnection, run_id: RunId, last_entries: int | None) -> RunPicture | None:
    # The run first: on PostgreSQL each statement sees its own moment, and what a settled run says of its steps is
    # then in what is read after it.
    run = queries.find_run(connection, run_id)
    if run is None:
        return None
    plan = read_plan(queries.load_plan(connection, run_id))
    steps = queries.list_steps(connection, run_id)
    entries, older = _read_entries(connection, run_id, last_entries)
    secrets = secrets_of(connection, run, plan)
    return RunPicture(
        run=mask_run(run, secrets),
        plan=plan,
        steps=[mask_step(row, secrets) for row in steps],
        entries=[mask_entry(entry, secrets) for entry in entries],
        reviews=[mask_review(review, secrets) for review in queries.list_reviews(connection, run_id)],
        now=queries.read_clock(connection),
        older_entries=older,
    )


def _read_entries(
    connection: LedgerConnection, run_id: RunId, last_entries: int | None
) -> tuple[list[EntryRecord], int]:
    if last_entries is None:
        return queries.list_entries(connection, run_id), 0
    entries = reading.list_last_entries(connection, run_id, limit=last_entries)
    is_all = len(entries) < last_entries
    return entries, 0 if is_all else reading.count_entries(connection, run_id) - len(entries)


def resolve_run(ledger: Ledger, given: str) -> RunId:
    """Return the id that is meant by an id or the beginning of one.

    Raises:
        UnknownRun: no run, or more than one, starts like this.
    """
    prefix = given.strip().lower()
    try:
        return RunId(str(UUID(prefix)))
    except ValueError:
        pass
    found = ledger.read(lambda connection: queries.find_run_ids(connection, prefix, limit=MOST_COUNTED))
    if len(found) != 1:
        raise UnknownRun(run_id=given, matches=len(found))
    return found[0]
