"""Each arrow of a run from each state: it makes exactly its own change, or none at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from backout.events import Event
from backout.identifiers import RunId
from backout.ledger import queries, transitions
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

    def columns_of(self, source: RunState) -> frozenset[str]:
        """Return the columns that change: not the state where it stays, and the finish time where it comes or goes."""
        if not TRANSITIONS[self.arrow].is_by_hand:
            return self.columns
        finish = frozenset({"finished_at"} if source.is_final or self.target.is_final else ())
        return (self.columns | finish) - ({"state"} if source is self.target else frozenset())


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


def _seen(connection: Connection, run_id: RunId) -> RunState:
    found = queries.find_run(connection, run_id)
    assert found is not None
    return found.state


def _by_hand(arrow: str, **values: Any) -> Callable[[Connection, RunId], object]:
    def call(connection: Connection, run_id: RunId) -> object:
        walk = getattr(transitions, arrow)
        seen = _seen(connection, run_id)
        return walk(connection, run_id, seen=seen, operator_state="by hand", actor="anna", reason="asked", **values)

    return call


def _succeed(connection: Connection, run_id: RunId) -> object:
    return transitions.succeed_run(
        connection, run_id, operator_state="all done", output={"ok": 1}, actor="anna", reason="asked"
    )


def _finish(outcome: RollbackOutcome, *, is_to_step: bool = False) -> Callable[[Connection, RunId], object]:
    def call(connection: Connection, run_id: RunId) -> object:
        return transitions.finish_rollback(
            connection, run_id, operator_state="rolled_back", outcome=outcome, is_to_step=is_to_step
        )

    return call


_ALWAYS: Final = frozenset({"state", "operator_state", "updated_at"})
_REVIEWED: Final = _ALWAYS | {"requires_human_review", "next_retry_at", "rollback_outcome"}
_FINISHED: Final = _ALWAYS | {"rollback_outcome", "next_retry_at", "finished_at"}


def _walk_by_hand(
    function: str,
    target: RunState,
    event: Event,
    *,
    arrow: str | None = None,
    columns: frozenset[str] = frozenset(),
    detail: Mapping[str, Any] | None = None,
    **values: Any,
) -> Walk:
    return Walk(
        arrow=arrow or function,
        call=_by_hand(function, **values),
        target=target,
        columns=_ALWAYS | {"next_retry_at"} | columns,
        event=event,
        reason="asked",
        detail=detail or {},
        actor="anna",
    )


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
    "finish_rollback, to a step": Walk(
        arrow="finish_rollback",
        call=_finish(RollbackOutcome.COMPLETE, is_to_step=True),
        target=RunState.PAUSED,
        columns=_FINISHED - {"finished_at"},
        event=Event.ROLLBACK_FINISHED,
        reason=None,
        detail={"outcome": "complete", "state": "paused"},
    ),
    "finish_rollback, to a step, partial": Walk(
        arrow="finish_rollback",
        call=_finish(RollbackOutcome.PARTIAL, is_to_step=True),
        target=RunState.FAILED,
        columns=_FINISHED,
        event=Event.ROLLBACK_FINISHED,
        reason=None,
        detail={"outcome": "partial"},
    ),
    "succeed_run": Walk(
        arrow="succeed_run",
        call=_succeed,
        target=RunState.SUCCEEDED,
        columns=_ALWAYS | {"output", "finished_at"},
        event=Event.RUN_SUCCEEDED,
        reason="asked",
        detail=None,
        actor="anna",
    ),
    "pause_run": _walk_by_hand("pause_run", RunState.PAUSED, Event.RUN_PAUSED),
    "cancel_run": _walk_by_hand("cancel_run", RunState.CANCELLED, Event.RUN_CANCELLED),
    "close_run": _walk_by_hand("close_run", RunState.FAILED, Event.RUN_CLOSED),
    "resume_run": _walk_by_hand(
        "resume_run",
        RunState.RUNNING,
        Event.RUN_RESUMED,
        columns=frozenset({"round", "last_successful_step"}),
        detail={"round": 2},
        round_number=2,
        last_successful_step="reserve",
    ),
    "turn_run_back": _walk_by_hand(
        "turn_run_back",
        RunState.ROLLING_BACK,
        Event.ROLLBACK_STARTED,
        columns=frozenset({"rollback_to"}),
        detail={"compensations": ["charge"]},
        compensations=("charge",),
        rollback_to=0,
    ),
    "continue_rollback": _walk_by_hand(
        "continue_rollback", RunState.ROLLING_BACK, Event.ROLLBACK_CONTINUED, arrow="turn_run_back"
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
    """No arrow of a run is left out: a run starts with a claim, see `test_run_starts_and_ends`."""
    of_runs = {name for name, arrow in TRANSITIONS.items() if arrow.subject == "run" and arrow.sources}
    assert {walk.arrow for walk in WALKS.values()} == of_runs - {"start_run"}


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
        assert difference.changed == {("backout_run", (run_id,)): walk.columns_of(state)}
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
        if TRANSITIONS[walk.arrow].is_by_hand:
            assert entry["detail"] == {"from": state.value, **walk.detail}
        else:
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
