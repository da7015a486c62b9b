"""Where a run of a pipeline can go wrong: one place for each rehearsal. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from backout.errors import ConfigurationError
from backout.faultpoints import FaultPoint
from backout.pipelines.contract import OnFailure, Plan, RecoveryKind
from backout.states import Direction


class PlaceKind(StrEnum):
    """What happens at a place."""

    SMOOTH = "smooth"
    """Nothing goes wrong."""
    FAILS_BEFORE_EFFECT = "fails_before_effect"
    """It fails for good, and its function was not called."""
    FAILS_AFTER_EFFECT = "fails_after_effect"
    """Its function has returned, and then it fails for good all the same: the answer got lost."""
    DIES_AFTER_EFFECT = "dies_after_effect"
    """Its function has had its effect, and its process dies before it returns."""
    DIES_AT = "dies_at"
    """A process dies at a fault point of the engine."""


_POINTS_OF_ATTEMPT: Final = (
    FaultPoint.BEFORE_CLAIM,
    FaultPoint.AFTER_CLAIM,
    FaultPoint.AFTER_CALL,
    FaultPoint.BEFORE_COMMIT,
    FaultPoint.AFTER_COMMIT,
    FaultPoint.AFTER_SEND,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One place where a run can go wrong, or none.

    Attributes:
        kind: what happens there.
        step: of the pipeline; empty where the place is not in a step.
        is_undo: it is in the compensation of the step.
        point: the fault point at which the process dies; `None` for the other kinds.
        because_of: the step whose failure starts the rollback that leads here; empty where none is needed.
    """

    kind: PlaceKind
    step: str = ""
    is_undo: bool = False
    point: FaultPoint | None = None
    because_of: str = ""

    @property
    def id(self) -> str:
        """A name for options and test ids: `charge_card:fails_after_effect`, `charge_card:undo_dies_at_after_claim`."""
        what = f"{self.kind.value}_{self.point.value}" if self.point else self.kind.value
        if self.is_undo:
            what = f"undo_{what}"
        return f"{self.step}:{what}" if self.step else what

    @property
    def direction(self) -> Direction:
        """Whether it is on the way forward or back."""
        return Direction.COMPENSATION if self.is_undo else Direction.FORWARD

    def __str__(self) -> str:
        """Say in words what happens."""
        what = f"undoing {self.step}" if self.is_undo else self.step
        match self.kind:
            case PlaceKind.SMOOTH:
                return "nothing goes wrong"
            case PlaceKind.FAILS_BEFORE_EFFECT:
                return f"{what} fails before its effect"
            case PlaceKind.FAILS_AFTER_EFFECT:
                return f"{what} fails after its effect"
            case PlaceKind.DIES_AFTER_EFFECT:
                return f"the worker dies in {what}, after its effect"
            case PlaceKind.DIES_AT:
                return _say_death(self.point, what)


def _say_death(point: FaultPoint | None, what: str) -> str:
    match point:
        case FaultPoint.ENQUEUE_COMMITTED:
            return "the enqueueing process dies before it has sent"
        case FaultPoint.SWEEP_COMMITTED:
            return "the sweeper dies before it has sent"
        case _:
            moment = point.value.replace("_", " the ", 1) if point else ""
            return f"the worker dies {moment} of {what}"


def find_places(plan: Plan) -> tuple[Place, ...]:
    """Return all places of a plan: the smooth run, then by step forward and back, then the processes beside."""
    return (
        Place(kind=PlaceKind.SMOOTH),
        *(place for position in range(len(plan.steps)) for place in _places_forward(plan.steps[position].name)),
        *(place for position in range(len(plan.steps)) for place in _places_back(plan, position)),
        Place(kind=PlaceKind.DIES_AT, point=FaultPoint.ENQUEUE_COMMITTED),
        Place(kind=PlaceKind.DIES_AT, point=FaultPoint.SWEEP_COMMITTED),
    )


def select_places(plan: Plan, wanted: Iterable[Place | str] | None) -> tuple[Place, ...]:
    """Return the places that are meant; all when nothing is said.

    Args:
        plan: of the pipeline.
        wanted: places, or patterns of their ids as shells have them: `charge_card:*`.

    Raises:
        ConfigurationError: a pattern names no place of this pipeline.
    """
    known = find_places(plan)
    if wanted is None:
        return known
    found: list[Place] = []
    for one in wanted:
        matching = [one] if isinstance(one, Place) else [place for place in known if fnmatchcase(place.id, one)]
        if not matching:
            raise ConfigurationError(
                problem=f"pipeline {plan.pipeline!r} has no place {one!r}",
                remedy=f"Its places: {', '.join(place.id for place in known)}; `*` stands for any characters.",
            )
        found += [place for place in matching if place not in found]
    return tuple(found)


def _places_forward(step: str) -> Iterator[Place]:
    for kind in (PlaceKind.FAILS_BEFORE_EFFECT, PlaceKind.FAILS_AFTER_EFFECT, PlaceKind.DIES_AFTER_EFFECT):
        yield Place(kind=kind, step=step)
    for point in _POINTS_OF_ATTEMPT:
        yield Place(kind=PlaceKind.DIES_AT, step=step, point=point)


def _places_back(plan: Plan, position: int) -> Iterator[Place]:
    because_of = _find_cause(plan, position)
    if plan.steps[position].compensation is None or not because_of:
        return
    step = plan.steps[position].name
    for kind in (PlaceKind.FAILS_BEFORE_EFFECT, PlaceKind.DIES_AFTER_EFFECT):
        yield Place(kind=kind, step=step, is_undo=True, because_of=because_of)
    for point in _POINTS_OF_ATTEMPT:
        yield Place(kind=PlaceKind.DIES_AT, step=step, is_undo=True, point=point, because_of=because_of)


def _find_cause(plan: Plan, position: int) -> str:
    """Return the last step whose failure leads to this compensation without a person; empty when none does."""
    found = ""
    for step in _until_irreversible(plan, position):
        if plan.steps[step].on_failure is OnFailure.ROLLBACK:
            found = plan.steps[step].name
    return found


def _until_irreversible(plan: Plan, position: int) -> Sequence[int]:
    # No rollback crosses an irreversible step that may have happened (R7).
    later = range(position, len(plan.steps))
    stop = next((step for step in later if plan.steps[step].recovery is RecoveryKind.IRREVERSIBLE), len(plan.steps))
    return range(position, stop)
