"""Which Celery tasks pipelines need, and in which queues their messages go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from celery import Celery

from backout.pipelines.contract import Plan, StepContract
from backout.tasks.doctor.facts import TaskFacts


def list_tasks(app: Celery, plans: Iterable[Plan], open_plans: Iterable[object]) -> tuple[TaskFacts, ...]:
    """Return the tasks that plans need, by name; of several with one name the one with the longest timeout.

    Args:
        app: which routes their messages.
        plans: of the pipelines that this process has defined.
        open_plans: of runs that are not final, as they are stored; those that this release cannot read are left out.
    """
    known: dict[str, TaskFacts] = {}
    for plan in plans:
        _add(known, app, plan, is_defined_here=True)
    for stored in open_plans:
        try:
            plan = Plan.from_json(stored)
        except ValueError:
            continue
        _add(known, app, plan, is_defined_here=False)
    return tuple(known[name] for name in sorted(known))


def _add(known: dict[str, TaskFacts], app: Celery, plan: Plan, *, is_defined_here: bool) -> None:
    for step in plan.steps:
        for task in _tasks_of(app, plan, step):
            before = known.get(task.name)
            if before is None:
                known[task.name] = replace(task, is_defined_here=is_defined_here)
            elif (task.timeout_seconds or 0) > (before.timeout_seconds or 0):
                known[task.name] = replace(before, timeout_seconds=task.timeout_seconds)


def _tasks_of(app: Celery, plan: Plan, step: StepContract) -> Iterator[TaskFacts]:
    needed_by = f"{plan.pipeline}.{step.name}"
    yield TaskFacts(
        name=step.task,
        needed_by=needed_by,
        queue=_queue_of(app, step.task, step.options),
        timeout_seconds=step.timeout_seconds,
        is_acked_late=not step.ack_early,
    )
    for companion in (step.compensation, step.reconcile, step.verify):
        if companion is not None:
            yield TaskFacts(
                name=companion.task,
                needed_by=needed_by,
                queue=_queue_of(app, companion.task, companion.options),
                timeout_seconds=companion.timeout_seconds,
            )


def _queue_of(app: Celery, task: str, options: Mapping[str, Any]) -> str | None:
    """Return where Celery would send a message of a task; `None` when it is not a queue's name that decides."""
    try:
        routed = app.amqp.router.route(dict(options), task)
    except Exception:
        # A queue that is not declared, with `task_create_missing_queues` off: nobody takes messages from it either.
        return str(options["queue"]) if "queue" in options else None
    queue = routed.get("queue")
    name = getattr(queue, "name", queue)
    return name if isinstance(name, str) else None
