"""From what is recorded to what would be undone, in reverse start order. Pure: the preview uses the same function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from backout.ledger.records import StepRecord
from backout.pipelines.contract import Plan, RecoveryKind, StepContract
from backout.states import Direction, StepState


class Undo(StrEnum):
    """What the rollback does about one step."""

    COMPENSATE = "compensate"
    KEEP = "keep"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedUndo:
    """One line of a rollback plan.

    Attributes:
        forward: the recorded step.
        reason: why it is kept or skipped; the named recovery action where it is compensated.
        asks_first: its reconcile function is asked whether there is anything to undo.
    """

    forward: StepRecord
    contract: StepContract
    undo: Undo
    reason: str
    asks_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackPlan:
    """What a rollback would do, in order.

    Attributes:
        undos: in reverse start order, the kept and skipped ones among them.
        blocked_by: the step that cannot be undone and that happened or may have happened (R7); `None`: the way is free.
    """

    undos: tuple[PlannedUndo, ...]
    blocked_by: StepRecord | None

    @property
    def compensations(self) -> tuple[PlannedUndo, ...]:
        """The lines that run a compensation."""
        return tuple(line for line in self.undos if line.undo is Undo.COMPENSATE)


_ENDED = (StepState.SUCCEEDED, StepState.FAILED, StepState.IN_DOUBT, StepState.SKIPPED)
_TO_BE_TRIED_AGAIN = (StepState.PENDING, StepState.READY, StepState.RETRY_SCHEDULED, StepState.WAITING)
"""Of forward rows; one that is pending was held by a person, or because nobody defines it."""


def plan_rollback(plan: Plan, steps: Sequence[StepRecord], *, to_position: int | None = None) -> RollbackPlan:
    """Return what undoing a run means.

    Args:
        plan: as recorded with the run.
        steps: all recorded rows of the run, in any order. No forward attempt may be running (R5).
        to_position: the last position that is left as it is; `None`: all is undone.
    """
    left = -1 if to_position is None else to_position
    compensated = {
        (step.round, step.position)
        for step in steps
        if step.direction is Direction.COMPENSATION and step.state is StepState.SUCCEEDED
    }
    # A step that failed keeps that state when it has been undone: only its compensation's row tells (R6).
    started = [
        step
        for step in steps
        if step.direction is Direction.FORWARD
        and step.position > left
        and (step.state in _ENDED or may_have_happened(step))
        and (step.round, step.position) not in compensated
    ]
    started.sort(key=lambda step: (step.round, step.start_order), reverse=True)
    undos = tuple(_plan_one(plan.steps[step.position], step) for step in started)
    blocking = (
        line.forward for line in undos if line.contract.recovery is RecoveryKind.IRREVERSIBLE and line.undo is Undo.KEEP
    )
    return RollbackPlan(undos=undos, blocked_by=next(blocking, None))


def may_have_happened(step: StepRecord) -> bool:
    """Return whether the effect of a started step exists or may exist."""
    if step.state is StepState.FAILED:
        said_nothing_happened = (step.error or {}).get("no_effect", False)
        return not said_nothing_happened or _was_lost(step)
    if step.state is StepState.SKIPPED:
        return _was_lost(step)
    if step.state in _TO_BE_TRIED_AGAIN:
        return step.attempt > 0
    return step.state in (StepState.SUCCEEDED, StepState.IN_DOUBT)


def _was_lost(step: StepRecord) -> bool:
    """Return whether some attempt never answered: what a later one said of itself says nothing about that one."""
    return step.lost_attempts > 0


def is_reused(contract: StepContract, step: StepRecord) -> bool:
    """Return whether a success is another run's, whose result was taken: the key is held by the run that did it."""
    return contract.has_own_key and step.state is StepState.SUCCEEDED and step.exclusive_key is None


def _plan_one(contract: StepContract, step: StepRecord) -> PlannedUndo:
    undo, reason = _decide(contract, step)
    # A recorded success is certain; of a step that failed or was cut off nobody knows how far it came.
    is_uncertain = step.state is not StepState.SUCCEEDED
    asks_first = undo is Undo.COMPENSATE and is_uncertain and contract.reconcile is not None
    return PlannedUndo(forward=step, contract=contract, undo=undo, reason=reason, asks_first=asks_first)


def _decide(contract: StepContract, step: StepRecord) -> tuple[Undo, str]:
    if not may_have_happened(step):
        is_skipped = step.state is StepState.SKIPPED
        return Undo.SKIP, "the step itself was skipped" if is_skipped else "the step said that nothing happened"
    if is_reused(contract, step):
        return Undo.SKIP, "another run did it, under the same idempotency key"
    match contract.recovery:
        case RecoveryKind.COMPENSATE:
            return Undo.COMPENSATE, contract.compensation.action if contract.compensation else ""
        case RecoveryKind.KEEP:
            return Undo.KEEP, contract.recovery_reason
        case RecoveryKind.IRREVERSIBLE:
            return Undo.KEEP, f"cannot be undone: {contract.recovery_reason}"
        case RecoveryKind.NOTHING_TO_UNDO:
            return Undo.SKIP, "it only reads"
