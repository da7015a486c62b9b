"""Let a run go wrong at one place: the failures and deaths of one rehearsal."""

from __future__ import annotations

from backout.errors import FailStep
from backout.faultpoints import FaultPoint, SimulatedDeath
from backout.ledger.records import StepKey
from backout.pipelines.contract import Plan
from backout.states import Direction
from backout.testing.rehearsal.places import Place, PlaceKind

_BESIDE = (FaultPoint.ENQUEUE_COMMITTED, FaultPoint.SWEEP_COMMITTED)
"""Points in processes that run no step."""


class Faults:
    """What goes wrong in one rehearsal. A process dies once; a failure is final by itself.

    Attributes:
        has_struck: the run has come to the place.
    """

    def __init__(self, plan: Plan, place: Place) -> None:
        self._plan = plan
        self._place = place
        # The sweeper finds something to send only where the first message was lost.
        self._dies_at = [FaultPoint.ENQUEUE_COMMITTED] if place.point is FaultPoint.SWEEP_COMMITTED else []
        if place.point is not None:
            self._dies_at.append(place.point)
        self.has_struck = place.kind is PlaceKind.SMOOTH

    def before_call(self, step: str, direction: Direction) -> None:
        """Fail where the place says so; the function is not called."""
        if self._is_here(step, direction, PlaceKind.FAILS_BEFORE_EFFECT):
            self.has_struck = True
            raise FailStep(f"rehearsal: {self._place}")

    def after_call(self, step: str, direction: Direction) -> None:
        """Fail or die where the place says so; the function has returned."""
        if self._is_here(step, direction, PlaceKind.DIES_AFTER_EFFECT) and not self.has_struck:
            self.has_struck = True
            raise SimulatedDeath(str(self._place))
        if self._is_here(step, direction, PlaceKind.FAILS_AFTER_EFFECT):
            self.has_struck = True
            raise FailStep(f"rehearsal: {self._place}")
        if direction is Direction.FORWARD and step == self._place.because_of:
            raise FailStep(f"rehearsal: {step} fails, so that what was done is undone")

    def at_point(self, point: FaultPoint, key: StepKey | None) -> None:
        """Die where the place says so. `key` names the row whose message is being worked on."""
        if point not in self._dies_at or not (point in _BESIDE or self._is_row(key)):
            return
        self._dies_at.remove(point)
        self.has_struck = self.has_struck or point is self._place.point
        raise SimulatedDeath(str(self._place))

    def _is_here(self, step: str, direction: Direction, kind: PlaceKind) -> bool:
        place = self._place
        return place.kind is kind and place.step == step and place.direction is direction

    def _is_row(self, key: StepKey | None) -> bool:
        if key is None or key.direction is not self._place.direction:
            return False
        return self._plan.steps[key.position].name == self._place.step
