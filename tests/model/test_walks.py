"""Longer pipelines, too large to visit every state: ways taken by chance obey the rules and come to rest."""

from __future__ import annotations

from typing import Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.model.catalogue import KINDS, steps
from tests.model.model import Model
from tests.model.random_walks import come_to_rest, walk
from tests.model.rules import broken_at_rest, broken_by_move, broken_in_world
from tests.model.world import Budget

STEPS: Final = 120
_FEW: Final = st.integers(min_value=0, max_value=2)


@st.composite
def models(draw: st.DrawFn) -> Model:
    """Draw a pipeline of one to six steps, and how much goes wrong."""
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=6))
    budget = Budget(
        crashes=draw(st.integers(min_value=0, max_value=4)),
        duplicates=draw(_FEW),
        losses=draw(_FEW),
        zombies=draw(_FEW),
        old_workers=draw(_FEW),
        unknown_tasks=draw(st.integers(min_value=0, max_value=1)),
    )
    return Model(
        name=", ".join(kinds),
        pipeline=steps(*kinds),
        budget=budget,
        has_deadline=draw(st.booleans()),
        chain_links=draw(st.sampled_from([1, 2, 50])),
    )


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example])
@given(model=models(), choices=st.lists(st.integers(min_value=0, max_value=1_000), min_size=STEPS, max_size=STEPS))
def test_rules_hold_on_ways_taken_by_chance(model: Model, choices: list[int]) -> None:
    """R1 to R14 up to six steps, with more faults than can be explored."""
    world, story = model.first_world(), ["the run is enqueued"]
    for before, edge in walk(model, choices):
        story.append(str(edge.move))
        broken = [*broken_by_move(model, before, edge), *broken_in_world(model, edge.world)]
        assert not broken, "\n".join([*broken, *story])
        world = edge.world
    rest = come_to_rest(model, world)
    assert rest is not None, "\n".join(["R4: the run never comes to rest", *story])
    assert not (broken := list(broken_at_rest(model, rest))), "\n".join([*broken, *story])
