"""Take the claim of an attempt: compare-and-set with a fencing token, in one round trip."""

from __future__ import annotations

import logging
import os
import socket
import time
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from celery import Task

from backout.events import Event
from backout.identifiers import ClaimToken, new_claim_token
from backout.jsontext import JsonValue
from backout.ledger import queries, transitions
from backout.ledger.records import Claim, StepRecord
from backout.ledger.session import KeyTaken, LedgerConnection
from backout.pipelines.functions import find_function
from backout.pipelines.message import KILL_GRACE_SECONDS, ReceivedMessage
from backout.pipelines.schema import from_json
from backout.pipelines.secrets import read_secrets
from backout.states import Direction, StepState
from backout.tasks.attempt import NOTHING_AHEAD, Ahead
from backout.tasks.process import this_process
from backout.tasks.runtime import Runtime

logger = logging.getLogger(__name__)

DEADLINE_GRACE_SECONDS: Final = 5.0
"""A claim holds this much longer than the step's timeout: time to record that the time was up."""
KEY_BUSY_SECONDS: Final = 10.0
"""How long a step waits when another run is just running the step with its idempotency key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A claim that is held.

    Attributes:
        ends_at: by `steady_seconds`, when it ends without a heartbeat. Taken too early, never too late.
        reused: the recorded success of another run under the same key: its output is taken, nothing is run.
        ahead: what is known of the way back that it is on.
    """

    claim: Claim
    ends_at: float
    reused: StepRecord | None = None
    ahead: Ahead = NOTHING_AHEAD


def steady_seconds() -> float:
    """Return the seconds of a clock that nobody sets, and that goes on while the machine sleeps, where there is one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class _OwnKey:
    key: str | None = None
    exclusive: str | None = None


def take_claim(runtime: Runtime, task: Task[..., Any], message: ReceivedMessage) -> Taken | None:
    """Claim the attempt (R2, R3); `None` when it is done, somebody else's, or not yet due."""
    own_key = _own_key(runtime, task, message)
    token, ends_at = new_claim_token(), steady_seconds() + lease_seconds(runtime, task)
    try:
        claim = _claim(runtime, task, message, token, own_key)
    except KeyTaken:
        return _meet_key_holder(runtime, task, message, own_key)
    return Taken(claim=claim, ends_at=ends_at) if claim is not None else None


def _claim(
    runtime: Runtime,
    task: Task[..., Any],
    message: ReceivedMessage,
    token: ClaimToken,
    own_key: _OwnKey,
) -> Claim | None:
    def claim_once() -> Claim | None:
        with runtime.ledger.change() as connection:
            return transitions.claim_step(
                connection,
                message.key,
                token=token,
                lease_seconds=lease_seconds(runtime, task),
                worker=worker_name(task),
                attempt=message.attempt,
                process=this_process(),
                own_key=own_key.key,
                exclusive_key=own_key.exclusive,
            )

    def recognise(connection: LedgerConnection) -> Claim | None:
        held = queries.find_claim(connection, message.key)
        return held if held is not None and held.token == token else None

    # While the database is away the message waits here, unacknowledged: nothing moves and nothing is lost (R12).
    # Not `runtime.ledger`: in a worker that started meanwhile that would verify the schema first, and fail the task.
    return runtime.unverified_ledger.persist(claim_once, recognise=recognise, what=f"the claim of {task.name}")


def _own_key(runtime: Runtime, task: Task[..., Any], message: ReceivedMessage) -> _OwnKey:
    """Return the key of a step whose contract has a function for it."""
    function = find_function(task.name)
    if function is None or function.key_function is None or message.key.direction is not Direction.FORWARD:
        return _OwnKey()
    stored: JsonValue = runtime.unverified_ledger.read_patiently(
        lambda connection: queries.load_input(connection, message.key.run_id),
        what=f"the claim of {task.name}",
    )
    if stored is None:
        return _OwnKey()
    try:
        key = function.key_function(from_json(function.schema.argument_types[0], stored))
    except Exception as error:
        secrets = runtime.unverified_ledger.read_patiently(
            lambda connection: read_secrets(connection, message.key.run_id), what=f"the claim of {task.name}"
        )
        if secrets.are_none:
            raise
        # Celery writes it down, with all that led to it.
        problem = secrets.hide(f"{type(error).__name__}: {error}")
        told = f"the idempotency_key function of {task.name} cannot be used on run {message.key.run_id}: {problem}"
        raise ValueError(told) from None
    # After an undo the key names an effect that was taken back: the round's own key was recorded with the row.
    return _OwnKey(key=key if message.key.round == 1 else None, exclusive=f"{task.name}:{key}")


def _meet_key_holder(
    runtime: Runtime,
    task: Task[..., Any],
    message: ReceivedMessage,
    own_key: _OwnKey,
) -> Taken | None:
    """Take the result of the run that holds the key, or wait until that run has one."""
    exclusive = own_key.exclusive or ""
    what = f"the claim of {task.name}"
    holder = runtime.ledger.read_patiently(lambda where: queries.find_key_holder(where, exclusive), what=what)
    if holder is None or holder.state is not StepState.SUCCEEDED:
        runtime.ledger.write_patiently(
            lambda where: transitions.postpone_step(where, message.key, seconds_from_now=KEY_BUSY_SECONDS),
            what=what,
        )
        logger.info("backout: %s of run %s waits for the run that holds its key", task.name, message.key.run_id)
        return None
    ends_at = steady_seconds() + lease_seconds(runtime, task)
    claim = _claim(runtime, task, message, new_claim_token(), _OwnKey(key=own_key.key))
    if claim is None:
        return None
    runtime.ledger.write_patiently(
        lambda where: transitions.record_fact(
            where,
            claim,
            event=Event.RESULT_REUSED,
            reason=f"run {holder.run_id} succeeded under the same idempotency key",
            detail={"run_id": holder.run_id},
        ),
        what=what,
    )
    return Taken(claim=claim, ends_at=ends_at, reused=holder)


def lease_seconds(runtime: Runtime, task: Task[..., Any]) -> float:
    """Return how long the claim holds without a heartbeat: never longer than the attempt may take."""
    hard_limit: float | None = (task.request.timelimit or (None, None))[0]
    lease = runtime.settings.lease_seconds
    return lease if hard_limit is None else lease_within(lease, hard_limit - KILL_GRACE_SECONDS)


def lease_within(lease_seconds: float, timeout_seconds: float) -> float:
    """Return the lease for an attempt with this timeout."""
    return min(lease_seconds, timeout_seconds + DEADLINE_GRACE_SECONDS)


def worker_name(task: Task[..., Any]) -> str:
    """Return who runs an attempt, for the entries: the worker's name and the process."""
    return f"{task.request.hostname or _host()}/{os.getpid()}"[:200]


@cache
def _host() -> str:
    return socket.gethostname()
