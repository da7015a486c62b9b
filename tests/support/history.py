"""Read a run's states from its entries alone, and compare them with what its rows say (R11)."""

from __future__ import annotations

from backout import RunHandle
from backout.events import Event
from backout.ledger.records import EntryRecord, StepKey
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
}
RUN_STATES = {
    Event.RUN_CREATED: RunState.PENDING,
    Event.RUN_STARTED: RunState.RUNNING,
    Event.RUN_SUCCEEDED: RunState.SUCCEEDED,
    Event.RUN_PARKED: RunState.PARKED,
    Event.RUN_IN_REVIEW: RunState.IN_REVIEW,
    Event.ROLLBACK_STARTED: RunState.ROLLING_BACK,
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
    run_state = ""
    step_states: dict[StepKey, str] = {}
    for entry in handle.entries():
        assert entry.actor, f"nobody did {entry}"
        if entry.event in STEP_STATES:
            key = key_of(entry)
            arrow = (step_states.get(key, ""), STEP_STATES[entry.event].value)
            assert arrow in STEP_ARROWS, f"no arrow leads {arrow}: {entry}"
            step_states[key] = arrow[1]
        elif (state := run_state_after(entry)) is not None:
            assert (run_state, state) in RUN_ARROWS, f"no arrow leads {run_state} → {state}: {entry}"
            run_state = state
    assert run_state == handle.status().state.value
    assert step_states == {row.key: row.state.value for row in handle.steps()}


def run_state_after(entry: EntryRecord) -> str | None:
    """Return the state of the run that an entry tells; `None` when it tells of something else."""
    if entry.event is Event.ROLLBACK_FINISHED:
        return (RunState.ROLLED_BACK if entry.detail["outcome"] == "complete" else RunState.FAILED).value
    return RUN_STATES[entry.event].value if entry.event in RUN_STATES else None


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
