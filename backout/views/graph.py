"""The pipeline of a run as boxes: each step with its state, and what takes it back with its own. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from backout.ledger.records import StepRecord
from backout.pipelines.contract import Effect, RecoveryKind, StepContract
from backout.states import Direction
from backout.views.contract_words import say_action
from backout.views.marks import Mark, mark_step
from backout.views.picture import RunPicture
from backout.views.timeline import find_window, mark_missing
from backout.views.words import clean

MOST_BOXES: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """What takes a step back, or why nothing does.

    Attributes:
        words: the named recovery action, or why there is none: `undo: refund the charge`, `stays: …`.
        mark: of the compensation; `None` while no rollback has come to be, and where there is nothing to undo.
    """

    kind: RecoveryKind
    words: str
    mark: Mark | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One step of the plan.

    Attributes:
        number: 1 for the first.
        has_begun: the run has come to it.
        leads_back: a rollback that has undone the step after it comes to this one next.
    """

    number: int
    name: str
    effect: Effect
    mark: Mark
    has_begun: bool
    leads_back: bool
    undo: Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The steps in the order of the plan; each begins when the one before it is done.

    Attributes:
        left_out: a sentence about those that are not shown; empty when all are.
    """

    boxes: tuple[Box, ...]
    left_out: str = ""


def tell_graph(picture: RunPicture) -> Graph | None:
    """Return the plan with the state of each step, of very many those around where the run stands.

    Returns:
        `None` when the plan cannot be read.
    """
    if picture.plan is None:
        return None
    forward = {row.position: row for row in picture.latest(Direction.FORWARD)}
    back = {row.position: row for row in picture.latest(Direction.COMPENSATION)}
    steps = picture.plan.steps
    first, last = find_window([position in forward for position in range(len(steps))], MOST_BOXES)
    boxes = tuple(
        _tell_box(picture, steps, position, row=forward.get(position), undoing=back.get(position))
        for position in range(first, last)
    )
    is_cut = len(boxes) < len(steps)
    left_out = f"Steps {first + 1:,} to {last:,} of {len(steps):,}: around where the run stands." if is_cut else ""
    return Graph(boxes=boxes, left_out=left_out)


def _tell_box(
    picture: RunPicture,
    steps: Sequence[StepContract],
    position: int,
    *,
    row: StepRecord | None,
    undoing: StepRecord | None,
) -> Box:
    contract, following = steps[position], steps[position + 1 : position + 2]
    # No rollback crosses a step that cannot be undone (R7).
    leads_back = contract.recovery is not RecoveryKind.IRREVERSIBLE and any(
        step.recovery is RecoveryKind.COMPENSATE for step in following
    )
    return Box(
        number=position + 1,
        name=clean(contract.name),
        effect=contract.effect,
        mark=mark_step(row.state, row.direction) if row is not None else mark_missing(picture),
        has_begun=row is not None,
        leads_back=leads_back,
        undo=_tell_undo(contract, row, undoing),
    )


def _tell_undo(contract: StepContract, row: StepRecord | None, undoing: StepRecord | None) -> Undo:
    # The undo of an earlier round says nothing about a step that has begun again.
    is_of_now = undoing is not None and (row is None or undoing.round >= row.round)
    action = say_action(contract)
    is_told = is_of_now and contract.recovery is not RecoveryKind.NOTHING_TO_UNDO
    return Undo(
        kind=contract.recovery,
        words=f"undo: {action}" if contract.recovery is RecoveryKind.COMPENSATE else action,
        mark=mark_step(undoing.state, undoing.direction) if undoing is not None and is_told else None,
    )
