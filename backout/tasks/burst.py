"""A burst: the worker that has recorded a step runs the next one at once, instead of sending a message for it.

Nine tenths of a step's cost are its message. The outcome of a step and the claim on the next one are one commit; each
step is a Celery task of its own, run by Celery's tracer (see `tracing`); the message that began the burst is
acknowledged after its last step. A burst ends when its time is up, when anything but the plain next step is due, or
when the worker is asked to stop: then a message is sent as always.

What a crash leaves is what a crash leaves of a message: a claim of a process that is gone, and a message that is
delivered again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from celery import Celery, Task
from celery.worker import state as worker_state

from backout.identifiers import new_claim_token
from backout.ledger import queries
from backout.ledger.records import Claim
from backout.ledger.session import LedgerConnection
from backout.ledger.transitions import NextClaim
from backout.pipelines.functions import find_function
from backout.pipelines.message import StepMessage
from backout.tasks.attempt import NOTHING_AHEAD, Ahead
from backout.tasks.claiming import Taken, lease_within, steady_seconds
from backout.tasks.noticeboard import board
from backout.tasks.pace import Time, has_same_options, is_plain
from backout.tasks.process import this_process
from backout.tasks.runtime import Runtime


@dataclass(slots=True, kw_only=True)
class Following:
    """The step that a burst runs next; its claim is held.

    Attributes:
        is_taken_up: the engine has begun with it.
    """

    message: StepMessage
    taken: Taken
    is_taken_up: bool = False


@dataclass(slots=True, kw_only=True)
class Burst:
    """What one delivered message runs, step after step.

    Attributes:
        first_id: the task id of the message.
        started: when the worker took it up, on the clock of `time.monotonic`.
        limit_seconds: after which Celery kills the process that runs it; `None`: it does not.
        following: what comes next; `None`: the burst ends.
    """

    first_id: str
    started: float
    limit_seconds: float | None
    following: Following | None = None

    @property
    def used_seconds(self) -> float:
        """How long it has lasted."""
        return time.monotonic() - self.started


@dataclass(slots=True, kw_only=True)
class Hand:
    """What the recording of an outcome needs to take up the next step in the same commit.

    Attributes:
        worker: who runs the attempt, for the entry of the next claim.
        offered: the message and the claim that were last given to the ledger; whether it has taken them only the
            commit tells.
    """

    runtime: Runtime
    task: Task[..., Any]
    worker: str
    burst: Burst
    options: Mapping[str, Any]
    offered: tuple[StepMessage, NextClaim] | None = None
    _ends_at: float = field(default=0.0)

    def claim_for(self, message: StepMessage) -> NextClaim | None:
        """Return the claim to record with the row of this message; `None`: it is to be sent."""
        if not self._may_take(message):
            return None
        lease_seconds = lease_within(self.runtime.settings.lease_seconds, message.timeout_seconds)
        self._ends_at = steady_seconds() + lease_seconds
        claim = NextClaim(
            token=new_claim_token(),
            lease_seconds=lease_seconds,
            worker=self.worker,
            process=this_process(),
            detail={"burst": self.burst.first_id},
        )
        self.offered = (message, claim)
        return claim

    def take_up(self, message: StepMessage, claim: Claim, ahead: Ahead = NOTHING_AHEAD) -> None:
        """Let the burst go on with a claim that is committed."""
        self.burst.following = Following(message=message, taken=Taken(claim=claim, ends_at=self._ends_at, ahead=ahead))

    def find_taken(self, connection: LedgerConnection) -> tuple[StepMessage, Claim] | None:
        """Return what the ledger has taken of what was offered last, where its answer to the commit was lost."""
        if self.offered is None:
            return None
        message, asked = self.offered
        held = queries.find_claim(connection, message.key)
        return (message, held) if held is not None and held.token == asked.token else None

    def _may_take(self, message: StepMessage) -> bool:
        function = find_function(message.task)
        task = self.runtime.app.tasks.get(message.task)
        if function is None or task is None or function.ack_early or function.key_function is not None:
            # A key of one's own is claimed against other runs, which may hold it.
            return False
        if message.key.direction.is_question or not is_plain(message) or _is_limited(task):
            return False
        pace = Time(
            burst_seconds=self.runtime.settings.burst_seconds,
            used_seconds=self.burst.used_seconds,
            usual_seconds=usual_seconds(message.task),
            limit_seconds=self.burst.limit_seconds,
            timeout_seconds=message.timeout_seconds,
        )
        return pace.is_enough and _go_to_the_same_queue(self.runtime.app, self.task.name, self.options, message)


def hand_of(runtime: Runtime, task: Task[..., Any], worker: str, options: Mapping[str, Any]) -> Hand | None:
    """Return the hand of the attempt that is running; `None` when it is in no burst, or the burst is over.

    Args:
        runtime: of the task's app.
        task: that is running.
        worker: who runs it.
        options: of sending its message, by its contract.
    """
    burst = _current.burst
    if burst is None or burst.used_seconds >= runtime.settings.burst_seconds or not _may_go_on(task):
        return None
    return Hand(runtime=runtime, task=task, worker=worker, burst=burst, options=options)


def handed_over(task_id: str) -> Taken | None:
    """Return the claim that the step before has taken for this task; `None`: there is a message, and no claim yet."""
    following = _current.burst.following if _current.burst is not None else None
    if following is None or following.is_taken_up or following.message.task_id != task_id:
        return None
    following.is_taken_up = True
    return following.taken


def is_to_be_killed() -> bool:
    """Return whether it is for us to kill this process should the step that is running hang.

    It has no message of its own, by which Celery would, and this is the child of a pool, which runs nothing else.
    """
    return _current.burst is not None and _current.burst.following is not None and board.is_read_by_child


@contextmanager
def bursting(request: Mapping[str, Any], task_id: str) -> Iterator[Burst | None]:
    """Let the steps that are recorded inside the block be followed up at once.

    Args:
        request: of the message, as Celery hands it to the tracer.
        task_id: of the message.

    Yields:
        `None` when this is no worker that may go on by itself.
    """
    if _current.burst is not None or not board.is_open:
        yield None
        return
    hard_limit = (request.get("timelimit") or (None, None))[0]
    _current.burst = Burst(first_id=task_id, started=time.monotonic(), limit_seconds=hard_limit)
    try:
        yield _current.burst
    finally:
        _current.burst = None


def usual_seconds(task: str) -> float:
    """Return how long a task has taken in this process the last time; 0 when it was never run."""
    return _usual.get(task, 0.0)


def note_duration(task: str, seconds: float) -> None:
    """Remember how long a task has taken."""
    _usual[task] = seconds


class _Current(threading.local):
    burst: Burst | None = None


_current: Final = _Current()
_usual: Final[dict[str, float]] = {}


def _may_go_on(task: Task[..., Any]) -> bool:
    """Return whether the message that is running may carry more than its own step."""
    function = find_function(task.name)
    if not board.is_open or board.has_soft_limit or function is None or function.ack_early:
        return False
    # Celery's soft limit is counted from the start of the message: it would interrupt a later step.
    soft_limit = (task.request.timelimit or (None, None))[1]
    is_stopping = bool(worker_state.should_stop) or bool(worker_state.should_terminate)
    return soft_limit is None and task.soft_time_limit is None and not is_stopping


def _is_limited(task: Task[..., Any]) -> bool:
    return bool(task.rate_limit) or task.soft_time_limit is not None or board.is_limited(task.name)


def _go_to_the_same_queue(app: Celery, running: str, options: Mapping[str, Any], message: StepMessage) -> bool:
    if not has_same_options(options, message.options):
        return False
    # The router's own table: Celery's settings are slow to ask.
    if not app.amqp.routes or running == message.task:
        return True
    one, other = (_route(app, name, options, message) for name in (running, message.task))
    return has_same_options(one, other)


def _route(app: Celery, task: str, options: Mapping[str, Any], message: StepMessage) -> Mapping[str, Any]:
    """Return where Celery would send a message of this task."""
    routed: dict[str, Any] = app.amqp.router.route(dict(options), task, (), message.keywords())
    queue = routed.get("queue")
    return {**routed, "queue": getattr(queue, "name", queue)}
