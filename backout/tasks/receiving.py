"""The beginning of a message: read it, and end one that has nothing to do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from celery import Task
from celery.exceptions import Ignore

from backout.errors import MessageRefused
from backout.identifiers import TaskId
from backout.ledger import queries, transitions
from backout.ledger.records import Link, StepRecord
from backout.ledger.session import LEDGER_ERRORS, LedgerConnection
from backout.pipelines.message import ReceivedMessage, read_message
from backout.states import Direction, StepState
from backout.tasks.attempt import NOTHING_AHEAD, Ahead
from backout.tasks.claiming import worker_name
from backout.tasks.process import is_gone
from backout.tasks.repair import end_attempt_of_dead_process, mend_after_dead_process
from backout.tasks.runtime import Runtime

logger = logging.getLogger(__name__)


def receive(
    task: Task[..., Any],
    runtime: Runtime,
    arguments: tuple[Any, ...],
    keywords: Mapping[str, Any],
) -> ReceivedMessage:
    """Read the message; keep one that cannot be read as an entry (R10)."""
    try:
        return read_message(task.name, arguments, keywords)
    except MessageRefused as refused:
        problem = refused.problem
        detail = {"task": task.name, "task_id": task.request.id, "message": repr((arguments, keywords))[:2_000]}
        _write(
            runtime,
            lambda connection: transitions.record_refused_message(
                connection,
                key=None,
                actor=worker_name(task),
                reason=problem,
                detail=detail,
            ),
        )
        raise


def read_chain(chain: Sequence[Any], *, most: int | None) -> Ahead:
    """Return what the chain of a message says of the way back; nothing where it says what we do not understand.

    Args:
        chain: as Celery has it: the last link first.
        most: links to read; `None`: all.
    """
    try:
        return Ahead(links=tuple(_read_link(link) for link in islice(reversed(chain), most)))
    except (MessageRefused, AttributeError, LookupError, TypeError):
        return NOTHING_AHEAD


def _read_link(link: Mapping[str, Any]) -> Link:
    message = read_message(link["task"], (), link["kwargs"])
    return Link(key=message.key, task_id=TaskId(link["options"]["task_id"]), attempts=message.attempt - 1)


def pass_by(task: Task[..., Any], runtime: Runtime, message: ReceivedMessage) -> str:
    """End a message that has nothing to do: done already, somebody else's, too early, or of a run that is not there."""
    found = runtime.ledger.read_patiently(
        lambda where: queries.find_step(where, message.key), what=f"a look at {task.name}"
    )
    if found is None:
        _write(
            runtime,
            lambda connection: transitions.record_refused_message(
                connection,
                key=message.key,
                actor=worker_name(task),
                reason="the ledger has no such step: its transaction has not committed, or the run was removed",
                detail={"task": task.name, "task_id": task.request.id},
            ),
        )
    elif _carries_more(task, found):
        return "already recorded; the chain goes on"
    else:
        _help_after_death(runtime, task, found)
    state = found.state.value if found else "unknown"
    logger.info("backout: nothing to do for %s of run %s (%s)", task.name, message.key.run_id, state)
    raise Ignore


def _help_after_death(runtime: Runtime, task: Task[..., Any], found: StepRecord) -> None:
    """Do at once what the sweeper would do later, where the process that had the claim is certainly gone.

    Celery has seen it die, perhaps, and delivers its message again.
    """
    if not is_gone(found.claimed_by):
        return
    try:
        if found.state is StepState.RUNNING:
            end_attempt_of_dead_process(runtime, found.key, actor=worker_name(task))
        elif found.state.is_finished:
            mend_after_dead_process(runtime, found.run_id, actor=worker_name(task))
    except LEDGER_ERRORS:
        logger.warning("backout: run %s is left to the sweeper", found.run_id, exc_info=True)


def _carries_more(task: Task[..., Any], found: StepRecord) -> bool:
    """Return whether this is a redelivered link that is done, or was left out, and whose chain has links left."""
    is_done = found.state in (StepState.SUCCEEDED, StepState.SKIPPED)
    return is_done and found.direction is not Direction.FORWARD and bool(task.request.chain)


def _write(runtime: Runtime, write: Callable[[LedgerConnection], None]) -> None:
    # Nothing is dropped: the entry waits for the database. Written twice it would do no harm.
    runtime.ledger.write_patiently(write, what="an entry")
