"""Call the user's function, with its timeout and a heartbeat, and name the outcome."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

from celery.worker import state as worker_state

from backout.errors import StepTimedOut
from backout.ledger import queries, undoing
from backout.ledger.records import Claim, StepRecord
from backout.ledger.session import LedgerConnection
from backout.pipelines.contract import CompensationContract, QuestionContract, StepContract
from backout.pipelines.functions import TaskFunction, find_function
from backout.pipelines.masking import declares_any
from backout.pipelines.message import KILL_GRACE_SECONDS
from backout.pipelines.schema import NotDone, Schema, Unknown, Unserialisable, from_json, to_json_text
from backout.states import Answer, Direction
from backout.tasks.attempt import Attempt
from backout.tasks.burst import is_to_be_killed
from backout.tasks.claiming import DEADLINE_GRACE_SECONDS
from backout.tasks.context import CompensationContext, StepContext, undone_step
from backout.tasks.deadline import time_limit
from backout.tasks.heartbeat import heartbeat
from backout.tasks.outcome import (
    MESSAGE_CHARACTERS,
    Answered,
    ErrorFacts,
    Failed,
    Lost,
    Outcome,
    RetryLater,
    Succeeded,
    classify,
    storable,
)
from backout.tasks.runtime import Runtime
from backout.tasks.secrets import find_secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What this worker knows about a claimed attempt before it calls the function.

    Attributes:
        worker: who runs it, for the entries.
    """

    attempt: Attempt
    contract: StepContract | CompensationContract | QuestionContract
    function: TaskFunction
    worker: str
    reused: StepRecord | None


def call(runtime: Runtime, work: Work) -> Outcome:
    """Call the user's function and name the outcome.

    Raises:
        BaseException: what is no `Exception` is a shutdown in the middle of the function, and goes on to Celery.
    """
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
                kill_seconds=seconds + KILL_GRACE_SECONDS if is_to_be_killed() else math.inf,
            ),
            time_limit(seconds, lambda: StepTimedOut(step=claim.step, timeout_seconds=seconds)),
        ):
            result = _call_function(runtime, work)
    except Exception as error:
        return cut_off(error) if _is_being_terminated() else _classify(runtime, work, error)
    return _name_result(runtime, work, result)


def refuse_late(runtime: Runtime, claim: Claim) -> Failed | None:
    """Return the failure of a forward step that would start after its run's deadline; `None` while there is time."""
    deadline_at = claim.run.deadline_at
    if deadline_at is None or claim.key.direction is not Direction.FORWARD:
        return None
    if deadline_at > runtime.ledger.read_patiently(queries.read_clock, what=f"the deadline of {claim.step}"):
        return None
    message = f"the run's deadline passed at {claim.run.deadline_at:%Y-%m-%d %H:%M:%S} UTC; the step was not called"
    facts = ErrorFacts(type="backout.RunDeadlinePassed", message=message, code="run_deadline_passed")
    # An earlier attempt may have had its effect.
    return Failed(error=facts, no_effect=claim.attempt == 1)


