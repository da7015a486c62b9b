"""Findings about the tasks that pipelines need: whether workers know them and take their messages. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from backout.tasks.doctor.facts import Facts, Failed, NotAsked, TaskFacts, WorkerFacts, Workers
from backout.tasks.doctor.findings import Code, Finding, Level, fine
from backout.tasks.doctor.wording import say_count, say_deed, say_names, say_seconds

LATE_OPTIONS: Final[Mapping[str, str]] = {
    "acks_late": "True",
    "reject_on_worker_lost": "True",
    "acks_on_failure": "True",
    "acks_on_timeout": "True",
}
"""What the tasks of steps must say in a worker, as text."""
EARLY_OPTIONS: Final[Mapping[str, str]] = {**LATE_OPTIONS, "acks_late": "False", "reject_on_worker_lost": "False"}
"""The same for steps that are acknowledged early."""
ASKED_OPTIONS: Final = (*LATE_OPTIONS, "soft_time_limit")


def check_pipelines(facts: Facts) -> Iterator[Finding]:
    """Yield what is to be said about them."""
    match facts.tasks:
        case Failed(said=said, remedy=remedy):
            yield Finding(
                code=Code.DEFINITIONS,
                level=Level.PROBLEM,
                found=f"the pipelines cannot be imported: {said}",
                why="Workers import the same modules; what they need to know is not checked",
                remedy=remedy,
            )
        case NotAsked(reason=reason):
            yield Finding(code=Code.DEFINITIONS, level=Level.NOTE, found=f"not looked at: {reason}")
        case tasks:
            yield _report_definitions(tasks)
            if isinstance(facts.workers, Workers) and facts.workers.found and tasks:
                yield from _check_with_workers(facts.workers, tasks)


def _report_definitions(tasks: tuple[TaskFacts, ...]) -> Finding:
    if not tasks:
        return Finding(
            code=Code.DEFINITIONS,
            level=Level.WARNING,
            found="this app defines no pipeline",
            why="What workers would need to know is not checked",
            remedy="Name the modules that define pipelines",
            to_copy='app.conf.imports = ["proj.pipelines"]',
        )
    pipelines = {task.needed_by.partition(".")[0] for task in tasks if task.is_defined_here}
    steps = {task.needed_by for task in tasks if task.is_defined_here}
    return fine(
        Code.DEFINITIONS,
        f"{say_count(len(pipelines), 'pipeline')}, {say_count(len(steps), 'step')}, {say_count(len(tasks), 'task')}",
    )


def _check_with_workers(workers: Workers, tasks: tuple[TaskFacts, ...]) -> Iterator[Finding]:
    telling = tuple(worker for worker in workers.found if worker.tasks is not None)
    if telling:
        yield from _judge_known(telling, tasks)
        yield from _judge_options(telling, tasks)
        yield from _judge_time_limits(telling, tasks)
    if any(worker.queues is not None for worker in workers.found):
        yield _judge_queues(workers, tasks)


def _judge_known(workers: tuple[WorkerFacts, ...], tasks: tuple[TaskFacts, ...]) -> Iterator[Finding]:
    nowhere = [task for task in tasks if not any(_knows(worker, task) for worker in workers)]
    yield from _report_unknown([task for task in nowhere if task.is_defined_here])
    yield from _report_removed([task for task in nowhere if not task.is_defined_here])
    somewhere = [task for task in tasks if task not in nowhere]
    # Workers without backout are another finding, which says more.
    lacking = {
        worker.name: [task.name for task in somewhere if _takes(worker, task) and not _knows(worker, task)]
        for worker in workers
        if worker.backout is not None
    }
    incomplete = {name: missing for name, missing in lacking.items() if missing}
    yield from _report_incomplete(incomplete)
    if not nowhere and not incomplete:
        yield fine(Code.TASKS_KNOWN, "every task is known wherever its messages are taken")


def _knows(worker: WorkerFacts, task: TaskFacts) -> bool:
    return task.name in (worker.tasks or {})


def _takes(worker: WorkerFacts, task: TaskFacts) -> bool:
    return worker.queues is None or task.queue in {queue.name for queue in worker.queues}


def _report_unknown(tasks: list[TaskFacts]) -> Iterator[Finding]:
    if tasks:
        yield Finding(
            code=Code.TASKS_KNOWN,
            level=Level.PROBLEM,
            found=f"no worker knows {say_names(_describe(task) for task in tasks)}",
            why="A worker throws away a message whose task it does not know; the sweeper sends it again and again",
            remedy="Deploy the workers, or add the module that defines it to their `imports`",
            to_copy=f'app.conf.imports = ["{tasks[0].name.rpartition(".")[0]}"]',
        )


def _report_removed(tasks: list[TaskFacts]) -> Iterator[Finding]:
    if tasks:
        yield Finding(
            code=Code.TASKS_KNOWN,
            level=Level.PROBLEM,
            found=f"runs under way need {say_names(_describe(task) for task in tasks)}, which no worker knows",
            why="A run keeps the plan with which it started; these tasks were renamed or removed by a deploy",
            remedy="Define them under their old names until those runs have ended",
            to_copy="celery -A proj backout runs list --state running",
        )


def _describe(task: TaskFacts) -> str:
    return f"{task.name} (of {task.needed_by})"


def _report_incomplete(lacking: Mapping[str, list[str]]) -> Iterator[Finding]:
    if lacking:
        missing = {name for names in lacking.values() for name in names}
        yield Finding(
            code=Code.TASKS_KNOWN,
            level=Level.WARNING,
            found=f"{say_deed(lacking, 'does', 'do')} not know {say_names(missing)}",
            why="Of the messages that it takes it throws these away, and each waits for the sweeper. That is as it "
            "should be during a deploy only",
            remedy="Deploy the worker, or give these steps a queue that it does not take",
            to_copy=f"celery -A proj inspect registered --destination {min(lacking)}",
        )


def _judge_queues(workers: Workers, tasks: tuple[TaskFacts, ...]) -> Finding:
    taken = {queue.name for worker in workers.with_backout for queue in worker.queues or ()}
    waiting: dict[str, list[str]] = {}
    for task in tasks:
        if task.queue is not None and task.queue not in taken:
            waiting.setdefault(task.queue, []).append(task.name)
    if not waiting:
        used = {task.queue for task in tasks if task.queue is not None}
        return fine(Code.QUEUES_CONSUMED, f"every queue of a step has a worker: {say_names(used)}")
    listed = say_names(f"{queue} (for {say_names(names, most=2)})" for queue, names in waiting.items())
    return Finding(
        code=Code.QUEUES_CONSUMED,
        level=Level.PROBLEM,
        found=f"no worker with backout takes messages from {listed}",
        why="Steps that are sent there never start",
        remedy="Start a worker for it",
        to_copy=f"celery -A proj worker --queues {','.join(sorted(waiting))}",
    )


def _judge_options(workers: tuple[WorkerFacts, ...], tasks: tuple[TaskFacts, ...]) -> Iterator[Finding]:
    changed = {
        f"{task.name} {name} = {found}"
        for worker in workers
        for task in tasks
        if _knows(worker, task)
        for name, needed in (LATE_OPTIONS if task.is_acked_late else EARLY_OPTIONS).items()
        for found in [(worker.tasks or {})[task.name].get(name, "None")]
        if found != needed
    }
    if not changed:
        yield fine(Code.TASK_OPTIONS, "messages are acknowledged after the outcome is recorded")
        return
    yield Finding(
        code=Code.TASK_OPTIONS,
        level=Level.PROBLEM,
        found=f"options of steps were changed: {say_names(changed)}",
        why="With other options a message is gone before its outcome is recorded, or comes back for ever",
        remedy="Remove these options from `task_annotations` and from the base class of the tasks",
        to_copy="app.conf.task_annotations = None",
    )


def _judge_time_limits(workers: tuple[WorkerFacts, ...], tasks: tuple[TaskFacts, ...]) -> Iterator[Finding]:
    """Judge soft limits only: a message carries the hard limit of its step, which comes before the worker's."""
    short = {
        task.name: limit
        for worker in workers
        if worker.pool == "prefork" and worker.backout is not None
        for task in tasks
        if _knows(worker, task) and task.timeout_seconds
        for limit in [_soft_limit(worker, task)]
        if 0 < limit < task.timeout_seconds
    }
    if not short:
        yield fine(Code.TIME_LIMITS, "no time limit of Celery is shorter than a step's own timeout")
        return
    listed = say_names(f"{name} ({say_seconds(limit)})" for name, limit in short.items())
    yield Finding(
        code=Code.TIME_LIMITS,
        level=Level.WARNING,
        found=f"Celery's soft time limit ends steps before their own timeout: {listed}",
        why="It strikes anywhere in the step, which then counts as failed, though its contract gives it more time",
        remedy="Leave the soft limit out, or make it longer than the longest step",
        to_copy="app.conf.task_soft_time_limit = None",
    )


def _soft_limit(worker: WorkerFacts, task: TaskFacts) -> float:
    own = (worker.tasks or {})[task.name].get("soft_time_limit")
    try:
        return float(own) if own is not None else worker.soft_limit_seconds
    except ValueError:
        return worker.soft_limit_seconds
