"""Fault points: harmless unless armed, and harmless again afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backout.faultpoints import FaultPoint, SimulatedDeath, arm, armed, disarm_all, reach


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    disarm_all()


def test_armed_block_leaves_what_was_armed_before() -> None:
    """A rehearsal inside a test that has armed a point of its own takes nothing away from it."""
    reached: list[str] = []
    arm(FaultPoint.AFTER_CALL, lambda: reached.append("before"))
    with armed({FaultPoint.AFTER_CALL: lambda: reached.append("inside")}):
        reach(FaultPoint.AFTER_CALL)
    reach(FaultPoint.AFTER_CALL)
    assert reached == ["inside", "before"]


def test_armed_block_ends_with_the_death_that_it_causes() -> None:
    """No point stays armed in the process that only played dead."""

    def die() -> None:
        raise SimulatedDeath

    with pytest.raises(SimulatedDeath), armed({FaultPoint.BEFORE_CLAIM: die}):
        reach(FaultPoint.BEFORE_CLAIM)
    reach(FaultPoint.BEFORE_CLAIM)
