"""Every state that a small pipeline can reach obeys the rules, and from each the run comes to rest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backout.faultpoints import FaultPoint
from tests.model.catalogue import SMALL
from tests.model.explorer import Exploration, explore
from tests.model.model import Model
from tests.model.table import table_of
from tests.model.world import STANDS_AT


@pytest.fixture(scope="module")
def explorations(request: pytest.FixtureRequest) -> Iterator[list[Exploration]]:
    """Collect what was explored, and print it at the end."""
    found: list[Exploration] = []
    yield found
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        print(f"\n{table_of(found)}")


@pytest.mark.parametrize("model", SMALL, ids=lambda model: f"{model.name} ({model.budget})")
def test_rules_hold_in_every_state(model: Model, explorations: list[Exploration]) -> None:
    """R1 to R14, whatever is lost, doubled and killed within the budget; and no run is silent (R4)."""
    found = explore(model)
    explorations.append(found)
    assert found.violation is None, str(found.violation)
    assert found.settled


def test_every_fault_point_has_its_place_in_the_model() -> None:
    """A new place to die in must be thought of here too."""
    assert set(STANDS_AT) == set(FaultPoint)
