"""Each arrow of a step row from each state: it makes exactly its own change, or none at all."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import pytest
from sqlalchemy import CheckConstraint, text
from sqlalchemy.exc import DBAPIError

from backout.ledger import transitions
from backout.ledger.models import metadata
from backout.ledger.session import Ledger, LedgerConnection
from backout.states import TRANSITIONS, Direction, StepState
from tests.ledger.walking import BY_HAND, Scene, set_scene
from tests.ledger.walks import WALKS, Walk
from tests.support.snapshots import Difference, compare, take_snapshot

WALKED_INSIDE = {
    "create_step": "succeed_step",  # the next row is born in the outcome of the one before it
    "start_run": "claim_step",  # with the first claim of the first step
}
"""Arrows that have no function of their own, and the function in which each is walked."""

VARIANTS = {
    "pass_failed_step": "fail_step",
    "succeed_compensation": "succeed_step",
    "skip_compensation": "skip_step",
    "answer_question": "succeed_step",
    "release_uncalled": "release_claim",
    "verify_step": "succeed_step",
}
"""Functions that walk an arrow of another name."""

OF_OTHERS = {
    "assign_review",
    "create_runs",  # walks `create_run` for many at once, see `test_enqueue_many`
    "continue_rollback",  # walks `turn_run_back`, see `test_run_arrows`
    "resolve_review",
    "succeed_and_claim",  # walks arrows of three rows, see `test_undo_and_claim`
    "succeed_and_ready",  # the same
    "start_step",  # walks `create_step`, see `test_by_hand`
}
"""Functions of runs and reviews, and the one that makes a row: they walk no arrow from one state of a row."""

FACTS = {
    "extend_claim",
    "free_key",
    "hasten_retry",
    "mark_resent",
    "postpone_step",
    "record_external_id",
    "record_fact",
    "record_late_result",
    "record_refused_message",
}
"""Functions that walk no arrow; `test_facts_never_change_a_state` holds them to it."""

REACHABLE = sorted({StepState(s) for arrow in TRANSITIONS.values() if arrow.subject == "step" for s in arrow.targets})


def possible_states(direction: Direction) -> list[StepState]:
    """Return the states that the constraints allow to a row of this direction."""
    impossible = {
        Direction.FORWARD: {StepState.KEPT},
        Direction.COMPENSATION: {StepState.UNDONE},
        Direction.RECONCILE: {StepState.KEPT, StepState.UNDONE},
        Direction.VERIFY: {StepState.KEPT, StepState.UNDONE},
    }[direction]
    return [state for state in REACHABLE if state not in impossible]


MATRIX = [
    (name, walk, direction, state)
    for name, walk in WALKS.items()
    for direction in sorted(walk.directions)
    for state in possible_states(direction)
]
ALLOWED = [pytest.param(w, d, s, id=f"{name}-{d}-{s}") for name, w, d, s in MATRIX if s in w.sources]
REFUSED = [pytest.param(w, d, s, id=f"{name}-{d}-{s}") for name, w, d, s in MATRIX if s not in w.sources]


def scope_of(ledger: Ledger, walk: Walk) -> AbstractContextManager[LedgerConnection]:
    """Return the scope in which the arrow is walked."""
    return ledger.transaction() if walk.is_in_transaction else ledger.change()


def walk_through(ledger: Ledger, walk: Walk, scene: Scene) -> tuple[object, Difference]:
    """Walk the arrow; return its answer and what changed in the whole ledger."""
    before = take_snapshot(ledger)
    with scope_of(ledger, walk) as connection:
        answer = walk.call(connection, scene)
    return answer, compare(before, take_snapshot(ledger))


def test_each_arrow_has_a_function_of_its_name() -> None:
    """The list of arrows and the functions that walk them are the same list."""
    functions = {name for name in transitions.__all__ if name[0].islower()}
    assert functions - FACTS - OF_OTHERS - VARIANTS.keys() == TRANSITIONS.keys() - WALKED_INSIDE.keys()


def test_each_function_of_a_step_is_tried_from_each_state() -> None:
    """No arrow of a step is left out of the matrix below."""
    of_steps = {name for name, arrow in TRANSITIONS.items() if arrow.subject == "step" and arrow.sources}
    assert {walk.arrow for walk in WALKS.values()} == of_steps
    assert {name.partition(",")[0] for name in WALKS} == of_steps | VARIANTS.keys()


@pytest.mark.parametrize(("walk", "direction", "state"), ALLOWED)
class TestFromAStateThatItMayStartFrom:
    def test_it_changes_exactly_its_columns(
        self, ledger: Ledger, walk: Walk, direction: Direction, state: StepState
    ) -> None:
        """The named columns of the row and of its run change, and nothing else in the ledger does."""
        scene = set_scene(ledger, direction, state)
        answer, difference = walk_through(ledger, walk, scene)
        assert answer
        assert difference.changed == walk.changes_of(scene)
        assert difference.removed == ()
        assert len(difference.added.get("backout_step", [])) == walk.new_rows

    def test_it_ends_in_its_state(self, ledger: Ledger, walk: Walk, direction: Direction, state: StepState) -> None:
        """The row is in the state that the arrow names."""
        scene = set_scene(ledger, direction, state)
        walk_through(ledger, walk, scene)
        table, name = scene.row
        assert take_snapshot(ledger)[table][name]["state"] == walk.target_of(scene).value
        assert walk.target_of(scene).value in TRANSITIONS[walk.arrow].targets

    def test_its_entries_are_in_the_same_transaction(
        self, ledger: Ledger, walk: Walk, direction: Direction, state: StepState
    ) -> None:
        """R11: what happened is written down with the change, in order, with who did it and about which row."""
        scene = set_scene(ledger, direction, state)
        _, difference = walk_through(ledger, walk, scene)
        entries = difference.added["backout_entry"]
        assert [entry["event"] for entry in entries] == [event.value for event in walk.events]
        first = entries[0]
        assert first["actor"]
        if walk.is_by_hand:
            assert (first["actor"], first["reason"]) == ("anna", None if "plan" in walk.arrow else BY_HAND["reason"])
        assert (first["run_id"], first["round"], first["position"]) == (scene.run_id, 1, 1)
        assert (first["direction"], first["step"]) == (direction.value, "step_1")

    def test_it_does_not_happen_when_its_entry_cannot_be_written(
        self, ledger: Ledger, walk: Walk, direction: Direction, state: StepState, refused_entries: None
    ) -> None:
        """R11: no state changes without its entry: when the database refuses the entry, nothing else stays either."""
        scene = set_scene(ledger, direction, state)
        before = take_snapshot(ledger)
        with pytest.raises(DBAPIError, match="entries are refused"), scope_of(ledger, walk) as connection:
            walk.call(connection, scene)
        assert take_snapshot(ledger) == before

    def test_it_leaves_every_constraint_satisfied(
        self, ledger: Ledger, walk: Walk, direction: Direction, state: StepState
    ) -> None:
        """No row is left that the constraints would refuse, whatever the database checks by itself."""
        walk_through(ledger, walk, set_scene(ledger, direction, state))
        assert violations(ledger) == []


@pytest.mark.parametrize(("walk", "direction", "state"), REFUSED)
def test_from_any_other_state_it_changes_nothing(
    ledger: Ledger, walk: Walk, direction: Direction, state: StepState
) -> None:
    """R2, R3: an arrow that may not start from a state says so and writes nothing, not even an entry."""
    scene = set_scene(ledger, direction, state)
    answer, difference = walk_through(ledger, walk, scene)
    assert not answer
    assert difference == Difference(changed={}, added={}, removed=())


def violations(ledger: Ledger) -> list[Any]:
    """Return the names of constraints that some row does not meet."""
    found = []
    with ledger.transaction() as connection:
        for table in metadata.sorted_tables:
            # Not the one that calls PostgreSQL's function: it is made of the others.
            rules = (item for item in table.constraints if isinstance(item, CheckConstraint))
            for constraint in (rule for rule in rules if not str(rule.name).endswith("_rules")):
                query = text(f"SELECT count(*) FROM {table.name} WHERE NOT ({constraint.sqltext})")
                if connection.execute(query).scalar_one():
                    found.append(constraint.name)
    return found
