"""What a compensation is told about the step that it undoes, and why it runs at all."""

from __future__ import annotations

from sqlalchemy import update

from backout.identifiers import RunId
from backout.ledger import transitions, undoing
from backout.ledger.models import run
from backout.ledger.session import Ledger, LedgerConnection
from backout.states import Direction, RunState, StepState
from tests.support.ledgers import create_run, key_of, put_run, put_step


def find(ledger: Ledger, run_id: RunId, position: int = 0) -> undoing.Background | None:
    key = key_of(run_id, position, Direction.COMPENSATION)
    return ledger.read(lambda connection: undoing.find_background(connection, key))


def put_rollback(ledger: Ledger, **values: object) -> RunId:
    """Write a run that was turned round twice, the second time by a person."""
    with ledger.transaction() as connection:
        run_id = put_run(connection, state=RunState.RUNNING)
        put_step(connection, key_of(run_id), state=StepState.SUCCEEDED, output={"charge": 1}, **values)
        put_step(connection, key_of(run_id, 1), state=StepState.SUCCEEDED)
        put_step(connection, key_of(run_id, 0, Direction.COMPENSATION), state=StepState.PENDING)
        for actor, reason in (("engine", "first"), ("anna", "declined")):
            transitions.begin_rollback(
                connection,
                run_id,
                operator_state="…",
                error_summary=reason,
                requested_by=actor,
                compensations=(),
            )
            put_run_back(connection, run_id)
    return run_id


def put_run_back(connection: LedgerConnection, run_id: RunId) -> None:
    """Let the run be turned round again."""
    connection.execute(update(run).where(run.c.id == run_id).values(state=RunState.RUNNING.value))


def test_it_is_the_step_and_who_asked_last(ledger: Ledger) -> None:
    """A compensation is told what it undoes, and why it runs this time."""
    found = find(ledger, put_rollback(ledger))
    assert found is not None
    assert (found.forward.position, found.forward.direction, found.forward.output) == (
        0,
        Direction.FORWARD,
        {"charge": 1},
    )
    assert (found.cause, found.requested_by) == ("declined", "anna")
    assert found.question is None


def test_question_about_the_step_is_told_too(ledger: Ledger) -> None:
    """What a reconcile function has found is the output of a step that never answered."""
    run_id = put_rollback(ledger)
    question = key_of(run_id, 0, Direction.RECONCILE)
    with ledger.transaction() as connection:
        put_step(connection, question, state=StepState.SUCCEEDED, output={"answer": "done"})
        put_step(connection, key_of(run_id, 0, Direction.VERIFY), state=StepState.SUCCEEDED, output={"answer": "no"})
    found = find(ledger, run_id)
    assert found is not None
    assert found.question is not None
    assert (found.forward.key, found.question.key) == (key_of(run_id), question)
    assert found.question.output == {"answer": "done"}


def test_run_that_was_never_rolled_back_has_no_cause(ledger: Ledger) -> None:
    """Asking too early is no error."""
    found = find(ledger, create_run(ledger))
    assert found is not None
    assert (found.cause, found.requested_by) == ("", "")


def test_row_without_a_step_is_none(ledger: Ledger) -> None:
    """A row that somebody has written by hand is told apart from one that has nothing to tell."""
    assert find(ledger, create_run(ledger), position=3) is None