def _call_function(runtime: Runtime, work: Work) -> Any:
    claim, schema, contract = work.attempt.claim, work.function.schema, work.attempt.contract
    data = [from_json(schema.argument_types[0], claim.run.input)]
    if claim.key.direction is Direction.FORWARD:
        context = StepContext(ledger=runtime.ledger, claim=claim, contract=contract)
    else:
        companion = _companion_of(runtime, work)
        context = companion.context
        data += companion.more_data
    return work.function.call(*data, *((context,) if schema.takes_context else ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Companion:
    """What a compensation or a question is called with, besides the run's input."""

    context: StepContext
    more_data: tuple[Any, ...] = ()


def _companion_of(runtime: Runtime, work: Work) -> _Companion:
    claim, contract = work.attempt.claim, work.attempt.contract
    # An outage is no failure of the companion: it waits, at most until its timeout.
    known = work.attempt.ahead.backgrounds.get(claim.key) or runtime.ledger.read_patiently(
        lambda connection: _read_background(connection, claim),
        what=f"the context of {claim.step}",
    )
    if claim.key.direction is Direction.COMPENSATION:
        undoes = undone_step(contract, known.forward, known.question)
        context = CompensationContext(
            ledger=runtime.ledger,
            claim=claim,
            contract=contract,
            undoes=undoes,
            cause=known.cause,
            requested_by=known.requested_by,
        )
        return _Companion(context=context, more_data=(undoes.output,))
    ids = known.forward.external_ids
    asking = StepContext(ledger=runtime.ledger, claim=claim, contract=contract, ids_of_step=ids)
    if claim.key.direction is Direction.RECONCILE:
        return _Companion(context=asking)
    step = find_function(contract.task)
    stored = known.forward.output
    output = stored if step is None else from_json(step.schema.output_type, stored)
    return _Companion(context=asking, more_data=(output,))


def _read_background(connection: LedgerConnection, claim: Claim) -> undoing.Background:
    found = undoing.find_background(connection, claim.key)
    if found is None:
        message = f"run {claim.key.run_id} has a {claim.key.direction} of {claim.step} and no such step"
        raise LookupError(message)
    return found


def _is_being_terminated() -> bool:
    """Return whether a cold shutdown has begun: what user code raises then is the shutdown's doing."""
    return worker_state.should_terminate is not None and worker_state.should_terminate is not False


def _classify(runtime: Runtime, work: Work, error: Exception) -> Outcome:
    return classify(
        error,
        retry=work.contract.retry,
        is_idempotent=work.contract.idempotent,
        failed_attempts=work.attempt.claim.failed_attempts,
        chance=random.random(),
        secrets=find_secrets(runtime, work.attempt),
    )


def cut_off(error: BaseException) -> Lost:
    """Return the outcome of an attempt that a shutdown ended."""
    return Lost(reason=f"the attempt was cut off by a shutdown ({type(error).__name__})")


def _name_result(runtime: Runtime, work: Work, result: Any) -> Outcome:
    match work.attempt.claim.key.direction:
        case Direction.RECONCILE:
            return _name_answer(runtime, work, result)
        case Direction.VERIFY:
            return _name_sight(work, result)
        case _:
            return _validated(runtime, work, work.function.schema, result)


def _name_answer(runtime: Runtime, work: Work, result: Any) -> Outcome:
    """Return what a reconcile function has found out: the step's output is checked as if the step had returned it."""
    match result:
        case NotDone():
            return Answered(answer=Answer.NOT_DONE)
        case Unknown(why=why):
            told = find_secrets(runtime, work.attempt).hide(storable(str(why)))
            return Answered(answer=Answer.UNKNOWN, why=told[:MESSAGE_CHARACTERS] or "it gave no reason")
    step = find_function(work.attempt.contract.task)
    schema = step.schema if step is not None else work.function.schema
    if result is None and not schema.declares_output:
        # A function that forgot to return would otherwise make a charge out of nothing.
        problem = "it returned None: return the step's output, NotDone() or Unknown(why)"
        return Failed(error=_output_error(work, problem, result))
    outcome = _validated(runtime, work, schema, result)
    return Answered(answer=Answer.DONE, output=outcome.output) if isinstance(outcome, Succeeded) else outcome


def _name_sight(work: Work, result: Any) -> Outcome:
    """Return what a verify function has seen; while it sees nothing it is asked again, as its retry rule says."""
    if result is True:
        return Answered(answer=Answer.DONE)
    if result is not False:
        return Failed(error=_output_error(work, "a verify function must return True or False", result))
    claim, retry = work.attempt.claim, work.contract.retry
    looks = claim.failed_attempts
    facts = ErrorFacts(type="backout.NotLiveYet", message="it is not live yet", code="not_live_yet")
    # Whatever exceptions the rule names: this is none, only how often it is asked counts.
    if looks > retry.limit:
        return Failed(error=facts)
    return RetryLater(error=facts, delay_seconds=retry.delay_before_retry(looks, random.random()))


def _validated(runtime: Runtime, work: Work, schema: Schema, result: Any) -> Succeeded | Failed:
    """Check the output before it is recorded. One that cannot be stored is a failure that no retry mends."""
    try:
        output, text = to_json_text(schema.output_type, result)
    except Unserialisable as error:
        problem = find_secrets(runtime, work.attempt).hide(f"the output cannot be recorded: {error}")
        return Failed(error=_output_error(work, problem, result))
    size_bytes = len(text)
    if size_bytes > runtime.settings.max_payload_bytes:
        limit = runtime.settings.max_payload_bytes
        return Failed(error=_output_error(work, f"the output is {size_bytes:,} bytes, the limit is {limit:,}", result))
    return Succeeded(output=output)


def _output_error(work: Work, message: str, result: Any) -> ErrorFacts:
    try:
        # What is wrong has none of the fields that could be masked in it.
        is_shown = not declares_any(work.attempt.plan)
        shown = storable(repr(result))[:1_000] if is_shown else type(result).__name__
    except Exception:
        # A defect of the result's own class must not keep the failure from being recorded.
        shown = type(result).__name__
    return ErrorFacts(type="backout.OutputInvalid", message=message, code="output_invalid", traceback=f"got {shown}")
