"""The rules find what is broken: each mutant of the model breaks one promise, and is told with its story."""

from __future__ import annotations

import pytest

from tests.model.explorer import explore
from tests.model.mutants import MUTANTS


@pytest.mark.parametrize("name", MUTANTS)
def test_broken_promise_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that cannot fail is a defect."""
    mutant = MUTANTS[name]
    mutant.breaks(monkeypatch)
    violation = explore(mutant.model).violation
    assert violation is not None
    assert violation.rule.startswith(mutant.rules), str(violation)
    assert violation.trace, "a world is told with the way to it"


@pytest.mark.parametrize("name", MUTANTS)
def test_unbroken_model_obeys(name: str) -> None:
    """What the mutant is found by is what was broken, not the pipeline."""
    assert explore(MUTANTS[name].model).violation is None


def test_story_of_a_violation_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody must find the defect by it."""
    mutant = MUTANTS["every attempt without an answer runs again"]
    mutant.breaks(monkeypatch)
    lines = str(explore(mutant.model).violation).splitlines()
    assert lines[0] == "R8: forward 0 is in doubt, is not idempotent, and runs again"
    assert lines[1:] == [
        "   1. a worker receives the message of forward 0 (attempt 1)",
        "   2. a shutdown cuts off forward 0 (attempt 1): it is cut off by a shutdown",
        "  the run is running",
        "  forward 0: ready",
    ]
