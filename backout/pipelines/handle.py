"""What `enqueue` returns: a run, to look at and to wait for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from backout.errors import UnknownRun, WaitTimedOut
from backout.identifiers import RunId
from backout.ledger import queries
from backout.ledger.records import EntryRecord, RunRecord, StepRecord
from backout.pipelines.customer import customer_message, read_plan
from backout.pipelines.definition import PipelineDefinition
from backout.pipelines.engine import Engine
from backout.pipelines.schema import from_json
from backout.states import RunState

FIRST_PAUSE_SECONDS: Final = 0.02
LONGEST_PAUSE_SECONDS: Final = 1.0
MOST_ENTRIES: Final = 1_000_000
"""Entries of one run, at which nobody would look one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHandle:
    """A recorded run. Everything it says is read from the ledger when it is asked.

    Attributes:
        id: of the run; also of its first Celery task.
        was_created: False when the source event already had this run (R9).
    """

    id: RunId
    was_created: bool
    pipeline: PipelineDefinition = field(repr=False)
    engine: Engine = field(repr=False)

    def status(self) -> RunRecord:
        """Return the run as it is now.

        Raises:
            UnknownRun: the caller's transaction has not committed yet or was rolled back, or the run was purged.
        """
        record = self.engine.ledger.read(lambda connection: queries.find_run(connection, self.id))
        if record is None:
            raise UnknownRun(run_id=self.id)
        return record

    def wait(self, timeout: float | None = None) -> RunRecord:
        """Return the run when the engine does nothing more by itself: it is final, or waits for a person.

        Args:
            timeout: seconds; `None` waits without limit.

        Raises:
            WaitTimedOut: the time is up; the run goes on.
            UnknownRun: as `status`.
        """
        ends_at = None if timeout is None else time.monotonic() + timeout
        pause = FIRST_PAUSE_SECONDS
        while True:
            record = self.status()
            if record.state.is_settled:
                return record
            left = None if ends_at is None else ends_at - time.monotonic()
            if left is not None and left <= 0:
                raise WaitTimedOut(run_id=self.id, timeout_seconds=timeout or 0.0, state=record.state.value)
            time.sleep(pause if left is None else min(pause, left))
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)

    def watch(self, after_id: int = 0, timeout: float | None = None) -> Iterator[EntryRecord]:
        """Return the entries of the run as they are committed, until the engine does nothing more by itself.

        Each one once, and all that led to where the run then is.

        Args:
            after_id: an entry that is known already, with all before it.
            timeout: seconds; `None` watches without limit.

        Raises:
            WaitTimedOut: the time is up; the run goes on. What was committed by then has been returned.
            UnknownRun: as `status`.
        """
        ends_at = None if timeout is None else time.monotonic() + timeout
        pause = FIRST_PAUSE_SECONDS
        # Known by their ids, not by the highest id: transactions of one moment may commit in another order.
        seen: set[int] = set()
        while True:
            # The run first: an entry that belongs to its state is then among those that are read.
            record = self.status()
            new = [entry for entry in self._entries_after(after_id) if entry.id not in seen]
            seen.update(entry.id for entry in new)
            yield from new
            if record.state.is_settled:
                return
            left = None if ends_at is None else ends_at - time.monotonic()
            if left is not None and left <= 0:
                raise WaitTimedOut(run_id=self.id, timeout_seconds=timeout or 0.0, state=record.state.value)
            pause = FIRST_PAUSE_SECONDS if new else min(pause * 1.5, LONGEST_PAUSE_SECONDS)
            time.sleep(pause if left is None else min(pause, left))

    def _entries_after(self, after_id: int) -> list[EntryRecord]:
        return self.engine.ledger.read(
            lambda connection: queries.list_entries(connection, self.id, after_id=after_id, limit=MOST_ENTRIES)
        )

    @property
    def output(self) -> Any:
        """The output of the last step, typed as it declares; `None` while the run has not succeeded, or without one."""
        record = self.status()
        if record.state is not RunState.SUCCEEDED or record.output is None:
            return None
        return from_json(self.pipeline.steps[-1].function.schema.output_type, record.output)

    @property
    def customer_message(self) -> str:
        """What a customer may be told about the run now, as `customer_messages` of the pipeline says.

        Taken from the run as it is recorded and from the plan recorded with it: a deploy changes neither.

        Raises:
            UnknownRun: as `status`.
        """
        record, stored = self.engine.ledger.read(
            lambda connection: (queries.find_run(connection, self.id), queries.load_plan(connection, self.id))
        )
        if record is None:
            raise UnknownRun(run_id=self.id)
        return customer_message(read_plan(stored), record.state, record.operator_state)

    def steps(self) -> list[StepRecord]:
        """Return the step rows, forward before compensation, in the order of start."""
        return self.engine.ledger.read(lambda connection: queries.list_steps(connection, self.id))

    def entries(self) -> list[EntryRecord]:
        """Return what happened, in order."""
        return self.engine.ledger.read(lambda connection: queries.list_entries(connection, self.id))
