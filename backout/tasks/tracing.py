"""Run the steps of a burst as what they are: Celery tasks, each through Celery's tracer with its own id.

A worker calls a task through the tracer that stands in `Task.__trace__` (celery.app.trace). A step's task has there its
own tracer and, after it, those of the steps that its burst goes on with. Signals, `current_task`, custom task classes,
logs and the tools that hang on them see each step as if its message had come; what only a message has, the signal
`task_received` and the list of active tasks in the worker's main process, they have not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from celery import Celery, Task, signals
from celery.app.trace import LOG_RECEIVED, build_tracer

from backout.faultpoints import SimulatedDeath
from backout.ledger import transitions
from backout.ledger.session import LEDGER_ERRORS
from backout.ledger.transitions.parts import ENGINE
from backout.pipelines.message import KEYWORD, StepMessage
from backout.tasks.burst import Burst, Following, bursting, note_duration
from backout.tasks.burst_events import TaskEvents
from backout.tasks.runtime import runtime_of

logger = logging.getLogger(__name__)
_received: Final = logging.getLogger("celery.worker.strategy")

Traced = tuple[Any, Any, Any, Any]
"""What a tracer returns: result, how it ended if not well, seconds, result as text (celery.app.trace)."""
Tracer = Callable[..., Traced]

_OWN_TRACER: Final = "_backout_tracer"


class BurstTracer:
    """Stands for `__trace__` in the class of a step's task: what Celery puts there runs first, its burst after it."""

    def __get__(self, task: Any, owner: type | None = None) -> Tracer | None:
        """Return what a worker calls; `None` as long as Celery has made no tracer for the task."""
        tracer = task.__dict__.get(_OWN_TRACER) if task is not None else None
        return None if tracer is None else partial(_trace, task, tracer)

    def __set__(self, task: Any, tracer: Tracer | None) -> None:
        """Keep Celery's tracer."""
        task.__dict__[_OWN_TRACER] = tracer


def _trace(
    task: Task[..., Any],
    tracer: Tracer,
    task_id: str,
    arguments: Any,
    keywords: Mapping[str, Any],
    request: dict[str, Any] | None = None,
) -> Traced:
    """Run a message of a step, and the steps that its burst goes on with; return how the message's own one ended."""
    if KEYWORD not in keywords:
        return tracer(task_id, arguments, keywords, request)
    with bursting(request or {}, task_id) as burst:
        if burst is None:
            return tracer(task_id, arguments, keywords, request)
        try:
            traced = tracer(task_id, arguments, keywords, request)
            note_duration(task.name, burst.used_seconds)
            _go_on(task.app, burst, request or {})
        except SimulatedDeath:
            # A dead process gives nothing back.
            raise
        except BaseException:
            _give_back(task.app, burst.following)
            raise
    return traced


def _go_on(app: Celery, burst: Burst, first: Mapping[str, Any]) -> None:
    """Run what follows, one step after the other, as long as each has claimed the next."""
    events: TaskEvents | None = None
    while (following := burst.following) is not None:
        events = events or TaskEvents(runtime_of(app), hostname=first.get("hostname"))
        _run(app, burst, following.message, first, events)
        if burst.following is following:
            _give_back(app, following)
            burst.following = None
    if events is not None:
        events.flush()


def _run(app: Celery, burst: Burst, message: StepMessage, first: Mapping[str, Any], events: TaskEvents) -> None:
    task = app.tasks[message.task]
    request = _request_of(app, message, first)
    events.note_beginning(task, message, request)
    _log_received(request)
    tracer = task.__dict__.get(_OWN_TRACER)
    if tracer is None:
        tracer = task.__dict__[_OWN_TRACER] = build_tracer(task.name, task, app=app)
    began = burst.used_seconds
    result, problem, seconds, text = tracer(message.task_id, (), request["kwargs"], request)
    note_duration(message.task, burst.used_seconds - began)
    events.note_end(task, message, problem=problem, result=result, seconds=seconds, text=text)


def _request_of(app: Celery, message: StepMessage, first: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request that a worker would make of the message, had it been sent where the burst's first one was."""
    keywords, options = message.keywords(), message.sending_options()
    made = app.amqp.as_task_v2(name=message.task, args=(), kwargs=keywords, origin=first.get("hostname"), **options)
    headers, properties, body = made.headers, made.properties, made.body
    if signals.before_task_publish.receivers:
        # Tools hand on what belongs together in headers that they add here.
        about = {"exchange": "", "routing_key": "", "declare": [], "retry_policy": {}}
        signals.before_task_publish.send(
            sender=message.task, body=body, headers=headers, properties=properties, **about
        )
    if signals.after_task_publish.receivers:
        signals.after_task_publish.send(sender=message.task, body=body, headers=headers, exchange="", routing_key="")
    delivery = {**(first.get("delivery_info") or {}), "redelivered": False}
    return {
        **headers,
        **body[2],
        "args": (),
        "kwargs": keywords,
        "reply_to": properties["reply_to"],
        "correlation_id": properties["correlation_id"],
        "hostname": first.get("hostname"),
        "delivery_info": delivery,
        "is_eager": False,
    }


def _log_received(request: Mapping[str, Any]) -> None:
    if not _received.isEnabledFor(logging.INFO):
        return
    about = {
        "id": request["id"],
        "name": request["task"],
        "args": request["argsrepr"],
        "kwargs": request["kwargsrepr"],
        "eta": None,
    }
    _received.info(LOG_RECEIVED, about, extra={"data": about})


def _give_back(app: Celery, following: Following | None) -> None:
    """Give back the claim on a step that was not begun: a shutdown came first, or its task class refused it."""
    if following is None or following.is_taken_up:
        return
    claim = following.taken.claim
    try:
        with runtime_of(app).ledger.transaction() as connection:
            transitions.release_uncalled(
                connection,
                claim,
                reason="its burst ended before it",
                actor=ENGINE,
                sweep_seconds=0.0,
            )
    except LEDGER_ERRORS:
        logger.exception("backout: %s of run %s was not begun; its claim will expire", claim.step, claim.key.run_id)
