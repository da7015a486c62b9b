"""Call the user's function, with its timeout and a heartbeat, and name the outcome."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

from celery.worker import state as worker_state

from backout.errors import StepTimedOut
from backout.jsontext import dump_json
from backout.ledger import queries
from backout.ledger.records import Claim, StepRecord
from backout.ledger.session import LedgerConnection
from backout.pipelines.contract import CompensationContract, StepContract
from backout.pipelines.functions import TaskFunction
from backout.pipelines.schema import Unserialisable, from_json, to_json
from backout.states import Direction
from backout.tasks.attempt import Attempt
from backout.tasks.claiming import DEADLINE_GRACE_SECONDS
from backout.tasks.context import CompensationContext, StepContext, undone_step
from backout.tasks.deadline import time_limit
from backout.tasks.heartbeat import heartbeat
from backout.tasks.outcome import ErrorFacts, Failed, Lost, Outcome, Succeeded, classify, storable
from backout.tasks.runtime import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What this worker knows about a claimed attempt before it calls the function."""

    attempt: Attempt
    contract: StepContract | CompensationContract
    function: TaskFunction
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
            ),
            time_limit(seconds, lambda: StepTimedOut(step=claim.step, timeout_seconds=seconds)),
        ):
            result = _call_function(runtime, work)
    except Exception as error:
        return cut_off(error) if _is_being_terminated() else _classify(contract, claim, error)
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

    # An outage is no failure of the compensation: it waits, at most until its timeout.
    forward, cause, requested_by = runtime.ledger.read_patiently(read, what=f"the context of {claim.step}")
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


def cut_off(error: BaseException) -> Lost:
    """Return the outcome of an attempt that a shutdown ended."""
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
    try:
        shown = storable(repr(result))[:1_000]
    except Exception:
        # A defect of the result's own class must not keep the failure from being recorded.
        shown = type(result).__name__
    return ErrorFacts(type="backout.OutputInvalid", message=message, code="output_invalid", traceback=f"got {shown}")
