"""Read a run's states from its entries alone, and compare them with what its rows say (R11)."""

from __future__ import annotations

from collections.abc import Iterable

from backout import RunHandle
from backout.events import Event
from backout.ledger.records import EntryRecord, StepKey, StepRecord
from backout.states import TRANSITIONS, RunState, StepState

STEP_STATES = {
    Event.STEP_READY: StepState.READY,
    Event.COMPENSATION_PLANNED: StepState.PENDING,
    Event.STEP_KEPT: StepState.KEPT,
    Event.STEP_SKIPPED: StepState.SKIPPED,
    Event.ATTEMPT_STARTED: StepState.RUNNING,
    Event.STEP_SUCCEEDED: StepState.SUCCEEDED,
    Event.RETRY_SCHEDULED: StepState.RETRY_SCHEDULED,
    Event.STEP_FAILED: StepState.FAILED,
    Event.CLAIM_RELEASED: StepState.READY,
    Event.STEP_IN_DOUBT: StepState.IN_DOUBT,
    Event.STEP_UNDONE: StepState.UNDONE,
    Event.QUESTION_PLANNED: StepState.PENDING,
    Event.QUESTION_ASKED: StepState.READY,
    Event.QUESTION_ANSWERED: StepState.SUCCEEDED,
    Event.DOUBT_CLEARED: StepState.READY,
    Event.WAIT_STARTED: StepState.WAITING,
    Event.STEP_HELD: StepState.PENDING,
    Event.WAIT_ENDED: StepState.READY,
    Event.STEP_SETTLED: StepState.SUCCEEDED,
}
CHOSEN = {
    # By hand: the one of the legal targets that the row was let go into.
    Event.STEP_REOPENED: (StepState.READY, StepState.PENDING),
    Event.STEP_CLOSED: (StepState.SKIPPED, StepState.FAILED),
}
RUN_STATES = {
    Event.RUN_CREATED: RunState.PENDING,
    Event.RUN_STARTED: RunState.RUNNING,
    Event.RUN_SUCCEEDED: RunState.SUCCEEDED,
    Event.RUN_PARKED: RunState.PARKED,
    Event.RUN_IN_REVIEW: RunState.IN_REVIEW,
    Event.ROLLBACK_STARTED: RunState.ROLLING_BACK,
    Event.ROLLBACK_CONTINUED: RunState.ROLLING_BACK,
    Event.RUN_PAUSED: RunState.PAUSED,
    Event.RUN_RESUMED: RunState.RUNNING,
    Event.RUN_CANCELLED: RunState.CANCELLED,
    Event.RUN_CLOSED: RunState.FAILED,
}


def arrows_of(subject: str) -> set[tuple[str, str]]:
    """Return the legal changes of state of a run or a step; a row that is new comes from the empty state."""
    arrows = [arrow for arrow in TRANSITIONS.values() if arrow.subject == subject]
    return {
        (source, target)
        for arrow in arrows
        for source in {*arrow.sources, *([""] if arrow.creates else [])}
        for target in arrow.targets
    }


STEP_ARROWS = arrows_of("step")
RUN_ARROWS = arrows_of("run")


def assert_entries_explain(handle: RunHandle) -> None:
    """Fail unless the entries lead, over legal arrows only, to exactly the states that the rows are in."""
    assert_states_explained(handle.entries(), handle.status().state, handle.steps())


def assert_states_explained(entries: Iterable[EntryRecord], run_state: RunState, rows: Iterable[StepRecord]) -> None:
    """Fail unless the entries lead, over legal arrows only, to exactly these states.

    Where an entry does not say which of several states came next, what follows must fit one of them.
    """
    of_run = frozenset({""})
    of_steps: dict[StepKey, frozenset[str]] = {}
    for entry in entries:
        assert entry.actor, f"nobody did {entry}"
        targets = step_states_after(entry)
        if targets:
            key = key_of(entry)
            of_steps[key] = _walk(of_steps.get(key, frozenset({""})), targets, STEP_ARROWS, entry)
        elif targets := run_states_after(entry):
            of_run = _walk(of_run, targets, RUN_ARROWS, entry)
    assert run_state.value in of_run
    found = {row.key: row.state.value for row in rows}
    assert found.keys() == of_steps.keys()
    assert [key for key, state in found.items() if state not in of_steps[key]] == []


def _walk(
    states: frozenset[str], targets: frozenset[str], arrows: set[tuple[str, str]], entry: EntryRecord
) -> frozenset[str]:
    reached = frozenset(target for target in targets if any((state, target) in arrows for state in states))
    assert reached, f"no arrow leads from {sorted(states)} to {sorted(targets)}: {entry}"
    return reached


def step_states_after(entry: EntryRecord) -> frozenset[str]:
    """Return the states of the row that an entry tells; none when it tells of something else."""
    if entry.event in STEP_STATES:
        return frozenset({STEP_STATES[entry.event].value})
    return frozenset(state.value for state in CHOSEN.get(entry.event, ()))


def run_states_after(entry: EntryRecord) -> frozenset[str]:
    """Return the states of the run that an entry tells; none when it tells of something else."""
    if entry.event is Event.ROLLBACK_FINISHED:
        is_complete = entry.detail["outcome"] == "complete"
        # A rollback to a step ends paused.
        states = (RunState.ROLLED_BACK, RunState.PAUSED) if is_complete else (RunState.FAILED,)
        return frozenset(state.value for state in states)
    return frozenset({RUN_STATES[entry.event].value}) if entry.event in RUN_STATES else frozenset()


def key_of(entry: EntryRecord) -> StepKey:
    """Return the step row that an entry is about."""
    assert entry.run_id is not None
    assert entry.round is not None
    assert entry.position is not None
    assert entry.direction is not None
    return StepKey(run_id=entry.run_id, round=entry.round, position=entry.position, direction=entry.direction)


def started_after_success(handle: RunHandle) -> list[EntryRecord]:
    """Return the attempts of steps that had been recorded as succeeded before (R2): none."""
    succeeded: set[StepKey] = set()
    again = []
    for entry in handle.entries():
        if entry.event is Event.STEP_SUCCEEDED:
            succeeded.add(key_of(entry))
        elif entry.event is Event.ATTEMPT_STARTED and key_of(entry) in succeeded:
            again.append(entry)
    return again
