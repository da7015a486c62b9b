"""The whole path of one attempt, in either direction, read from top to bottom.

    receive → claim → load → call → record → send → (Celery acknowledges)

The outcome is committed before the message is acknowledged (R1): Celery acknowledges only after `run_step` has returned
or raised. Each ending is one of: recorded and acknowledged, to be tried again, refused with a recorded reason.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from celery import Task
from celery.exceptions import Ignore, Retry

from backout.errors import MessageRefused, StepFailed
from backout.events import Event
from backout.faultpoints import FaultPoint, reach
from backout.ledger import queries, transitions
from backout.ledger.records import Claim, StepRecord
from backout.ledger.session import LEDGER_ERRORS, LedgerConnection
from backout.pipelines.functions import find_function
from backout.pipelines.message import ReceivedMessage, direction_contract, read_message
from backout.states import Direction, StepState
from backout.tasks.advance import Situation, advance
from backout.tasks.attempt import Attempt, Recorded
from backout.tasks.calling import Work, call, cut_off
from backout.tasks.claiming import Taken, take_claim, worker_name
from backout.tasks.dispatch import send_compensations, send_step
from backout.tasks.outcome import Lost, Outcome, RetryLater, Skipped, Succeeded
from backout.tasks.record import record
from backout.tasks.runtime import Runtime, runtime_of
from backout.tasks.shield import TIME_IS_UP, shield

logger = logging.getLogger(__name__)


def run_step(task: Task[..., Any], arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> str | None:
    """Run one message of a step or a compensation to its recorded end. Celery calls this as the task.

    Returns:
        A few words for Flower; also for a compensation that is done already, so that its chain goes on.

    Raises:
        celery.exceptions.Ignore: nothing was to do: a duplicate, or a message that came too early.
        celery.exceptions.Retry: the attempt failed, another one is recorded.
        StepFailed: the attempt failed for good; what follows is recorded.
        MessageRefused: it is no message of this engine; recorded.
    """
    runtime = runtime_of(task.app)
    message = _receive(task, runtime, arguments, keywords)
    reach(FaultPoint.BEFORE_CLAIM)
    taken = take_claim(runtime, task, message)
    if taken is None:
        return _pass_by(task, runtime, message)
    reach(FaultPoint.AFTER_CLAIM)
    work = _load(runtime, task, taken)
    try:
        outcome = call(runtime, work)
    except BaseException as error:
        # A shutdown in the middle of the function is no failure. Celery gives the message back after this.
        _record_interruption(runtime, work, error)
        raise
    reach(FaultPoint.AFTER_CALL)
    recorded = _record_and_send(runtime, work, outcome, task)
    return _answer(runtime, work, outcome, recorded)


def _receive(
    task: Task[..., Any],
    runtime: Runtime,
    arguments: tuple[Any, ...],
    keywords: Mapping[str, Any],
) -> ReceivedMessage:
    """Read the message; keep one that cannot be read as an entry (R10)."""
    try:
        return read_message(task.name, arguments, keywords)
    except MessageRefused as refused:
        problem = refused.problem
        detail = {"task": task.name, "task_id": task.request.id, "message": repr((arguments, keywords))[:2_000]}
        _write(
            runtime,
            lambda connection: transitions.record_refused_message(
                connection,
                key=None,
                actor=worker_name(task),
                reason=problem,
                detail=detail,
            ),
        )
        raise


def _pass_by(task: Task[..., Any], runtime: Runtime, message: ReceivedMessage) -> str:
    """End a message that has nothing to do: done already, somebody else's, too early, or of a run that is not there."""
    found = runtime.ledger.read_patiently(
        lambda where: queries.find_step(where, message.key), what=f"a look at {task.name}"
    )
    if found is None:
        _write(
            runtime,
            lambda connection: transitions.record_refused_message(
                connection,
                key=message.key,
                actor=worker_name(task),
                reason="the ledger has no such step: its transaction has not committed, or the run was removed",
                detail={"task": task.name, "task_id": task.request.id},
            ),
        )
    elif _carries_more(task, found):
        return "already recorded; the chain goes on"
    state = found.state.value if found else "unknown"
    logger.info("backout: nothing to do for %s of run %s (%s)", task.name, message.key.run_id, state)
    raise Ignore


def _carries_more(task: Task[..., Any], found: StepRecord) -> bool:
    """Return whether this is a redelivered compensation that is done and whose chain has links left to publish."""
    is_done = found.state in (StepState.SUCCEEDED, StepState.SKIPPED)
    return is_done and found.direction is Direction.COMPENSATION and bool(task.request.chain)


def _load(runtime: Runtime, task: Task[..., Any], taken: Taken) -> Work:
    """Put together the plan recorded with the run and this worker's function.

    Where this worker is too old for the run, it gives the claim back for another one: the function was not called.
    """
    claim = taken.claim
    try:
        plan = runtime.ledger.persist(
            lambda: runtime.plan_of(claim.key.run_id, claim.run.definition_digest),
            recognise=lambda _: None,
            what=f"the plan of run {claim.key.run_id}",
        )
        contract = direction_contract(plan.steps[claim.key.position], claim.key.direction)
        function = find_function(contract.task)
        if function is None:
            message = f"the plan names task {contract.task!r}, which this worker does not define"
            raise LookupError(message)
    except (LookupError, ValueError) as error:
        logger.exception("backout: %s of run %s is left to another worker", claim.step, claim.key.run_id)
        with runtime.ledger.change() as connection:
            transitions.release_claim(
                connection,
                claim.key,
                token=claim.token,
                reason=f"this worker cannot run the step: {error}",
                actor=worker_name(task),
                sweep_seconds=runtime.settings.resend_seconds,
            )
        raise Ignore from error
    return Work(attempt=Attempt(claim=claim, plan=plan), contract=contract, function=function, reused=taken.reused)


