"""Findings about the events from which Flower draws its pictures. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from backout.tasks.doctor.facts import AppFacts, Facts, WorkerFacts
from backout.tasks.doctor.findings import Code, Finding, Level, fine
from backout.tasks.doctor.wording import say_deed


def check_monitoring(facts: Facts) -> Iterator[Finding]:
    """Yield what is to be said about them."""
    workers = [worker for worker in facts.known_workers if worker.backout is not None]
    if workers:
        yield _judge_worker_events(workers)
    if isinstance(facts.app, AppFacts):
        yield _judge_sent_events(facts.app, workers)


def _judge_worker_events(workers: list[WorkerFacts]) -> Finding:
    silent = [worker.name for worker in workers if worker.backout is not None and not worker.backout.sends_events]
    if not silent:
        return fine(Code.WORKER_EVENTS, "workers send events, Flower sees every task")
    return Finding(
        code=Code.WORKER_EVENTS,
        level=Level.NOTE,
        found=f"{say_deed(silent, 'sends', 'send')} no events",
        why="Flower turns them on when it starts, but misses what happened before; the ledger has everything",
        remedy="To see every task in Flower, send events always",
        to_copy="app.conf.worker_send_task_events = True",
    )


def _judge_sent_events(app: AppFacts, workers: list[WorkerFacts]) -> Finding:
    if not app.sends_sent_events:
        return Finding(
            code=Code.SENT_EVENTS,
            level=Level.NOTE,
            found="no event is sent when a task is sent",
            why="Flower does not show when a task was sent, nor tasks that no worker has received",
            remedy="To see them, let whoever sends say so",
            to_copy="app.conf.task_send_sent_event = True",
        )
    forking = [w.name for w in workers if w.pool == "prefork" and (w.max_tasks_per_child or w.is_autoscaling)]
    if not forking:
        return fine(Code.SENT_EVENTS, "an event is sent when a task is sent")
    return Finding(
        code=Code.SENT_EVENTS,
        level=Level.NOTE,
        found=f"each sending makes an event, and {say_deed(forking, 'starts', 'start')} processes while it works",
        why="A thread of the worker's main process that sends tasks can then leave new processes with a lock that is "
        "never released: both children of a test hung for good. Nothing in backout is such a thread",
        remedy="Send no tasks from threads of your own in a worker's main process",
    )
