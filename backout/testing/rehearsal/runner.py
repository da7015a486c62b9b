"""`rehearse`: run a pipeline once for every place where it can fail, on the real engine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from backout.errors import UnknownRun
from backout.faultpoints import FaultPoint, SimulatedDeath, armed
from backout.ledger import queries
from backout.ledger.session import LedgerConnection
from backout.pipelines.definition import PipelineDefinition
from backout.pipelines.functions import functions_in_place
from backout.pipelines.handle import RunHandle
from backout.pipelines.start import enqueue
from backout.testing.rehearsal.books import Books
from backout.testing.rehearsal.cases import Rehearsal, RehearsedCase
from backout.testing.rehearsal.faults import Faults
from backout.testing.rehearsal.places import Place, select_places
from backout.testing.rehearsal.stage import Stage
from backout.testing.rehearsal.stand_ins import StandIns, assign
from backout.testing.rehearsal.verdict import find_asked, find_left_behind, tell
from backout.testing.scratch import Scratch

_IN_MEMORY: Final = Path("/dev/shm")
"""Where Linux keeps files in memory: the ledger asks the disk for each commit, and a rehearsal has hundreds."""


def rehearse(
    pipeline: PipelineDefinition,
    input: Any,
    *,
    stand_ins: StandIns | None = None,
    places: Sequence[Place | str] | None = None,
    on_case: Callable[[RehearsedCase], None] | None = None,
) -> Rehearsal:
    """Run a pipeline once for every place where it can fail, and report what each failure leads to.

    Each run is the real engine's on a ledger of its own, which is removed; no Celery app needs to be configured, and
    one that is hears of nothing. While it lasts the functions of the pipeline are replaced in this process.

    The user's functions are called for real, once or more in each case, unless stand-ins are given for them:
    `make_stand_ins(pipeline)` makes one for each.

    Args:
        pipeline: to be rehearsed.
        input: of each run, as for `Pipeline.enqueue`.
        stand_ins: functions to call instead, by step, step's name, companion, or name of a companion's function. They
            take what the function takes; the context may be left out.
        places: only these; ids may be patterns (`"charge_card:*"`). All by default.
        on_case: called after each case, to show how far it has come.

    Raises:
        ConfigurationError: a stand-in or a place is for nothing in this pipeline.
        InvalidInput, PayloadTooLarge: as `Pipeline.enqueue`.
    """
    chosen = select_places(pipeline.plan, places)
    assigned = assign(pipeline, stand_ins or {})
    cases = []
    with _scratch_folder() as folder, Scratch(folder) as scratch:
        for place in chosen:
            scratch.renew()
            cases.append(rehearse_place(scratch, pipeline, input, place, assigned))
            if on_case is not None:
                on_case(cases[-1])
    return Rehearsal(pipeline=pipeline.name, cases=tuple(cases))


def rehearse_place(
    scratch: Scratch,
    pipeline: PipelineDefinition,
    value: Any,
    place: Place,
    assigned: Mapping[tuple[str, str], Callable[..., Any]],
) -> RehearsedCase:
    """Run a pipeline with one thing going wrong, to its end. The scratch must have no other runs."""
    books, faults = Books(pipeline.plan), Faults(pipeline.plan, place)
    stage = Stage(assigned, books=books, faults=faults)
    points = {point: partial(_reach, scratch, faults, point) for point in FaultPoint}
    with functions_in_place(stage.functions(pipeline)), armed(points):
        handle = _enqueue(scratch, pipeline, value)
        scratch.settle()
    return _report(scratch, handle, place, books, faults)


def _reach(scratch: Scratch, faults: Faults, point: FaultPoint) -> None:
    faults.at_point(point, scratch.delivered)


def _enqueue(scratch: Scratch, pipeline: PipelineDefinition, value: Any) -> RunHandle:
    try:
        return enqueue(pipeline, value, source_event_id=None, connection=None, session=None)
    except SimulatedDeath:
        # Nobody has the handle; the run is recorded all the same.
        found = scratch.runtime.ledger.read(lambda where: queries.list_runs(where, limit=1))
        return RunHandle(id=found[0].id, was_created=True, pipeline=pipeline, engine=scratch.runtime)


def _report(scratch: Scratch, handle: RunHandle, place: Place, books: Books, faults: Faults) -> RehearsedCase:
    def read(where: LedgerConnection) -> RehearsedCase:
        run = queries.find_run(where, handle.id)
        if run is None:
            raise UnknownRun(run_id=handle.id)
        steps, entries = queries.list_steps(where, run.id), queries.list_entries(where, run.id)
        return RehearsedCase(
            place=place,
            was_reached=faults.has_struck,
            state=run.state,
            operator_state=run.operator_state,
            undone=books.undone(),
            left_behind=find_left_behind(handle.pipeline.plan, run, steps, books),
            asked=find_asked(run, queries.list_reviews(where, run.id, open_only=True), entries),
            calls=books.calls,
            done_twice=books.done_twice(),
            story=tell(entries),
        )

    return scratch.runtime.ledger.read(read)


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    base = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="backout-rehearsal-", dir=base) as folder:
        yield Path(folder)
