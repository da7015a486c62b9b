"""What stands of a run that was rolled back and goes on: which steps run again, and under which key. Pure.

An undone result is void: a restart opens a new round and runs the step again, under a new idempotency key, because the
old one names an effect that was taken back. What was not undone stands, and is not repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from backout.compensations.plan import may_have_happened
from backout.identifiers import RunId
from backout.ledger.records import StepRecord
from backout.ledger.transitions import CLOSED
from backout.pipelines.contract import Effect, Plan
from backout.states import Direction, StepState


def newest_rows(steps: Iterable[StepRecord]) -> Mapping[int, StepRecord]:
    """Return the forward rows that hold now, by position: of each step the one of its last round."""
    rows: dict[int, StepRecord] = {}
    for step in steps:
        if step.direction is Direction.FORWARD and (
            step.position not in rows or step.round > rows[step.position].round
        ):
            rows[step.position] = step
    return rows


def is_undone(row: StepRecord, steps: Iterable[StepRecord]) -> bool:
    """Return whether the effect of a forward row was taken back."""
    return row.state is StepState.UNDONE or any(
        step.direction is Direction.COMPENSATION
        and (step.round, step.position) == (row.round, row.position)
        and step.state is StepState.SUCCEEDED
        for step in steps
    )


def standing_positions(plan: Plan, steps: Sequence[StepRecord]) -> frozenset[int]:
    """Return the positions whose effect stands, so that a restart passes them by.

    What only reads is read again: the world has moved on since.
    """
    return frozenset(
        position
        for position, row in newest_rows(steps).items()
        if row.state is StepState.SUCCEEDED
        and plan.steps[position].effect is not Effect.READ
        and not is_undone(row, steps)
    )


def next_position(plan: Plan, steps: Sequence[StepRecord], *, after: int) -> int | None:
    """Return the position that starts next after one that has ended; `None` when nothing is left."""
    standing = standing_positions(plan, steps)
    return next((p for p in range(after + 1, len(plan.steps)) if p not in standing), None)


def is_closed(row: StepRecord) -> bool:
    """Return whether a person has closed a row before it was ever called."""
    return row.state is StepState.SKIPPED and (row.error or {}).get("type") == CLOSED


def is_in_doubt(row: StepRecord) -> bool:
    """Return whether an attempt of a step was cut off and nobody has said since whether it happened (R8).

    One that a person has skipped is recorded as failed, which answers nothing.
    """
    is_passed = row.state is StepState.FAILED and (row.error or {}).get("type") == "in_doubt"
    return row.state is StepState.IN_DOUBT or is_passed


def passed_positions(steps: Sequence[StepRecord]) -> frozenset[int]:
    """Return the positions of steps that failed or were skipped, and that the run has passed all the same."""
    rows = newest_rows(steps)
    return frozenset(
        position
        for position, row in rows.items()
        if row.state in (StepState.FAILED, StepState.SKIPPED)
        and not is_undone(row, steps)
        and any(later > position and other.round >= row.round for later, other in rows.items())
    )


def restart_position(plan: Plan, steps: Sequence[StepRecord], *, left: int | None) -> int | None:
    """Return the position at which a run that was rolled back starts again; `None` when every step stands.

    A step that the run had passed although it failed or was skipped is not what it starts with.

    Args:
        plan: of the run.
        steps: all its rows.
        left: the last position that the rollback has left as it is, if it did not undo all.
    """
    rows, standing = newest_rows(steps), standing_positions(plan, steps) | passed_positions(steps)
    stands = {
        position
        for position in range(len(plan.steps))
        if position in standing or (position in rows and rows[position].state is StepState.SUCCEEDED)
    }
    first = next((position for position in range(len(plan.steps)) if position not in stands), None)
    if first is None:
        return None
    # What was read just before, such as whether a slot is free, is read again: the step that starts depends on it.
    while first - 1 > (-1 if left is None else left) and plan.steps[first - 1].effect is Effect.READ:
        first -= 1
    return first


def key_in_round(plan: Plan, steps: Sequence[StepRecord], run_id: RunId, position: int, round_number: int) -> str:
    """Return the idempotency key of a step that starts in a round.

    A new one where an earlier round's effect was undone; the same where it may still exist.
    """
    existing = existing_effect(steps, position)
    if existing is not None:
        return existing.idempotency_key
    rows = _rows_at(steps, position)
    first = rows[0].idempotency_key if rows else f"{run_id}:{plan.steps[position].name}"
    return first if round_number == 1 else f"{first}:{round_number}"


def existing_effect(steps: Sequence[StepRecord], position: int) -> StepRecord | None:
    """Return the last row of a step whose effect exists or may exist; a later one may never have been called.

    Rows of one key have one effect between them: what was undone for one of them is undone for all.
    """
    rows = _rows_at(steps, position)
    undone = {row.idempotency_key for row in rows if is_undone(row, steps)}
    existing = (row for row in reversed(rows) if may_have_happened(row) and row.idempotency_key not in undone)
    return next(existing, None)


def _rows_at(steps: Sequence[StepRecord], position: int) -> list[StepRecord]:
    rows = (step for step in steps if step.direction is Direction.FORWARD and step.position == position)
    return sorted(rows, key=lambda step: step.round)
