"""Record that a question about a step is asked, and what its answer does: confirm, run again, undo or leave out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from backout.compensations.reviews import open_review
from backout.identifiers import new_task_id
from backout.ledger import due, queries, transitions
from backout.ledger.records import StepRecord
from backout.ledger.session import LedgerConnection
from backout.pipelines.message import StepMessage
from backout.pipelines.words import state_when_stopped
from backout.states import Answer, Direction, StepState
from backout.tasks.attempt import Attempt, Ended, Recorded
from backout.tasks.decisions import AskFirst, Confirm, RunAgain, Unanswered, UndoAnswered, Verified
from backout.tasks.onward import next_message, onward_of
from backout.tasks.rollback import say_wait, walk_on
from backout.tasks.runtime import Runtime


def ask_first(
    connection: LedgerConnection,
    runtime: Runtime,
    attempt: Attempt,
    decision: AskFirst,
    ended: Ended,
) -> Recorded | None:
    """Record an attempt without an answer and ask the step's reconcile function; needs a transaction."""
    claim, contract = attempt.claim, attempt.contract
    is_recorded = transitions.doubt_step(
        connection,
        claim.key,
        token=claim.token,
        reason=decision.reason,
        operator_state=state_when_stopped(attempt.last_done, contract, how="in_doubt"),
        actor=ended.actor,
        may_run_until=ended.may_run_until,
    )
    if not is_recorded:
        return None
    # Asked while the attempt may still run, it could say "not done" a moment before it is.
    wait_until = due.alive_until(connection, claim.key.run_id, of=claim.key)
    question = transitions.NewQuestion(
        key=replace(claim.key, direction=Direction.RECONCILE),
        step=claim.step,
        state=StepState.READY if wait_until is None else StepState.WAITING,
        start_order=claim.start_order,
        idempotency_key=claim.idempotency_key,
        task_id=new_task_id(),
        reason=decision.reason if wait_until is None else f"{decision.reason}; {say_wait(wait_until)}",
        wait_until=wait_until,
    )
    transitions.ask_question(
        connection,
        question,
        resend_seconds=runtime.settings.resend_seconds,
        actor=ended.actor,
    )
    if wait_until is not None:
        return Recorded(consequence=f"the question to its reconcile function {say_wait(wait_until)}")
    message = StepMessage.of(attempt.plan, question.key, task_id=question.task_id, parent_id=claim.task_id)
    return Recorded(consequence="its reconcile function is asked", steps=(message,))


def confirm(connection: LedgerConnection, runtime: Runtime, attempt: Attempt, decision: Confirm) -> Recorded | None:
    """Record that a step in doubt had happened, and what comes next; needs a transaction."""
    doubted = _answer(connection, attempt, decision.answer.as_json())
    if doubted is None:
        return None
    onward = onward_of(runtime, attempt, decision.onward, step_key=doubted.idempotency_key)
    is_confirmed = transitions.confirm_step(
        connection,
        doubted,
        output=decision.answer.output,
        reason="its reconcile function found that it had happened",
        onward=onward,
    )
    return _say_moot() if not is_confirmed else next_message(attempt, onward)


def run_again(connection: LedgerConnection, runtime: Runtime, attempt: Attempt, decision: RunAgain) -> Recorded | None:
    """Let a step in doubt run again, because it has not happened; needs a transaction."""
    doubted = _answer(connection, attempt, decision.answer.as_json())
    if doubted is None:
        return None
    task_id = new_task_id()
    is_cleared = transitions.clear_doubt(
        connection,
        doubted.key,
        task_id=task_id,
        reason="its reconcile function found that it had not happened",
        operator_state=decision.operator_state,
        resend_seconds=runtime.settings.resend_seconds,
    )
    if not is_cleared:
        return _say_moot()
    message = StepMessage.of(
        attempt.plan,
        doubted.key,
        task_id=task_id,
        attempt=doubted.attempt + 1,
        parent_id=attempt.claim.task_id,
    )
    return Recorded(consequence=f"{doubted.step} has not happened and runs again", steps=(message,))


def undo_answered(
    connection: LedgerConnection, runtime: Runtime, attempt: Attempt, decision: UndoAnswered
) -> Recorded | None:
    """On the way back: record the answer, leave out an undo that has nothing to undo, and go on."""
    if _answer(connection, attempt, decision.answer.as_json()) is None:
        return None
    if decision.answer.answer is Answer.NOT_DONE:
        transitions.drop_compensation(
            connection,
            replace(attempt.claim.key, direction=Direction.COMPENSATION),
            reason="its reconcile function found that the step had not happened",
        )
        transitions.free_key(connection, attempt.claim.key)
    return walk_on(connection, runtime, attempt)


def verified(connection: LedgerConnection, runtime: Runtime, attempt: Attempt, decision: Verified) -> Recorded | None:
    """Record that what a step has published is live, and what comes next; needs a transaction."""
    published = _subject(connection, attempt)
    onward = onward_of(runtime, attempt, decision.onward)
    is_recorded = transitions.verify_step(connection, attempt.claim, run_output=published.output, onward=onward)
    return next_message(attempt, onward) if is_recorded else None


def leave_open(connection: LedgerConnection, attempt: Attempt, decision: Unanswered) -> Recorded | None:
    """Record that a question left the matter open, and ask a person about its step; needs a transaction."""
    claim = attempt.claim
    if decision.answer is not None:
        is_recorded = transitions.answer_question(connection, claim, answer=decision.answer.as_json())
    else:
        error = decision.error.as_json() if decision.error is not None else {}
        is_recorded = transitions.fail_step(connection, claim, error=error, reason=decision.reason)
    if not is_recorded:
        return None
    open_review(
        connection,
        attempt.plan,
        # The person is asked about the step, not about the function that could not tell.
        _subject(connection, attempt).key,
        decision.review,
        reason=decision.reason,
        how="live_unknown" if claim.key.direction is Direction.VERIFY else "in_doubt",
    )
    return Recorded(consequence=f"a person is asked ({decision.review.value})")


def _answer(connection: LedgerConnection, attempt: Attempt, answer: Mapping[str, Any]) -> StepRecord | None:
    """Record an answer; return the step that it is about, `None` when the claim was lost meanwhile."""
    if not transitions.answer_question(connection, attempt.claim, answer=answer):
        return None
    return _subject(connection, attempt)


def _subject(connection: LedgerConnection, attempt: Attempt) -> StepRecord:
    key = replace(attempt.claim.key, direction=Direction.FORWARD)
    found = queries.find_step(connection, key)
    if found is None:
        message = f"run {key.run_id} has a question about {attempt.claim.step} and no such step"
        raise LookupError(message)
    return found


def _say_moot() -> Recorded:
    return Recorded(consequence="the step is not in doubt any more, because a person has decided")
