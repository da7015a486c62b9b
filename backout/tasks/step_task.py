"""The whole path of one attempt, in either direction, read from top to bottom.

    receive → claim → load → call → record → send → announce → (Celery acknowledges)

In a burst `record` has claimed the next step as well, nothing is sent for it, and its path begins at `load`.

The outcome is committed before the message is acknowledged (R1): Celery acknowledges only after `run_step` has returned
or raised. Each ending is one of: recorded and acknowledged, to be tried again, refused with a recorded reason.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from celery import Task
from celery.exceptions import Ignore, Retry

from backout.errors import StepFailed
from backout.faultpoints import FaultPoint, SimulatedDeath, reach
from backout.ledger import queries, transitions
from backout.ledger.records import Claim
from backout.ledger.session import LEDGER_ERRORS, LedgerConnection
from backout.ledger.transitions.parts import ENGINE
from backout.pipelines.functions import find_function
from backout.pipelines.message import direction_contract
from backout.states import Answer, Direction, StepState
from backout.tasks.advance import advance
from backout.tasks.attempt import Attempt, Recorded
from backout.tasks.burst import Hand, hand_of, handed_over
from backout.tasks.calling import Work, call, cut_off, refuse_late
from backout.tasks.claiming import Taken, steady_seconds, take_claim, worker_name
from backout.tasks.dispatch import send_compensations, send_step
from backout.tasks.outcome import Answered, Lost, Outcome, RetryLater, Skipped, Succeeded
from backout.tasks.receiving import pass_by, read_chain, receive
from backout.tasks.record import record
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
    taken = handed_over(task.request.id)
    if taken is None:
        message = receive(task, runtime, arguments, keywords)
        reach(FaultPoint.BEFORE_CLAIM)
        taken = take_claim(runtime, task, message)
        if taken is None:
            return pass_by(task, runtime, message)
        if task.request.chain:
            # A message alone goes on with the next link only.
            most = None if runtime.settings.burst_seconds > 0 else 1
            taken = replace(taken, ahead=read_chain(task.request.chain, most=most))
    reach(FaultPoint.AFTER_CLAIM)
    work = _load(runtime, task, taken)
    stood_at = runtime.announcer.announce_claim(taken.claim)
    late = refuse_late(runtime, taken.claim)
    if late is None and steady_seconds() >= taken.ends_at:
        # Held up so long that the others take it for dead: what it would do now, nobody waits for any more.
        _give_back(runtime, task, taken.claim, reason="its claim had ended before its function was called")
        _announce(runtime, work, stood_at)
        raise Ignore
    try:
        outcome = late or call(runtime, work)
    except SimulatedDeath:
        # A dead process records nothing.
        raise
    except BaseException as error:
        # A shutdown in the middle of the function is no failure. Celery gives the message back after this.
        _record_interruption(runtime, work, error)
        _announce(runtime, work, stood_at)
        raise
    reach(FaultPoint.AFTER_CALL)
    recorded = _record_and_send(runtime, work, outcome, task)
    _announce(runtime, work, stood_at, recorded)
    return _answer(runtime, work, outcome, recorded)


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
    doubted_attempts = _doubted_attempts(runtime, claim)
    attempt = Attempt(claim=claim, plan=plan, doubted_attempts=doubted_attempts, ahead=taken.ahead)
    return Work(attempt=attempt, contract=contract, function=function, worker=worker_name(task), reused=taken.reused)


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
    hand = hand_of(runtime, task, work.worker, work.contract.options)

    def commit_and_send() -> Recorded | None:
        # A signal waits here: nothing may come out of COMMIT but the database's own answer.
        with shield(forget=TIME_IS_UP):
            reach(FaultPoint.BEFORE_COMMIT)
            recorded = record(runtime, work.attempt, decision, hand)
            reach(FaultPoint.AFTER_COMMIT)
            if recorded is not None:
                _send_or_go_on(task, recorded, outcome, hand)
                reach(FaultPoint.AFTER_SEND)
            return recorded

    def recognise(connection: LedgerConnection) -> Recorded | None:
        found = queries.find_step(connection, claim.key)
        if found is None or found.state is StepState.RUNNING:
            return None
        # An attempt that ends without an answer leaves no token; whoever ended it, it is ended as this one would be.
        is_ended = found.claim_token is None and found.attempt == claim.attempt and isinstance(outcome, Lost)
        if not (found.claim_token == claim.token or is_ended):
            return None
        taken = hand.find_taken(connection) if hand is not None else None
        if hand is not None and taken is not None:
            hand.take_up(*taken)
            return Recorded(consequence=f"{taken[1].step} is next, at once", claimed=taken)
        return Recorded(consequence="recorded; the sweeper sends what is next")

    claim = work.attempt.claim
    return runtime.ledger.persist(
        commit_and_send,
        recognise=recognise,
        what=f"attempt {claim.attempt} of {claim.step} in run {claim.key.run_id}",
    )


def _is_success(outcome: Outcome) -> bool:
    is_answer = isinstance(outcome, Answered) and outcome.answer is not Answer.UNKNOWN
    return is_answer or isinstance(outcome, Succeeded | Skipped)


def _send_or_go_on(task: Task[..., Any], recorded: Recorded, outcome: Outcome, hand: Hand | None) -> None:
    """Send what the commit made ready, unless it is claimed and this worker goes on with it."""
    if hand is not None and recorded.claimed is not None:
        # What is left of the way back follows from the ledger; Celery would send the next link a second time.
        task.request.chain = None
        hand.take_up(*recorded.claimed, recorded.ahead)
        return
    _send(task, recorded, outcome)


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


def _announce(runtime: Runtime, work: Work, stood_at: int | None, recorded: Recorded | None = None) -> None:
    """Tell what this attempt has recorded, and not what somebody else has done to its run meanwhile.

    Nor the start of the step that this worker goes on with, which that step tells itself.
    """
    following = recorded.claimed[1] if recorded is not None and recorded.claimed is not None else None
    run_id = work.attempt.claim.key.run_id
    runtime.announce(run_id, after_id=stood_at, actors={ENGINE, work.worker}, without_claim=following)


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
