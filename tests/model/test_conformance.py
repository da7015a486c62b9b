"""What the model says that the ledger writes, and what the ledger writes: the same story through both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backout.ledger import schema
from backout.states import TRANSITIONS
from backout.tasks.runtime import Runtime
from tests.model.catalogue import TOLD
from tests.model.model import Model
from tests.model.random_walks import walk
from tests.model.replay import Replay, make_runtime
from tests.model.stories import Story, tell_stories

WORLDS: Final = 3_000
STEPS: Final = 40
BY_ENGINE: Final = {name for name, arrow in TRANSITIONS.items() if not arrow.is_by_hand}


@pytest.fixture(scope="module")
def runtimes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Runtime]]:
    """The runtimes of all models, on one ledger."""
    url = f"sqlite:///{tmp_path_factory.mktemp('model') / 'ledger.sqlite3'}"
    made = {model.name: make_runtime(model, url) for model in TOLD}
    schema.upgrade(made[TOLD[0].name].unverified_ledger)
    yield made
    for runtime in made.values():
        runtime.unverified_ledger.dispose()


@pytest.fixture(scope="module")
def stories() -> dict[str, list[Story]]:
    """The stories of all models."""
    return {model.name: list(tell_stories(model, worlds=WORLDS)) for model in TOLD}


@pytest.mark.parametrize("model", TOLD, ids=lambda model: model.name)
def test_real_ledger_tells_the_same_stories(
    runtimes: dict[str, Runtime], stories: dict[str, list[Story]], model: Model
) -> None:
    """After each move the rows are the same, and so is what is sent: what is proved of one holds for the other."""
    for story in stories[model.name]:
        replay = Replay(model, runtimes[model.name])
        for before, edge in story:
            replay.take(before, edge)


def test_stories_walk_every_arrow(stories: dict[str, list[Story]]) -> None:
    """A part of the ledger that no story told would be outside of the proof; what a person does is not in it."""
    edges = [edge for told in stories.values() for story in told for _, edge in story]
    # The model has no bursts, in which the next row is claimed without ever being ready.
    assert {walked.arrow for edge in edges for walked in edge.walked} == BY_ENGINE - {
        "create_run",
        "claim_compensation",
    }


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(
    model=st.sampled_from(TOLD),
    choices=st.lists(st.integers(min_value=0, max_value=1_000), min_size=STEPS, max_size=STEPS),
)
def test_real_ledger_goes_the_same_ways(runtimes: dict[str, Runtime], model: Model, choices: list[int]) -> None:
    """Also on ways that nobody has chosen for what they tell."""
    replay = Replay(model, runtimes[model.name])
    for before, edge in walk(model, choices):
        replay.take(before, edge)