def _record_interruption(runtime: Runtime, work: Work, error: BaseException) -> None:
    """Record an attempt that a shutdown cut off. Tried once: a dying process waits for no database."""
    decision = advance(_situation(runtime, work), cut_off(error))
    try:
        with shield():
            record(runtime, work.attempt, decision)
    except LEDGER_ERRORS:
        claim = work.attempt.claim
        logger.exception("backout: %s of run %s was cut off; its claim will expire", claim.step, claim.key.run_id)


def _situation(runtime: Runtime, work: Work) -> Situation:
    claim = work.attempt.claim
    return Situation(
        plan=work.attempt.plan,
        position=claim.key.position,
        direction=claim.key.direction,
        last_done=work.attempt.last_done,
        is_idempotent=work.contract.idempotent,
        lost_attempts=claim.lost_attempts,
        lost_attempts_limit=runtime.settings.lost_attempts_limit,
    )


def _record_and_send(
    runtime: Runtime,
    work: Work,
    outcome: Outcome,
    task: Task[..., Any],
) -> Recorded | None:
    """Commit the outcome and what comes next, then send; keep at it while the database is away.

    Returns:
        `None` when the claim was lost meanwhile: nothing was written.
    """
    decision = advance(_situation(runtime, work), outcome)

    def commit_and_send() -> Recorded | None:
        # A signal waits here: nothing may come out of COMMIT but the database's own answer.
        with shield(forget=TIME_IS_UP):
            reach(FaultPoint.BEFORE_COMMIT)
            recorded = record(runtime, work.attempt, decision)
            reach(FaultPoint.AFTER_COMMIT)
            if recorded is not None:
                _send(task, recorded, is_success=isinstance(outcome, Succeeded | Skipped))
                reach(FaultPoint.AFTER_SEND)
            return recorded

    def recognise(connection: LedgerConnection) -> Recorded | None:
        found = queries.find_step(connection, claim.key)
        is_ours = found is not None and found.claim_token == claim.token and found.state is not StepState.RUNNING
        return Recorded(consequence="recorded; the sweeper sends what is next") if is_ours else None

    claim = work.attempt.claim
    return runtime.ledger.persist(
        commit_and_send,
        recognise=recognise,
        what=f"attempt {claim.attempt} of {claim.step} in run {claim.key.run_id}",
    )


def _send(task: Task[..., Any], recorded: Recorded, *, is_success: bool) -> None:
    """Send what the commit made ready."""
    for message in recorded.steps:
        send_step(task.app, message)
    if is_success and task.request.chain:
        # Celery publishes the next link of the chain itself when this task returns.
        return
    send_compensations(task.app, recorded.compensations)


def _answer(runtime: Runtime, work: Work, outcome: Outcome, recorded: Recorded | None) -> str:
    """Tell Celery, and so Flower and the log, how it ended."""
    claim = work.attempt.claim
    if recorded is None:
        _keep_late_result(runtime, claim, outcome)
        raise Ignore
    match outcome:
        case Succeeded() | Skipped():
            return f"{claim.step}: {recorded.consequence}"
        case RetryLater(error=error, delay_seconds=delay):
            logger.info(
                "backout: attempt %s of %s in run %s failed: %s; recorded, %s",
                claim.attempt,
                claim.step,
                claim.key.run_id,
                error.in_one_line,
                recorded.consequence,
            )
            raise Retry(error.in_one_line, when=round(delay, 3))
    raise StepFailed(
        run_id=claim.key.run_id,
        step=claim.step,
        attempt=claim.attempt,
        error=outcome.reason if isinstance(outcome, Lost) else outcome.error.in_one_line,
        consequence=recorded.consequence,
    )


def _keep_late_result(runtime: Runtime, claim: Claim, outcome: Outcome) -> None:
    """Keep the answer of an attempt that had lost its claim as an entry; it is not applied (R3)."""
    detail: dict[str, Any] = {"outcome": type(outcome).__name__}
    match outcome:
        case Succeeded(output=output):
            detail["output"] = output
        case Skipped(reason=reason) | Lost(reason=reason):
            detail["reason"] = reason
        case _:
            detail["error"] = outcome.error.as_json()
    logger.warning(
        "backout: attempt %s of %s in run %s answered after it had lost its claim; the answer is kept as an entry",
        claim.attempt,
        claim.step,
        claim.key.run_id,
    )
    _write(
        runtime,
        lambda connection: transitions.record_fact(
            connection,
            claim,
            event=Event.LATE_RESULT,
            reason="the attempt had lost its claim",
            detail=detail,
        ),
    )


def _write(runtime: Runtime, write: Callable[[LedgerConnection], None]) -> None:
    # Nothing is dropped: the entry waits for the database. Written twice it would do no harm.
    runtime.ledger.write_patiently(write, what="an entry")
