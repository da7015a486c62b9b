"""Visit every world that can be reached, and look at each with the rules; breadth first, so that a trace is short."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from tests.model.model import Model
from tests.model.move import Edge
from tests.model.moves import moves
from tests.model.rules import broken_at_rest, broken_by_move, broken_in_world
from tests.model.world import World, say
from tests.model.writing import IllegalArrow


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A rule that does not hold, and how to get there.

    Attributes:
        trace: what happened, in order.
    """

    rule: str
    trace: tuple[str, ...]
    world: World

    def __str__(self) -> str:
        """Tell the story."""
        steps = [f"  {number:2}. {line}" for number, line in enumerate(self.trace, start=1)]
        rows = [f"  {say(row.key)}: {row.state.value}" for row in self.world.rows]
        return "\n".join([self.rule, *steps, f"  the run is {self.world.run.state.value}", *rows])


@dataclass(slots=True, kw_only=True)
class Exploration:
    """What was found.

    Attributes:
        states: how many worlds were reached.
        transitions: moves that were tried.
        settled: how many worlds are at rest with the run in each state.
        violation: the first that was found, by the shortest way.
    """

    model: Model
    states: int = 0
    transitions: int = 0
    settled: Counter[str] = field(default_factory=Counter)
    violation: Violation | None = None


class TooManyStates(Exception):
    """The pipeline is too large for exploration."""


def explore(model: Model, *, limit: int = 2_000_000) -> Exploration:
    """Visit every world; stop at the first that breaks a rule."""
    return _Explorer(model, limit).run()


class _Explorer:
    def __init__(self, model: Model, limit: int) -> None:
        self._model, self._limit = model, limit
        self._found = Exploration(model=model)
        self._worlds: list[World] = []
        self._numbers: dict[World, int] = {}
        self._parents = array("l")
        # Moves without a fault, from and to: the run must be able to settle without further faults.
        self._sources, self._targets = array("l"), array("l")
        self._resting: list[int] = []

    def run(self) -> Exploration:
        first = self._model.first_world()
        self._number_of(first, parent=-1)
        number, broken = 0, None
        while number < len(self._worlds) and broken is None:
            broken = self._visit(number)
            number += 1
        self._found.states = len(self._worlds)
        self._found.violation = broken or self._find_trap()
        return self._found

    def _number_of(self, world: World, parent: int) -> int:
        known = self._numbers.get(world)
        if known is None:
            known = self._numbers[world] = len(self._numbers)
            self._worlds.append(world)
            self._parents.append(parent)
            if known >= self._limit:
                raise TooManyStates(f"{self._model.name}: more than {self._limit} states")
        return known

    def _visit(self, number: int) -> Violation | None:
        world, moves_on = self._worlds[number], False
        for rule in broken_in_world(self._model, world):
            return self._violation(rule, number)
        try:
            for edge in moves(self._model, world):
                self._found.transitions += 1
                for rule in broken_by_move(self._model, world, edge):
                    return self._violation(rule, number, edge)
                target = self._number_of(edge.world, number)
                if not edge.move.is_fault:
                    moves_on = True
                    self._sources.append(number)
                    self._targets.append(target)
        except (IllegalArrow, RuntimeError) as error:
            return self._violation(f"an attempt at the impossible: {error}", number)
        if not moves_on:
            for rule in broken_at_rest(self._model, world):
                return self._violation(rule, number)
            self._found.settled[world.run.state.value] += 1
            self._resting.append(number)
        return None

    def _find_trap(self) -> Violation | None:
        """Find a world from which the run cannot come to rest although nothing breaks any more (R4)."""
        before: list[list[int]] = [[] for _ in self._worlds]
        for source, target in zip(self._sources, self._targets, strict=True):
            before[target].append(source)
        reaches_rest, todo = set(self._resting), list(self._resting)
        while todo:
            for source in before[todo.pop()]:
                if source not in reaches_rest:
                    reaches_rest.add(source)
                    todo.append(source)
        trap = next((number for number in range(len(self._worlds)) if number not in reaches_rest), None)
        return self._violation("R4: the run never comes to rest", trap) if trap is not None else None

    def _violation(self, rule: str, number: int, last: Edge | None = None) -> Violation:
        numbers = [number]
        while (parent := self._parents[numbers[-1]]) >= 0:
            numbers.append(parent)
        numbers.reverse()
        lines = list(self._say_moves([self._worlds[one] for one in numbers]))
        if last is not None:
            lines.append(str(last.move))
        world = self._worlds[number] if last is None else last.world
        return Violation(rule=rule, trace=tuple(lines), world=world)

    def _say_moves(self, worlds: list[World]) -> Iterator[str]:
        for before, after in pairwise(worlds):
            yield next(str(edge.move) for edge in moves(self._model, before) if edge.world == after)
