"""The whole path of one attempt, in either direction, read from top to bottom.

    receive → claim → load → call → record → send → announce → (Celery acknowledges)

The outcome is committed before the message is acknowledged (R1): Celery acknowledges only after `run_step` has returned
or raised. Each ending is one of: recorded and acknowledged, to be tried again, refused with a recorded reason.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from celery import Task
from celery.exceptions import Ignore, Retry

from backout.errors import MessageRefused, StepFailed
from backout.faultpoints import FaultPoint, SimulatedDeath, reach
from backout.ledger import queries, transitions
from backout.ledger.records import Claim, StepRecord
from backout.ledger.session import LEDGER_ERRORS, LedgerConnection
from backout.ledger.transitions.parts import ENGINE
from backout.pipelines.functions import find_function
from backout.pipelines.message import ReceivedMessage, direction_contract, read_message
from backout.states import Answer, Direction, StepState
from backout.tasks.advance import advance
from backout.tasks.attempt import Attempt, Recorded
from backout.tasks.calling import Work, call, cut_off, refuse_late
from backout.tasks.claiming import Taken, steady_seconds, take_claim, worker_name
from backout.tasks.dispatch import send_compensations, send_step
from backout.tasks.outcome import Answered, Lost, Outcome, RetryLater, Skipped, Succeeded
from backout.tasks.process import is_gone
from backout.tasks.record import record
from backout.tasks.repair import end_attempt_of_dead_process, send_for_dead_process
from backout.tasks.runtime import Runtime, runtime_of
from backout.tasks.shield import TIME_IS_UP, shield
from backout.tasks.situation import situation_of

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
    stood_at = runtime.announcer.announce_claim(taken.claim, actor=worker_name(task))
    late = refuse_late(runtime, taken.claim)
    if late is None and steady_seconds() >= taken.ends_at:
        # Held up so long that the others take it for dead: what it would do now, nobody waits for any more.
        _give_back(runtime, task, taken.claim, reason="its claim had ended before its function was called")
        _announce(runtime, task, taken.claim, stood_at)
        raise Ignore
    try:
        outcome = late or call(runtime, work)
    except SimulatedDeath:
        # A dead process records nothing.
        raise
    except BaseException as error:
        # A shutdown in the middle of the function is no failure. Celery gives the message back after this.
        _record_interruption(runtime, work, error)
        _announce(runtime, task, taken.claim, stood_at)
        raise
    reach(FaultPoint.AFTER_CALL)
    recorded = _record_and_send(runtime, work, outcome, task)
    _announce(runtime, task, taken.claim, stood_at)
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
    else:
        _help_after_death(runtime, task, found)
    state = found.state.value if found else "unknown"
    logger.info("backout: nothing to do for %s of run %s (%s)", task.name, message.key.run_id, state)
    raise Ignore


def _help_after_death(runtime: Runtime, task: Task[..., Any], found: StepRecord) -> None:
    """Do at once what the sweeper would do later, where the process that had the claim is certainly gone.

    Celery has seen it die, perhaps, and delivers its message again.
    """
    if not is_gone(found.claimed_by):
        return
    try:
        if found.state is StepState.RUNNING:
            end_attempt_of_dead_process(runtime, found.key, actor=worker_name(task))
        elif found.state.is_finished:
            # It may have been killed after its commit and before it had sent what is next.
            send_for_dead_process(runtime, found.run_id, actor=worker_name(task))
    except LEDGER_ERRORS:
        logger.warning("backout: run %s is left to the sweeper", found.run_id, exc_info=True)


def _carries_more(task: Task[..., Any], found: StepRecord) -> bool:
    """Return whether this is a redelivered link that is done, or was left out, and whose chain has links left."""
    is_done = found.state in (StepState.SUCCEEDED, StepState.SKIPPED)
    return is_done and found.direction is not Direction.FORWARD and bool(task.request.chain)


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
        _give_back(runtime, task, claim, reason=f"this worker cannot run the step: {error}")
        raise Ignore from error
    attempt = Attempt(claim=claim, plan=plan, doubted_attempts=_doubted_attempts(runtime, claim))
    return Work(attempt=attempt, contract=contract, function=function, reused=taken.reused)


def _give_back(runtime: Runtime, task: Task[..., Any], claim: Claim, *, reason: str) -> None:
    """Give back the claim of an attempt whose function was not called; where it was taken meanwhile, say that much."""

    def once() -> None:
        with runtime.ledger.transaction() as connection:
            is_held = transitions.release_uncalled(
                connection,
                claim,
                reason=reason,
                actor=worker_name(task),
                sweep_seconds=runtime.settings.resend_seconds,
            )
            if not is_held:
                transitions.record_late_result(connection, claim, detail={"outcome": "NotCalled", "reason": reason})

    runtime.ledger.persist(once, recognise=lambda _: None, what="a claim that is given back")


def _doubted_attempts(runtime: Runtime, claim: Claim) -> int:
    """Return how many attempts of the step that a question is about ended without an answer; 0 for anything else."""
    if claim.key.direction is not Direction.RECONCILE:
        return 0
    forward = replace(claim.key, direction=Direction.FORWARD)
    found = runtime.ledger.read_patiently(
        lambda connection: queries.find_step(connection, forward),
        what=f"the step that {claim.step} is asked about",
    )
    return found.lost_attempts if found is not None else 0


def _record_interruption(runtime: Runtime, work: Work, error: BaseException) -> None:
    """Record an attempt that a shutdown cut off. Tried once: a dying process waits for no database."""
    decision = advance(situation_of(runtime, work.attempt), cut_off(error))
    try:
        with shield():
            recorded = record(runtime, work.attempt, decision)
            for message in recorded.steps if recorded is not None else ():
                send_step(runtime.app, message)
    except LEDGER_ERRORS:
        claim = work.attempt.claim
        logger.exception("backout: %s of run %s was cut off; its claim will expire", claim.step, claim.key.run_id)


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
    decision = advance(situation_of(runtime, work.attempt), outcome)

    def commit_and_send() -> Recorded | None:
        # A signal waits here: nothing may come out of COMMIT but the database's own answer.
        with shield(forget=TIME_IS_UP):
            reach(FaultPoint.BEFORE_COMMIT)
            recorded = record(runtime, work.attempt, decision)
            reach(FaultPoint.AFTER_COMMIT)
            if recorded is not None:
                _send(task, recorded, outcome)
                reach(FaultPoint.AFTER_SEND)
            return recorded

    def recognise(connection: LedgerConnection) -> Recorded | None:
        found = queries.find_step(connection, claim.key)
        if found is None or found.state is StepState.RUNNING:
            return None
        # An attempt that ends without an answer leaves no token; whoever ended it, it is ended as this one would be.
        is_ended = found.claim_token is None and found.attempt == claim.attempt and isinstance(outcome, Lost)
        is_ours = found.claim_token == claim.token or is_ended
        return Recorded(consequence="recorded; the sweeper sends what is next") if is_ours else None

    claim = work.attempt.claim
    return runtime.ledger.persist(
        commit_and_send,
        recognise=recognise,
        what=f"attempt {claim.attempt} of {claim.step} in run {claim.key.run_id}",
    )


def _is_success(outcome: Outcome) -> bool:
    is_answer = isinstance(outcome, Answered) and outcome.answer is not Answer.UNKNOWN
    return is_answer or isinstance(outcome, Succeeded | Skipped)


def _send(task: Task[..., Any], recorded: Recorded, outcome: Outcome) -> None:
    """Send what the commit made ready."""
    for message in recorded.steps:
        send_step(task.app, message)
    # The undo of a step that turned out not to have happened is left out: what follows it needs a link of its own.
    left_out = isinstance(outcome, Answered) and outcome.answer is Answer.NOT_DONE
    if _is_success(outcome) and len(task.request.chain or ()) > left_out:
        # Celery publishes the next link of the chain itself when this task returns.
        return
    send_compensations(task.app, recorded.compensations)


def _announce(runtime: Runtime, task: Task[..., Any], claim: Claim, stood_at: int | None) -> None:
    """Tell what this attempt has recorded, and not what somebody else has done to its run meanwhile."""
    runtime.announce(claim.key.run_id, after_id=stood_at, actors={ENGINE, worker_name(task)})


def _answer(runtime: Runtime, work: Work, outcome: Outcome, recorded: Recorded | None) -> str:
    """Tell Celery, and so Flower and the log, how it ended."""
    claim = work.attempt.claim
    if recorded is None:
        _keep_late_result(runtime, claim, outcome)
        raise Ignore
    if _is_success(outcome):
        return f"{claim.step}: {recorded.consequence}"
    match outcome:
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
        error=_say_end(outcome),
        consequence=recorded.consequence,
    )


def _say_end(outcome: Outcome) -> str:
    match outcome:
        case Lost(reason=reason) | Skipped(reason=reason):
            return reason
        case Answered(why=why):
            return why
        case Succeeded():
            return ""
        case _:
            return outcome.error.in_one_line


def _keep_late_result(runtime: Runtime, claim: Claim, outcome: Outcome) -> None:
    """Keep the answer of an attempt that had lost its claim as an entry; it is not applied (R3)."""
    detail: dict[str, Any] = {"outcome": type(outcome).__name__}
    match outcome:
        case Succeeded(output=output):
            detail["output"] = output
        case Skipped(reason=reason) | Lost(reason=reason):
            detail["reason"] = reason
        case Answered():
            detail |= outcome.as_json()
        case _:
            detail["error"] = outcome.error.as_json()
    logger.warning(
        "backout: attempt %s of %s in run %s answered after it had lost its claim; the answer is kept as an entry",
        claim.attempt,
        claim.step,
        claim.key.run_id,
    )

    def keep() -> None:
        with runtime.ledger.transaction() as connection:
            transitions.record_late_result(connection, claim, detail=detail)

    # Nothing is dropped: the entry waits for the database. Written twice it would do no harm.
    runtime.ledger.persist(keep, recognise=lambda _: None, what="a late result")


def _write(runtime: Runtime, write: Callable[[LedgerConnection], None]) -> None:
    # As above.
    runtime.ledger.write_patiently(write, what="an entry")
