"""Each step, compensation and companion is a Celery task under its own dotted name, as with `shared_task`.

The engine is the task's `run`, so that custom task bases (FlaskTask, DjangoTask) work: their `__call__` calls it.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from celery import Celery, Task, shared_task
from celery._state import _get_active_apps, connect_on_app_finalize

from backout.errors import StepFailed
from backout.pipelines.functions import ORIGINAL_RUN, TaskFunction, subscribe
from backout.pipelines.message import KEYWORD
from backout.tasks.step_task import run_step
from backout.tasks.tracing import BurstTracer

FORCED_OPTIONS: Final[dict[str, Any]] = {
    # R1: acknowledged after the outcome is committed, and given back when the worker is lost.
    "acks_late": True,
    "reject_on_worker_lost": True,
    "acks_on_failure": True,
    "acks_on_timeout": True,
    # A result backend would be one more thing that can fail between the commit and the acknowledgement.
    "ignore_result": True,
    "serializer": "json",
    "typing": False,
    "max_retries": None,
    "throws": (StepFailed,),
}


TRACER: Final = "__trace__"
"""The attribute of a task through which a worker calls it."""

_shared: Final[set[str]] = set()


def register_tasks() -> None:
    """Register a Celery task for every function of a pipeline, those that are defined later too."""
    subscribe(_register)


def _register(function: TaskFunction) -> None:
    if function.existing_task is None:
        _share_task(function)
    else:
        adopt = partial(_adopt_when_ready, function)
        connect_on_app_finalize(adopt)
        for app in _get_active_apps():
            if app.finalized:
                adopt(app)


def _share_task(function: TaskFunction) -> None:
    if function.task_name in _shared:
        # Its module was imported again, as a script's is under its own name; the task finds the function by name.
        return
    _shared.add(function.task_name)
    options = {**function.task_options, **FORCED_OPTIONS, TRACER: BurstTracer()}
    if function.ack_early:
        # The user's explicit choice for very long steps: recovery then waits for the claim to expire.
        options |= {"acks_late": False, "reject_on_worker_lost": False}

    def run(self: Task[..., Any], *arguments: Any, **keywords: Any) -> Any:
        return run_step(self, arguments, keywords)

    run.__name__ = function.call.__name__
    run.__module__ = function.call.__module__
    run.__doc__ = function.call.__doc__
    shared_task(name=function.task_name, bind=True, **options)(run)


def _adopt_when_ready(function: TaskFunction, app: Celery) -> None:
    """Take over an existing task once the app has made it: finalizers run in no particular order."""

    def adopt(**_: Any) -> None:
        task = app.tasks.get(function.task_name)
        if task is not None:
            _adopt(task)

    app.on_after_finalize.connect(adopt, weak=False)
    if app.finalized:
        adopt()


def _adopt(task: Any) -> None:
    """Let the engine run the messages that it sent; every other call of the task goes where it always went."""
    original = task.run
    if hasattr(original, ORIGINAL_RUN):
        return

    def run(*arguments: Any, **keywords: Any) -> Any:
        return run_step(task, arguments, keywords) if KEYWORD in keywords else original(*arguments, **keywords)

    setattr(run, ORIGINAL_RUN, original)
    setattr(type(task), TRACER, BurstTracer())
    if TRACER in task.__dict__:
        # Celery had made the tracer before, with the task's own `run`.
        del task.__dict__[TRACER]
    task.run = run
    task.acks_late = True
    task.reject_on_worker_lost = True
    # False makes a hot loop out of every failure.
    task.acks_on_failure = True
    task.acks_on_timeout = True
    task.throws = (*(task.throws or ()), StepFailed)
