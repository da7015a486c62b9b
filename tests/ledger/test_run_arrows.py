"""Each arrow of a run from each state: it makes exactly its own change, or none at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from backout.events import Event
from backout.identifiers import RunId
from backout.ledger import transitions
from backout.ledger.session import Ledger
from backout.states import TRANSITIONS, ReviewReason, RollbackOutcome, RunState
from tests.support.ledgers import LATER, key_of, put_run, read_run
from tests.support.snapshots import Difference, compare, take_snapshot

REACHABLE = sorted({RunState(s) for arrow in TRANSITIONS.values() if arrow.subject == "run" for s in arrow.targets})


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """One way to walk an arrow of a run; the answer of `call` is falsy when nothing was written."""

    arrow: str
    call: Callable[[Connection, RunId], object]
    target: RunState
    columns: frozenset[str]
    event: Event
    reason: str | None
    detail: Any
    actor: str = "engine"
    new_reviews: int = 0


def _park(connection: Connection, run_id: RunId) -> object:
    return transitions.park_run(connection, run_id, operator_state="charge_failed", reason="no stock")


def _review(connection: Connection, run_id: RunId) -> object:
    return transitions.review_run(
        connection,
        run_id,
        reason=ReviewReason.SYSTEMS_DISAGREE,
        about=key_of(run_id, 1),
        step_name="charge",
        evidence={"attempted": "charge"},
        operator_state="charge_in_doubt",
        rollback_outcome=RollbackOutcome.PARTIAL,
        deadline_at=LATER,
    )


def _begin(connection: Connection, run_id: RunId) -> object:
    return transitions.begin_rollback(
        connection,
        run_id,
        operator_state="charge_failed",
        error_summary="declined",
        requested_by="anna",
        compensations=("charge", "reserve"),
    )


def _finish(outcome: RollbackOutcome) -> Callable[[Connection, RunId], object]:
    def call(connection: Connection, run_id: RunId) -> object:
        return transitions.finish_rollback(connection, run_id, operator_state="rolled_back", outcome=outcome)

    return call


_ALWAYS: Final = frozenset({"state", "operator_state", "updated_at"})
_REVIEWED: Final = _ALWAYS | {"requires_human_review", "next_retry_at", "rollback_outcome"}
_FINISHED: Final = _ALWAYS | {"rollback_outcome", "next_retry_at", "finished_at"}

WALKS: Final = {
    "park_run": Walk(
        arrow="park_run",
        call=_park,
        target=RunState.PARKED,
        columns=_ALWAYS | {"error_summary"},
        event=Event.RUN_PARKED,
        reason="no stock",
        detail=None,
    ),
    "review_run": Walk(
        arrow="review_run",
        call=_review,
        target=RunState.IN_REVIEW,
        columns=_REVIEWED,
        event=Event.RUN_IN_REVIEW,
        reason="systems_disagree",
        detail=...,  # the id of the review, see test_reviews
        new_reviews=1,
    ),
    "begin_rollback": Walk(
        arrow="begin_rollback",
        call=_begin,
        target=RunState.ROLLING_BACK,
        columns=_ALWAYS | {"error_summary", "next_retry_at"},
        event=Event.ROLLBACK_STARTED,
        reason="declined",
        detail={"compensations": ["charge", "reserve"]},
        actor="anna",
    ),
    "finish_rollback, complete": Walk(
        arrow="finish_rollback",
        call=_finish(RollbackOutcome.COMPLETE),
        target=RunState.ROLLED_BACK,
        columns=_FINISHED,
        event=Event.ROLLBACK_FINISHED,
        reason=None,
        detail={"outcome": "complete"},
    ),
    "finish_rollback, partial": Walk(
        arrow="finish_rollback",
        call=_finish(RollbackOutcome.PARTIAL),
        target=RunState.FAILED,
        columns=_FINISHED,
        event=Event.ROLLBACK_FINISHED,
        reason=None,
        detail={"outcome": "partial"},
    ),
    "finish_rollback, failed": Walk(
        arrow="finish_rollback",
        call=_finish(RollbackOutcome.FAILED),
        target=RunState.FAILED,
        columns=_FINISHED,
        event=Event.ROLLBACK_FINISHED,
        reason=None,
        detail={"outcome": "failed"},
    ),
}

MATRIX = [(name, walk, state) for name, walk in WALKS.items() for state in REACHABLE]
ALLOWED = [pytest.param(w, s, id=f"{name}-{s}") for name, w, s in MATRIX if s in TRANSITIONS[w.arrow].sources]
REFUSED = [pytest.param(w, s, id=f"{name}-{s}") for name, w, s in MATRIX if s not in TRANSITIONS[w.arrow].sources]


def set_scene(ledger: Ledger, state: RunState) -> RunId:
    """Write two runs in this state; the first one's id is returned."""
    with ledger.transaction() as connection:
        run_id = put_run(connection, state=state, next_retry_at=LATER)
        put_run(connection, state=state, next_retry_at=LATER)
    return run_id


