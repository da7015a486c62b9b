"""A walk through a model: at each world one of the moves, as a list of numbers says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tests.model.model import Model
from tests.model.move import Edge, What
from tests.model.moves import moves
from tests.model.pipelines import Result
from tests.model.world import World

_LIKELY: Final = {What.AFFECT: 24, What.ANSWER: 6, What.DELIVER: 4, What.EXPIRE_SILENT: 2}
_GOOD: Final = (Result.OK, Result.ANSWER)


def walk(model: Model, choices: Sequence[int]) -> Iterator[tuple[World, Edge]]:
    """Yield each world with the move that was taken in it, until nothing moves or the choices are used up."""
    world = model.first_world()
    for choice in choices:
        # Without weights most walks would end with the failure of the first step.
        found = [edge for edge in moves(model, world) for _ in range(_weight_of(edge))]
        if not found:
            return
        edge = found[choice % len(found)]
        yield world, edge
        world = edge.world


def _weight_of(edge: Edge) -> int:
    if edge.move.what is What.END and edge.move.result in _GOOD:
        return 12
    return _LIKELY.get(edge.move.what, 1)


def come_to_rest(model: Model, world: World, *, limit: int = 20_000) -> World | None:
    """Return a world in which nothing moves any more, reached from this one without another fault.

    Returns:
        `None` when there is none: the run is silent for ever (R4).
    """
    seen, todo = {world}, [world]
    while todo and len(seen) < limit:
        here = todo.pop()
        quiet = [edge.world for edge in moves(model, here) if not edge.move.is_fault]
        if not quiet:
            return here
        fresh = [one for one in dict.fromkeys(quiet) if one not in seen]
        seen.update(fresh)
        todo.extend(fresh)
    return None
