"""A Celery app that was there before: tasks of its own, and a base class that pushes a context, as Flask's does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from celery import Task

import backout
from backout import Pipeline, StepContext, step
from tests.support.apps.making import make_app
from tests.support.apps.pipelines import TWICE, Job, goods, outside

QUEUE = "parcels"
_context: ContextVar[str] = ContextVar("context", default="none")


@contextmanager
def pushed_context() -> Iterator[None]:
    """Push the application's context."""
    token = _context.set("pushed")
    try:
        yield
    finally:
        _context.reset(token)


class ContextTask(Task):
    """Runs each task inside the application's context: the shape of Flask's documented base class."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with pushed_context():
            return self.run(*args, **kwargs)


app = make_app("legacy", os.environ, task_cls=ContextTask)
backout.install(app)


@app.task(queue=QUEUE, priority=3)
def label(job: dict[str, Any], ctx: StepContext | None = None) -> dict[str, Any]:
    """Print a label; also called without the engine, as it always was."""
    run_id = ctx.run_id if ctx is not None else job["customer"]
    outside().book(run_id, what="label", key=f"{run_id}:label", attempt=ctx.attempt if ctx is not None else 0)
    if job.get("customer") == "unlucky":
        raise RuntimeError("no paper")
    return {"context": _context.get(), "customer": job["customer"]}


@app.task(bind=True)
def stamp(self: Task[..., Any], job: dict[str, Any]) -> dict[str, Any]:
    """Put a stamp on it; knows its own Celery task."""
    return {"task": self.name, "context": _context.get()}


@step(effect="read")
def find_context(job: Job) -> str:
    """Return the context in which a step runs."""
    return _context.get()


printed = step.from_task(label, keep="a label costs nothing", idempotent=True, retry=TWICE)
stamped = step.from_task(stamp, effect="read")
LEGACY = Pipeline("legacy", [goods, printed, stamped, find_context])
