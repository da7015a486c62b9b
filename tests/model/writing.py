"""One transaction of the modelled ledger: every change of state walks an arrow of `TRANSITIONS`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import attrgetter, is_
from typing import Any

from backout.states import TRANSITIONS, RunState, StepState
from tests.model.world import Key, Row, Run, Token, World, say

_KEY = attrgetter("key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """One change of state, as its entry tells it.

    Attributes:
        key: of the row; `None`: the run.
        source: `None`: the row was made.
    """

    arrow: str
    key: Key | None
    source: str | None
    target: str


class IllegalArrow(Exception):
    """The model was about to change a state as `TRANSITIONS` does not allow."""


class Writing:
    """What a transaction has read and will write; nothing is visible before `World` is made of it."""

    def __init__(self, world: World) -> None:
        self.run: Run = world.run
        self.rows: dict[Key, Row] = {row.key: row for row in world.rows}
        self.walked: list[Walked] = []
        self._before = world

    @property
    def sorted_rows(self) -> tuple[Row, ...]:
        """All rows as they will be; the very same value where none was changed."""
        rows = self.rows.values()
        if len(rows) == len(self._before.rows) and all(map(is_, rows, self._before.rows)):
            return self._before.rows
        return tuple(sorted(rows, key=_KEY))

    def walk(self, arrow: str, key: Key, target: StepState, *, by: Token | None = None, **values: Any) -> bool:
        """Walk an arrow of a step if its guard matches; by the holder of the claim only, where its token is given.

        Returns:
            False when the guard does not match: nothing was written.
        """
        row = self.rows.get(key)
        if row is None or row.state not in TRANSITIONS[arrow].sources or (by is not None and row.token != by):
            return False
        self._allow(arrow, target)
        self.walked.append(Walked(arrow=arrow, key=key, source=row.state, target=target))
        self.rows[key] = replace(row, state=target, **values)
        return True

    def create(self, arrow: str, row: Row) -> None:
        """Make a row."""
        self._allow(arrow, row.state)
        if not TRANSITIONS[arrow].creates or row.key in self.rows:
            raise IllegalArrow(f"{arrow} cannot make {say(row.key)}")
        self.walked.append(Walked(arrow=arrow, key=row.key, source=None, target=row.state))
        self.rows[row.key] = row

    def walk_run(self, arrow: str, target: RunState, **values: Any) -> bool:
        """Walk an arrow of the run if its guard matches. Returns as `walk`."""
        if self.run.state not in TRANSITIONS[arrow].sources:
            return False
        self._allow(arrow, target)
        self.walked.append(Walked(arrow=arrow, key=None, source=self.run.state, target=target))
        self.run = replace(self.run, state=target, **values)
        return True

    def change(self, key: Key, **values: Any) -> None:
        """Change columns of a row without a change of state."""
        self.rows[key] = replace(self.rows[key], **values)

    @staticmethod
    def _allow(arrow: str, target: str) -> None:
        if target not in TRANSITIONS[arrow].targets:
            raise IllegalArrow(f"{arrow} cannot lead to {target}")
