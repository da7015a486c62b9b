"""Short ways through a model that between them show each kind of move with each of its consequences."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.model import Model
from tests.model.move import Edge
from tests.model.moves import moves
from tests.model.world import World

Story = tuple[tuple[World, Edge], ...]
Kind = tuple[object, ...]


def tell_stories(model: Model, *, worlds: int) -> Iterator[Story]:
    """Yield stories, the longest first, until each kind of move has been told that is among the first worlds."""
    reached, first_of = _look_around(model, worlds)
    told: set[Kind] = set()
    for kind, (world, edge) in reversed(first_of.items()):
        if kind not in told:
            story = (*_way_to(world, reached), (world, edge))
            told |= {_kind_of(*step) for step in story}
            yield story


def _look_around(
    model: Model, worlds: int
) -> tuple[dict[World, tuple[World, Edge] | None], dict[Kind, tuple[World, Edge]]]:
    """Return how each world was reached first, and where each kind of move was met first."""
    first = model.first_world()
    reached: dict[World, tuple[World, Edge] | None] = {first: None}
    first_of: dict[Kind, tuple[World, Edge]] = {}
    todo = [first]
    for world in todo:
        for edge in moves(model, world):
            first_of.setdefault(_kind_of(world, edge), (world, edge))
            if edge.world not in reached and len(todo) < worlds:
                reached[edge.world] = (world, edge)
                todo.append(edge.world)
    return reached, first_of


def _kind_of(world: World, edge: Edge) -> Kind:
    """Return what makes a move worth telling: what happens to which kind of row, and every change that it causes."""
    move = edge.move
    walked = tuple((one.arrow, one.key and one.key[1], one.source, one.target) for one in edge.walked)
    return (move.what, move.key[1], move.result, move.answer, world.run.state, walked)


def _way_to(world: World, reached: dict[World, tuple[World, Edge] | None]) -> Story:
    way: list[tuple[World, Edge]] = []
    while (step := reached[world]) is not None:
        way.append(step)
        world = step[0]
    return tuple(reversed(way))
