"""The model broken on purpose, one promise at a time: a check that cannot fail is a defect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import pytest

from backout.compensations.plan import RollbackPlan
from backout.states import Direction, StepState
from backout.tasks.decisions import Decision, GiveBack
from backout.tasks.outcome import Lost
from tests.model import ledger_moves, mirror, mirror_back, mirror_repair
from tests.model.catalogue import model
from tests.model.model import Ending, Model
from tests.model.world import Budget, Key, Links, Row, Token
from tests.model.writing import Writing

Break = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A way to break the model.

    Attributes:
        rules: of which at least one must be found broken.
        model: in which it must be found.
        breaks: breaks it until the test is over.
    """

    rules: tuple[str, ...]
    model: Model
    breaks: Break


def _claim_of(states: tuple[StepState, ...], *directions: Direction) -> Break:
    """Return a break by which rows in these states can be claimed as well."""
    guarded = mirror.claim_step

    def claim(writing: Writing, key: Key) -> Token | None:
        row = writing.rows.get(key)
        if row is None or row.state not in states or row.direction not in directions:
            return guarded(writing, key)
        token = (row.asks, row.attempt + 1)
        writing.rows[key] = replace(row, state=StepState.RUNNING, attempt=row.attempt + 1, token=token, is_swept=True)
        return token

    return lambda patch: patch.setattr(mirror, "claim_step", claim)


def _always_give_back(patch: pytest.MonkeyPatch) -> None:
    decide = Model.decide

    def careless(self: Model, ending: Ending) -> Decision:
        is_lost = isinstance(self.outcome_of(ending), Lost)
        return GiveBack(reason="careless") if is_lost else decide(self, ending)

    patch.setattr(Model, "decide", careless)


def _wait_for_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(mirror_back, "may_still_run", lambda writing, key=None, *, of_step_only=False: False)


def _change_plan(change: Callable[[RollbackPlan], RollbackPlan]) -> Break:
    plan_back = Model.plan_back

    def changed(self: Model, rows: tuple[Row, ...]) -> RollbackPlan:
        return change(plan_back(self, rows))

    return lambda patch: patch.setattr(Model, "plan_back", changed)


def _apply_late_results(patch: pytest.MonkeyPatch) -> None:
    walk = Writing.walk

    def careless(self: Writing, arrow: str, key: Key, target: StepState, *, by: Any = None, **values: Any) -> bool:
        return walk(self, arrow, key, target, **values)

    patch.setattr(Writing, "walk", careless)


def _forget_next(patch: pytest.MonkeyPatch) -> None:
    def forget(writing: Writing, model: Model) -> Links:
        return ()

    patch.setattr(mirror_back, "walk_on", forget)


def _leave_claimable(patch: pytest.MonkeyPatch) -> None:
    def ask(writing: Writing, key: Key) -> bool:
        return mirror_back.open_review(writing)

    patch.setattr(mirror_repair, "ask_about_definition", ask)


def _sweep_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ledger_moves, "_send_due", lambda model, world, row: iter(()))


def _drop_outputs(patch: pytest.MonkeyPatch) -> None:
    walk = Writing.walk

    def careless(self: Writing, arrow: str, key: Key, target: StepState, **values: Any) -> bool:
        dropped: dict[str, Any] = {"has_output": False} if arrow == "undo_step" else {}
        return walk(self, arrow, key, target, **values, **dropped)

    patch.setattr(Writing, "walk", careless)


def _never_undo(patch: pytest.MonkeyPatch) -> None:
    _change_plan(lambda plan: replace(plan, undos=()))(patch)


def _ready_at_once(patch: pytest.MonkeyPatch) -> None:
    row_of = mirror_back._compensation_row

    def ready(forward: Any, state: StepState, order: int) -> Row:
        return row_of(forward, StepState.READY if state is StepState.PENDING else state, order)

    patch.setattr(mirror_back, "_compensation_row", ready)


_UNDO: Final = Direction.COMPENSATION
MUTANTS: Final[Mapping[str, Mutant]] = MappingProxyType(
    {
        "a running row can be claimed": Mutant(
            rules=("R3",),
            model=model("once", budget=Budget(duplicates=1), keeps_moot=True),
            breaks=_claim_of((StepState.RUNNING,), Direction.FORWARD),
        ),
        "a step that has succeeded can be claimed": Mutant(
            rules=("R2",),
            model=model("once", budget=Budget(duplicates=1), quiet=True, keeps_moot=True),
            breaks=_claim_of((StepState.SUCCEEDED,), Direction.FORWARD),
        ),
        "a compensation that has succeeded can be claimed": Mutant(
            rules=("R2, R6",),
            model=model("once", "once", budget=Budget(duplicates=1), quiet=True, keeps_moot=True),
            breaks=_claim_of((StepState.SUCCEEDED,), _UNDO),
        ),
        "a compensation can be claimed before its turn": Mutant(
            rules=("R5",),
            model=model(
                "once", "once", budget=Budget(duplicates=1, losses=1), quiet=True, keeps_moot=True, chain_links=1
            ),
            breaks=_ready_at_once,
        ),
        "every attempt without an answer runs again": Mutant(
            rules=("R8",), model=model("once", budget=Budget(crashes=1)), breaks=_always_give_back
        ),
        "a rollback waits for nobody": Mutant(
            rules=("R5",), model=model("idempotent", budget=Budget(zombies=1)), breaks=_wait_for_nobody
        ),
        "a question waits for nobody": Mutant(
            rules=("R8",), model=model("reconciled", budget=Budget(zombies=1)), breaks=_wait_for_nobody
        ),
        "a run in review goes on": Mutant(
            rules=("R4",), model=model("once", budget=Budget(unknown_tasks=1)), breaks=_leave_claimable
        ),
        "steps are undone in the order of their start": Mutant(
            rules=("R5",),
            model=model("once", "once", budget=Budget(), quiet=True),
            breaks=_change_plan(lambda plan: replace(plan, undos=plan.undos[::-1])),
        ),
        "an irreversible step stops no rollback": Mutant(
            rules=("R7",),
            model=model("irreversible", "once", budget=Budget(), quiet=True),
            breaks=_change_plan(lambda plan: replace(plan, blocked_by=None)),
        ),
        "late results are applied": Mutant(
            rules=("R3",),
            model=model("idempotent", budget=Budget(zombies=1), keeps_moot=True),
            breaks=_apply_late_results,
        ),
        "the end of an undo makes nothing ready": Mutant(
            rules=("R4",), model=model("once", "once", budget=Budget(), quiet=True), breaks=_forget_next
        ),
        "nobody sends a lost message again": Mutant(
            rules=("R4",), model=model("once", budget=Budget(losses=1), quiet=True), breaks=_sweep_nothing
        ),
        "an undone step loses its output": Mutant(
            rules=("R14",), model=model("once", "once", budget=Budget(), quiet=True), breaks=_drop_outputs
        ),
        "nothing is ever undone": Mutant(
            rules=("R4",), model=model("once", "once", budget=Budget(), quiet=True), breaks=_never_undo
        ),
    }
)