def walk_through(ledger: Ledger, walk: Walk, run_id: RunId) -> tuple[object, Difference]:
    """Walk the arrow; return its answer and what changed in the whole ledger."""
    before = take_snapshot(ledger)
    with ledger.transaction() as connection:
        answer = walk.call(connection, run_id)
    return answer, compare(before, take_snapshot(ledger))


def test_each_function_of_a_run_is_tried_from_each_state() -> None:
    """No arrow of a run is left out: those without a function of their own are in `test_run_starts_and_ends`."""
    of_runs = {name for name, arrow in TRANSITIONS.items() if arrow.subject == "run" and arrow.sources}
    assert {walk.arrow for walk in WALKS.values()} == of_runs - {"start_run", "succeed_run"}


@pytest.mark.parametrize("arrow", sorted({walk.arrow for walk in WALKS.values()}))
def test_each_target_of_an_arrow_is_reached(arrow: str) -> None:
    """The targets that the list of arrows names are the states that its function can lead to."""
    assert {walk.target.value for walk in WALKS.values() if walk.arrow == arrow} == TRANSITIONS[arrow].targets


@pytest.mark.parametrize(("walk", "state"), ALLOWED)
class TestFromAStateThatItMayStartFrom:
    def test_it_changes_exactly_its_columns(self, ledger: Ledger, walk: Walk, state: RunState) -> None:
        """The named columns of the run change, and nothing else in the ledger does."""
        run_id = set_scene(ledger, state)
        answer, difference = walk_through(ledger, walk, run_id)
        assert answer
        assert difference.changed == {("backout_run", (run_id,)): walk.columns}
        assert difference.removed == ()
        assert len(difference.added.get("backout_review", [])) == walk.new_reviews

    def test_it_ends_in_its_state(self, ledger: Ledger, walk: Walk, state: RunState) -> None:
        """The run is in the state that the arrow names, and has a finish time exactly if that state is final."""
        run_id = set_scene(ledger, state)
        walk_through(ledger, walk, run_id)
        found = read_run(ledger, run_id)
        assert found.state is walk.target
        assert (found.finished_at is not None) is walk.target.is_final

    def test_its_entry_is_in_the_same_transaction(self, ledger: Ledger, walk: Walk, state: RunState) -> None:
        """R11: who changed the run, when and why is written down with the change."""
        run_id = set_scene(ledger, state)
        _, difference = walk_through(ledger, walk, run_id)
        (entry,) = difference.added["backout_entry"]
        assert (entry["run_id"], entry["event"]) == (run_id, walk.event.value)
        assert (entry["actor"], entry["reason"]) == (walk.actor, walk.reason)
        assert walk.detail is ... or entry["detail"] == walk.detail

    def test_it_does_not_happen_when_its_entry_cannot_be_written(
        self, ledger: Ledger, walk: Walk, state: RunState, refused_entries: None
    ) -> None:
        """R11: no state changes without its entry: when the database refuses the entry, nothing else stays either."""
        run_id = set_scene(ledger, state)
        before = take_snapshot(ledger)
        with pytest.raises(DBAPIError, match="entries are refused"), ledger.transaction() as connection:
            walk.call(connection, run_id)
        assert take_snapshot(ledger) == before


@pytest.mark.parametrize(("walk", "state"), REFUSED)
def test_from_any_other_state_it_changes_nothing(ledger: Ledger, walk: Walk, state: RunState) -> None:
    """An arrow that may not start from a state says so and writes nothing, neither an entry nor a review."""
    run_id = set_scene(ledger, state)
    answer, difference = walk_through(ledger, walk, run_id)
    assert not answer
    assert difference == Difference(changed={}, added={}, removed=())
