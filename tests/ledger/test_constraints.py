"""The database itself refuses rows that cannot be true, one test for each constraint and database."""

from __future__ import annotations

from typing import Any, Final

import pytest
from sqlalchemy import CheckConstraint, Table, insert, select
from sqlalchemy.exc import IntegrityError

from backout.identifiers import RunId, new_run_id
from backout.ledger.models import metadata, review, run, step
from backout.ledger.session import Ledger
from backout.states import FINAL_RUN_STATES, Direction, RunState, StepState
from tests.support.ledgers import LATER, LONG_AGO, key_of, put_run, put_step, step_values
from tests.support.snapshots import take_snapshot

A_RUN: Final = RunId("01900000-0000-7000-8000-000000000001")


def a_run(state: RunState, /, **values: Any) -> dict[str, Any]:
    """Return the columns of a run that is right but for the values given."""
    return {
        "id": A_RUN,
        "pipeline": "fulfil_order",
        "definition_digest": "0",
        "plan": {},
        "state": state.value,
        "operator_state": "x",
        "external_ids": {},
        "requires_human_review": False,
        "rollback_outcome": "none",
        "input": None,
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
        "finished_at": LONG_AGO if state in FINAL_RUN_STATES else None,
        **values,
    }


def a_step(state: StepState, of: Direction = Direction.FORWARD, /, **values: Any) -> dict[str, Any]:
    """Return the columns of a step row that is right but for the values given."""
    return {**step_values(key_of(A_RUN, 0, of), state), **values}


def a_review(**values: Any) -> dict[str, Any]:
    """Return the columns of a review that is right but for the values given."""
    right = {"run_id": A_RUN, "round": 1, "reason": "systems_disagree", "evidence": {}, "opened_at": LONG_AGO}
    return {**right, **values}


IMPOSSIBLE: Final[list[tuple[str, Table, dict[str, Any]]]] = [
    ("ck_backout_run_state", run, a_run(RunState.RUNNING, state="done")),
    ("ck_backout_run_rollback_outcome", run, a_run(RunState.RUNNING, rollback_outcome="half")),
    ("ck_backout_run_final_is_finished", run, a_run(RunState.RUNNING, finished_at=LONG_AGO)),
    ("ck_backout_run_final_is_finished", run, a_run(RunState.SUCCEEDED, finished_at=None)),
    ("ck_backout_step_state", step, a_step(StepState.READY, state="done")),
    ("ck_backout_step_direction", step, a_step(StepState.READY, direction="sideways")),
    ("ck_backout_step_finished", step, a_step(StepState.SUCCEEDED, finished_at=None)),
    ("ck_backout_step_finished", step, a_step(StepState.READY, finished_at=LONG_AGO)),
    ("ck_backout_step_running_has_claim", step, a_step(StepState.RUNNING, claim_expires_at=None)),
    ("ck_backout_step_running_has_claim", step, a_step(StepState.READY, claim_expires_at=LATER)),
    ("ck_backout_step_running_has_token", step, a_step(StepState.RUNNING, claim_token=None)),
    ("ck_backout_step_retry_has_time", step, a_step(StepState.RETRY_SCHEDULED, next_retry_at=None)),
    ("ck_backout_step_retry_has_time", step, a_step(StepState.READY, next_retry_at=LATER)),
    ("ck_backout_step_waiting_has_time", step, a_step(StepState.WAITING, sweep_at=None)),
    ("ck_backout_step_kept_is_compensation", step, a_step(StepState.KEPT, Direction.FORWARD)),
    ("ck_backout_step_undone_is_forward", step, a_step(StepState.UNDONE, Direction.COMPENSATION)),
    ("ck_backout_review_reason", review, a_review(reason="boredom")),
    ("ck_backout_review_decided", review, a_review(decision="accept")),
    ("ck_backout_review_decided", review, a_review(decided_at=LONG_AGO)),
]


