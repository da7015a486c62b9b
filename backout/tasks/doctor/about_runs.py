"""Findings about the runs in the ledger, and about the sweeper that moves them on after a crash. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from backout.ledger.health import MOVING_STATES, Health
from backout.tasks.doctor.facts import Facts, WorkerFacts
from backout.tasks.doctor.findings import Code, Finding, Level, fine
from backout.tasks.doctor.wording import say_count, say_names, say_seconds

OVERDUE_INTERVALS: Final = 3
"""A row that has waited for this many looks of a sweeper waits for one that does not come."""
SHORTEST_OVERDUE_SECONDS: Final = 15.0
MOST_SENDS: Final = 3
"""With the default settings a message is sent for the fourth time after seven minutes."""


def check_runs(facts: Facts) -> Iterator[Finding]:
    """Yield what is to be said about them."""
    yield from _judge_sweepers(facts)
    if (health := facts.health) is not None:
        yield _judge_overdue(health)
        yield from _judge_untaken(health)
        yield _judge_silent(health)
        yield _judge_reviews(health)


def overdue_seconds(sweep_interval_seconds: float) -> float:
    """Return how long after its time a row is overdue."""
    return max(SHORTEST_OVERDUE_SECONDS, OVERDUE_INTERVALS * sweep_interval_seconds)


def _judge_sweepers(facts: Facts) -> Iterator[Finding]:
    workers = [worker for worker in facts.known_workers if worker.backout is not None]
    alive = [worker for worker in workers if _sweeps(worker) is True]
    dead = [worker.name for worker in workers if _sweeps(worker) is False]
    if alive and not dead:
        yield from _judge_restarts(alive)
    elif alive or dead:
        yield _report_dead(dead, are_others_alive=bool(alive))
    elif facts.health is None:
        return
    elif facts.health.overdue_rows:
        yield _report_missing(facts.health, is_by_choice=bool(workers))
    else:
        whose = "no worker keeps a sweeper" if workers else "no worker could be asked for its sweeper"
        yield Finding(
            code=Code.SWEEPER,
            level=Level.NOTE,
            found=f"{whose}; nothing in the ledger waits for one at this moment",
            why="Without one, a message that is lost or a worker that is killed stops its run for ever",
            remedy="Let one run as a service" if workers else "Ask again with workers",
            to_copy="celery -A proj backout sweep" if workers else "",
        )


def _sweeps(worker: WorkerFacts) -> bool | None:
    return worker.backout.sweeper_is_alive if worker.backout is not None else None


def _judge_restarts(alive: list[WorkerFacts]) -> Iterator[Finding]:
    unsteady = [w.name for w in alive if w.backout is not None and w.backout.sweeper_restarts]
    if not unsteady:
        yield fine(Code.SWEEPER, f"{say_count(len(alive), 'sweeper')} beside the workers")
        return
    yield Finding(
        code=Code.SWEEPER,
        level=Level.WARNING,
        found=f"the sweeper of {say_names(unsteady)} ended by itself and was started again",
        why="While it is away nothing is repaired by this worker's sweeper",
        remedy="Its last words are in the worker's log; look for `the sweeper ended with exit code`",
    )


def _report_dead(dead: list[str], *, are_others_alive: bool) -> Finding:
    return Finding(
        code=Code.SWEEPER,
        level=Level.WARNING if are_others_alive else Level.PROBLEM,
        found=f"the sweeper of {say_names(dead)} does not run"
        + ("; others do" if are_others_alive else ", and there is no other"),
        why="Without a sweeper, a message that is lost or a worker that is killed stops its run for ever",
        remedy="See the worker's log. Started without `-A`, it cannot tell how its sweeper imports the app: set it",
        to_copy='app.conf.backout_app = "proj.celery:app"',
    )


def _report_missing(health: Health, *, is_by_choice: bool) -> Finding:
    reason = " (`backout_sweeper = False`), and no service sweeps" if is_by_choice else ""
    return Finding(
        code=Code.SWEEPER,
        level=Level.PROBLEM,
        found=f"no sweeper runs{reason}: {say_count(health.overdue_rows, 'row')} should have been looked at",
        why="A message that is lost or a worker that is killed stops its run until a sweeper comes",
        remedy="Start one as a service" + ("" if is_by_choice else ", or a worker, which keeps one beside itself"),
        to_copy="celery -A proj backout sweep",
    )


def _judge_overdue(health: Health) -> Finding:
    if not health.overdue_rows:
        return fine(Code.OVERDUE, "nothing waits for a sweeper")
    return Finding(
        code=Code.OVERDUE,
        level=Level.PROBLEM,
        found=f"{say_count(health.overdue_rows, 'row')} should have been looked at by a sweeper, the oldest "
        f"{say_seconds(health.overdue_seconds)} ago",
        why="Their runs stand still. A sweeper waits while the broker is away, takes `backout_sweep_batch` rows at a "
        "look, and leaves alone what only a newer release understands",
        remedy="See what a sweeper says",
        to_copy="celery -A proj backout sweep --once",
    )


def _judge_untaken(health: Health) -> Iterator[Finding]:
    if not health.untaken:
        return
    listed = say_names(f"{found.pipeline}.{found.step} ({found.sends} times)" for found in health.untaken)
    yield Finding(
        code=Code.UNTAKEN,
        level=Level.WARNING,
        found=f"messages that no worker takes up were sent again and again: {listed}",
        why="No worker takes messages from their queue, none knows the task, or the queue is longer than the workers "
        "can empty",
        remedy="See the checks of workers and queues, and the length of the queue",
        to_copy="celery -A proj inspect active_queues",
    )


def _judge_silent(health: Health) -> Finding:
    moving = sum(health.runs.get(state, 0) for state in MOVING_STATES)
    if not health.silent_runs:
        if not moving:
            return fine(Code.SILENT_RUNS, "no run is under way")
        return fine(Code.SILENT_RUNS, f"{say_count(moving, 'run')} under way, each with something that moves it on")
    return Finding(
        code=Code.SILENT_RUNS,
        level=Level.PROBLEM,
        found=f"{say_count(health.silent_runs, 'run')} under way with nothing that will move "
        + ("it" if health.silent_runs == 1 else "them")
        + f" on: {say_names(health.silent_examples)}",
        why="This must not happen (rule R4): rows were changed by hand, or it is a bug of backout",
        remedy="Look at one, and report it with what this shows",
        to_copy="\n".join(f"celery -A proj backout runs show {run} --entries" for run in health.silent_examples[:1]),
    )


def _judge_reviews(health: Health) -> Finding:
    if not health.reviews:
        return fine(Code.REVIEWS, "no run waits for a person")
    oldest = say_seconds(health.review_seconds)
    late = f"; {health.late_reviews} past the deadline" if health.late_reviews else ""
    return Finding(
        code=Code.REVIEWS,
        level=Level.WARNING if health.late_reviews else Level.NOTE,
        found=f"{say_count(health.reviews, 'question')} for a person, the oldest asked {oldest} ago{late}",
        why="These runs stand still until somebody decides",
        remedy="See what is asked",
        to_copy="celery -A proj backout reviews list",
    )
