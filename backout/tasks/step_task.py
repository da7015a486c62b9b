"""The whole path of one attempt, in either direction, read from top to bottom.

    receive → load → claim → call → record → send → (Celery acknowledges)

The outcome is committed before the message is acknowledged (R1): Celery acknowledges only after `run_step` has returned
or raised. Each ending is one of: recorded and acknowledged, to be tried again, refused with a recorded reason.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from celery import Task
from celery.exceptions import Ignore, Retry
from celery.worker import state as worker_state

from backout.errors import MessageRefused, StepFailed, StepTimedOut
from backout.events import Event
from backout.faultpoints import FaultPoint, reach
from backout.jsontext import dump_json
from backout.ledger import queries, transitions
from backout.ledger.records import Claim, StepRecord
from backout.ledger.session import LedgerConnection
from backout.pipelines.contract import CompensationContract, StepContract
from backout.pipelines.message import ReceivedMessage, direction_contract, read_message
from backout.pipelines.registry import TaskFunction, find_function
from backout.pipelines.schema import Unserialisable, from_json, to_json
from backout.states import Direction, StepState
from backout.tasks.advance import Situation, advance
from backout.tasks.attempt import Attempt, Recorded
from backout.tasks.claiming import DEADLINE_GRACE_SECONDS, Taken, take_claim, worker_name
from backout.tasks.context import CompensationContext, StepContext, undone_step
from backout.tasks.deadline import time_limit
from backout.tasks.dispatch import send_compensations, send_step
from backout.tasks.heartbeat import heartbeat
from backout.tasks.outcome import ErrorFacts, Failed, Lost, Outcome, RetryLater, Skipped, Succeeded, classify
from backout.tasks.record import record
from backout.tasks.runtime import Runtime, runtime_of
from backout.tasks.shield import TIME_IS_UP, shield

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What this worker knows about a claimed attempt before it calls the function."""

    attempt: Attempt
    contract: StepContract | CompensationContract
    function: TaskFunction
    reused: StepRecord | None


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
    outcome = _call(runtime, work)
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
    found = runtime.ledger.read(lambda connection: queries.find_step(connection, message.key))
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
        plan = runtime.plan_of(claim.key.run_id, claim.run.definition_digest)
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


def _call(runtime: Runtime, work: Work) -> Outcome:
    """Call the user's function, with its timeout and a heartbeat, and name the outcome."""
    claim, contract = work.attempt.claim, work.contract
    if work.reused is not None:
        return Succeeded(output=work.reused.output)
    seconds = contract.timeout_seconds
    try:
        with (
            heartbeat().holding(
                runtime.ledger,
                claim,
                lease_seconds=runtime.settings.lease_seconds,
                at_most_seconds=seconds + DEADLINE_GRACE_SECONDS,
            ),
            time_limit(seconds, lambda: StepTimedOut(step=claim.step, timeout_seconds=seconds)),
        ):
            result = _call_function(runtime, work)
    except Exception as error:
        return _cut_off(error) if _is_being_terminated() else _classify(contract, claim, error)
    except BaseException as error:
        # A shutdown in the middle of the function is no failure. Celery gives the message back after this.
        _record_and_send(runtime, work, _cut_off(error), None)
        raise
    return _validated(runtime, work, result)


def _call_function(runtime: Runtime, work: Work) -> Any:
    claim, schema = work.attempt.claim, work.function.schema
    data = [from_json(schema.argument_types[0], claim.run.input)]
    if claim.key.direction is Direction.FORWARD:
        context: StepContext = StepContext(ledger=runtime.ledger, claim=claim, contract=work.attempt.contract)
    else:
        context = undoing = _compensation_context(runtime, work)
        data.append(undoing.undoes.output)
    return work.function.call(*data, *((context,) if schema.takes_context else ()))


def _compensation_context(runtime: Runtime, work: Work) -> CompensationContext:
    claim = work.attempt.claim

    def read(connection: LedgerConnection) -> tuple[StepRecord | None, str, str]:
        forward = queries.find_step(connection, replace(claim.key, direction=Direction.FORWARD))
        cause, requested_by = queries.find_rollback_cause(connection, claim.key.run_id)
        return forward, cause, requested_by

    forward, cause, requested_by = runtime.ledger.read(read)
    if forward is None:
        message = f"run {claim.key.run_id} has a compensation of {claim.step} and no such step"
        raise LookupError(message)
    return CompensationContext(
        ledger=runtime.ledger,
        claim=claim,
        contract=work.attempt.contract,
        undoes=undone_step(work.attempt.contract, forward),
        cause=cause,
        requested_by=requested_by,
    )


def _is_being_terminated() -> bool:
    """Return whether a cold shutdown has begun: what user code raises then is the shutdown's doing."""
    return worker_state.should_terminate is not None and worker_state.should_terminate is not False


def _classify(contract: StepContract | CompensationContract, claim: Claim, error: Exception) -> Outcome:
    return classify(
        error,
        retry=contract.retry,
        is_idempotent=contract.idempotent,
        failed_attempts=claim.attempt - claim.lost_attempts,
        chance=random.random(),
    )


def _cut_off(error: BaseException) -> Lost:
    return Lost(reason=f"the attempt was cut off by a shutdown ({type(error).__name__})")


def _validated(runtime: Runtime, work: Work, result: Any) -> Outcome:
    """Check the output before it is recorded. One that cannot be stored is a failure that no retry mends."""
    try:
        output = to_json(work.function.schema.output_type, result)
    except Unserialisable as error:
        return Failed(error=_output_error(f"the output cannot be recorded: {error}", result))
    size_bytes = len(dump_json(output).encode())
    if size_bytes > runtime.settings.max_payload_bytes:
        limit = runtime.settings.max_payload_bytes
        return Failed(error=_output_error(f"the output is {size_bytes:,} bytes, the limit is {limit:,}", result))
    return Succeeded(output=output)


def _output_error(message: str, result: Any) -> ErrorFacts:
    shown = repr(result).replace("\x00", "")[:1_000]
    return ErrorFacts(type="backout.OutputInvalid", message=message, code="output_invalid", traceback=f"got {shown}")


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
    task: Task[..., Any] | None,
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
            if recorded is not None and task is not None:
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
    def once() -> None:
        with runtime.ledger.change() as connection:
            write(connection)

    runtime.ledger.repeat(once)