def test_each_constraint_has_a_row_that_it_refuses() -> None:
    """No CHECK is left out of the list above."""
    names = {
        _full_name(table, constraint)
        for table in metadata.sorted_tables
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    # On PostgreSQL one CHECK of this name calls a function that has all the others.
    assert {name for name, _, _ in IMPOSSIBLE} == {name for name in names if not name.endswith("_rules")}


def _full_name(table: Table, constraint: CheckConstraint) -> str:
    name = str(constraint.name)
    return name if name.startswith("ck_") else f"ck_{table.name}_{name}"


@pytest.mark.parametrize(("name", "table", "values"), IMPOSSIBLE, ids=[name for name, _, _ in IMPOSSIBLE])
def test_a_row_that_cannot_be_true_is_refused(ledger: Ledger, name: str, table: Table, values: dict[str, Any]) -> None:
    """A bug that would write nonsense is stopped by the database, by the constraint that says what is wrong."""
    with pytest.raises(IntegrityError, match=name), ledger.transaction() as connection:
        connection.execute(insert(table).values(values))
    assert not any(take_snapshot(ledger).values())


@pytest.mark.parametrize("state", list(RunState))
def test_a_run_is_in_a_state_that_some_arrow_leads_to(ledger: Ledger, state: RunState) -> None:
    """Of the states of a run, exactly those are accepted that an arrow leads to."""
    with ledger.transaction() as connection:
        if f"'{state}'" in _reachable_states(run):
            put_run(connection, state=state)
        else:
            with pytest.raises(IntegrityError, match="ck_backout_run_state"), connection.begin_nested():
                put_run(connection, state=state)


@pytest.mark.parametrize("state", list(StepState))
def test_a_step_is_in_a_state_that_some_arrow_leads_to(ledger: Ledger, state: StepState) -> None:
    """Of the states of a step, exactly those are accepted that an arrow leads to."""
    direction = Direction.COMPENSATION if state is StepState.KEPT else Direction.FORWARD
    with ledger.transaction() as connection:
        if f"'{state}'" in _reachable_states(step):
            put_step(connection, key_of(A_RUN, 0, direction), state=state)
        else:
            with pytest.raises(IntegrityError, match="ck_backout_step_state"), connection.begin_nested():
                put_step(connection, key_of(A_RUN, 0, direction), state=state)


def _reachable_states(table: Table) -> str:
    (constraint,) = (
        item for item in table.constraints if isinstance(item, CheckConstraint) and str(item.name).endswith("state")
    )
    return str(constraint.sqltext)


def test_one_source_event_of_a_pipeline_has_one_run(ledger: Ledger) -> None:
    """R9: two runs of one source event cannot be stored, whoever writes them."""
    with ledger.transaction() as connection:
        put_run(connection, state=RunState.RUNNING, source_event_id="form-1")
    with pytest.raises(IntegrityError), ledger.transaction() as connection:
        put_run(connection, state=RunState.RUNNING, source_event_id="form-1")


def test_a_key_of_its_own_is_held_by_one_step(ledger: Ledger) -> None:
    """A key that is unique over runs cannot be held twice, whoever writes it."""
    with ledger.transaction() as connection:
        put_step(connection, key_of(A_RUN), state=StepState.RUNNING, exclusive_key="order-1")
    with pytest.raises(IntegrityError), ledger.transaction() as connection:
        put_step(connection, key_of(new_run_id()), state=StepState.RUNNING, exclusive_key="order-1")


def test_a_step_has_one_row_for_each_round_and_direction(ledger: Ledger) -> None:
    """R2: a second row of the same step, round and direction cannot be stored."""
    with ledger.transaction() as connection:
        put_step(connection, key_of(A_RUN), state=StepState.SUCCEEDED)
        put_step(connection, key_of(A_RUN, 0, Direction.COMPENSATION), state=StepState.READY)
        put_step(connection, key_of(A_RUN, round_number=2), state=StepState.READY)
    with pytest.raises(IntegrityError), ledger.transaction() as connection:
        put_step(connection, key_of(A_RUN), state=StepState.READY)


def test_naive_instants_are_refused(ledger: Ledger) -> None:
    """An instant without a time zone could be any of 38 moments."""
    with pytest.raises(Exception, match="must be aware"), ledger.transaction() as connection:
        put_run(connection, state=RunState.RUNNING, created_at=LONG_AGO.replace(tzinfo=None))


def test_instants_keep_their_microseconds_and_come_back_as_utc(ledger: Ledger) -> None:
    """What was written is what is read, to the microsecond."""
    instant = LATER.replace(microsecond=123_456)
    with ledger.transaction() as connection:
        run_id = put_run(connection, state=RunState.RUNNING, created_at=instant)
        found = connection.execute(select(run.c.created_at).where(run.c.id == run_id)).scalar_one()
    assert found == instant
    assert str(found.tzinfo) == "UTC"
