"""enqueue: validate, record, commit, send. Nothing is written before the input is known to be good."""

from __future__ import annotations

import getpass
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from pydantic import ValidationError

from backout.errors import ConfigurationError, InvalidInput, PayloadTooLarge
from backout.faultpoints import FaultPoint, reach
from backout.identifiers import RunId, TaskId, new_run_id
from backout.jsontext import JsonValue, dump_json
from backout.ledger import callers, queries, transitions
from backout.ledger.records import StepKey
from backout.pipelines.definition import PipelineDefinition
from backout.pipelines.engine import Engine, current_engine
from backout.pipelines.handle import RunHandle
from backout.pipelines.message import StepMessage
from backout.pipelines.schema import Unserialisable, from_json, problems_of, to_json
from backout.pipelines.words import state_while_running
from backout.states import Direction

logger = logging.getLogger(__name__)

MAX_ID_CHARACTERS = 255


def enqueue(
    pipeline: PipelineDefinition,
    value: Any,
    *,
    source_event_id: str | None,
    connection: Any,
    session: Any,
) -> RunHandle:
    """Record a run and send its first step. See `Pipeline.enqueue`."""
    engine = current_engine()
    new = _new_run(pipeline, value, source_event_id, engine.settings.max_payload_bytes)
    first = StepMessage.of(
        pipeline.plan,
        StepKey(run_id=new.id, round=1, position=0, direction=Direction.FORWARD),
        task_id=new.task_id,
    )
    theirs = callers.find_transaction(engine.ledger, connection=connection, session=session)
    if theirs is None:
        return _record_alone(engine, pipeline, new, first)
    if theirs.connection is None:
        return _record_after_commit(engine, pipeline, new, first, theirs)
    # The caller's transaction: nothing is committed here, and the message goes out after the caller's commit.
    if not transitions.create_run(theirs.connection, new, resend_seconds=engine.settings.resend_seconds):
        return _first_run(engine, pipeline, new, connection=theirs.connection)
    theirs.after_commit(lambda: _go_on(engine, first, actor=new.actor))
    return RunHandle(id=new.id, pipeline=pipeline, engine=engine, was_created=True)


def _record_alone(
    engine: Engine, pipeline: PipelineDefinition, new: transitions.NewRun, first: StepMessage
) -> RunHandle:
    if not _create_alone(engine, new):
        return _first_run(engine, pipeline, new, connection=None)
    _go_on(engine, first, actor=new.actor)
    return RunHandle(id=new.id, pipeline=pipeline, engine=engine, was_created=True)


def _create_alone(engine: Engine, new: transitions.NewRun) -> bool:
    """Record a run in a transaction of its own; returns as `create_run`."""

    def create() -> bool:
        with engine.ledger.transaction() as own:
            return transitions.create_run(own, new, resend_seconds=engine.settings.resend_seconds)

    # The row that refuses it may be its own, when a connection died before it could say that it had committed.
    return engine.ledger.repeat(create) or engine.ledger.read(lambda own: queries.find_run(own, new.id)) is not None


def _record_after_commit(
    engine: Engine,
    pipeline: PipelineDefinition,
    new: transitions.NewRun,
    first: StepMessage,
    theirs: callers.CallersTransaction,
) -> RunHandle:
    """Record the run once the caller's transaction, which is another database's, has committed.

    What the ledger refuses then is raised to whoever commits: the caller's rows are committed, and the run is not.
    """
    event = new.source_event_id
    if event is not None:
        known = engine.ledger.read(lambda own: queries.find_run_of_event(own, pipeline.name, event))
        if known is not None:
            return RunHandle(id=known, pipeline=pipeline, engine=engine, was_created=False)

    def record() -> None:
        handle = _record_alone(engine, pipeline, new, first)
        if handle.id != new.id:
            logger.warning(
                "backout: source event %s of %s has got run %s from somebody else while this transaction was open; "
                "run %s, which was promised to its caller, is not needed and does not exist",
                event,
                pipeline.name,
                handle.id,
                new.id,
            )

    theirs.after_commit(record)
    return RunHandle(id=new.id, pipeline=pipeline, engine=engine, was_created=True)


def _go_on(engine: Engine, first: StepMessage, *, actor: str) -> None:
    """Send the first step of a run that is committed. Never raises: the sweeper sends what was not sent."""
    reach(FaultPoint.ENQUEUE_COMMITTED)
    engine.send(first)
    # A worker may have begun already; it tells itself what it does.
    engine.announce(first.key.run_id, after_id=0, actors={actor})


def _first_run(engine: Engine, pipeline: PipelineDefinition, new: transitions.NewRun, *, connection: Any) -> RunHandle:
    """Return the run that the source event already has (R9)."""

    def find(where: Any) -> RunId | None:
        return queries.find_first_run_of_event(where, pipeline.name, new.source_event_id or "")

    found = find(connection) if connection is not None else engine.ledger.read(find)
    if found is None:
        # Only a run that was removed between the two statements leads here.
        raise ConfigurationError(
            problem=f"the run of source event {new.source_event_id!r} vanished while it was looked up",
            remedy="Enqueue again.",
        )
    return RunHandle(id=found, pipeline=pipeline, engine=engine, was_created=False)


def _new_run(
    pipeline: PipelineDefinition, value: Any, source_event_id: str | None, limit_bytes: int
) -> transitions.NewRun:
    run_id = new_run_id()
    first = pipeline.plan.steps[0]
    stored, typed = _valid_input(pipeline, value, limit_bytes)
    subject_id = _called(pipeline, "subject", pipeline.subject, typed) if pipeline.subject else None
    for name, text in (("source_event_id", source_event_id), ("subject", subject_id)):
        if text is not None:
            _check_id(pipeline.name, name, text)
    return transitions.NewRun(
        id=run_id,
        pipeline=pipeline.name,
        definition_digest=pipeline.plan.digest,
        plan=pipeline.plan.as_json,
        source_event_id=source_event_id,
        subject_id=subject_id,
        operator_state=state_while_running(None, first),
        input=stored,
        first_step=first.name,
        idempotency_key=f"{run_id}:{first.name}",
        task_id=TaskId(run_id),
        actor=process_name(),
        deadline_seconds=pipeline.plan.deadline_seconds,
    )


def _valid_input(pipeline: PipelineDefinition, value: Any, limit_bytes: int) -> tuple[JsonValue, Any]:
    """Return the input as JSON and as the first step's type, after every step has accepted it."""
    first = pipeline.steps[0]
    try:
        stored = to_json(first.function.schema.argument_types[0], value)
    except Unserialisable as error:
        raise InvalidInput(pipeline=pipeline.name, step=first.name, problems=(str(error),)) from error
    size_bytes = len(dump_json(stored).encode())
    if size_bytes > limit_bytes:
        raise PayloadTooLarge(
            what=f"the input of pipeline {pipeline.name!r}",
            size_bytes=size_bytes,
            limit_bytes=limit_bytes,
        )
    typed = None
    for step in reversed(pipeline.steps):
        try:
            typed = from_json(step.function.schema.argument_types[0], stored)
        except ValidationError as error:
            raise InvalidInput(pipeline=pipeline.name, step=step.name, problems=problems_of(error)) from error
        if step.function.key_function is not None:
            key = _called(pipeline, f"idempotency_key of {step.name}", step.function.key_function, typed)
            _check_id(pipeline.name, f"idempotency_key of {step.name}", key)
    return stored, typed


def _called(pipeline: PipelineDefinition, name: str, function: Callable[[Any], str], typed: Any) -> str:
    try:
        return function(typed)
    except Exception as error:
        raise InvalidInput(
            pipeline=pipeline.name,
            step=pipeline.steps[0].name,
            problems=(f"its {name} function raised {type(error).__name__}: {error}",),
        ) from error


def _check_id(pipeline: str, name: str, value: object) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID_CHARACTERS or "\x00" in value:
        raise InvalidInput(
            pipeline=pipeline,
            step=name,
            problems=(f"{name} must be text of 1 to {MAX_ID_CHARACTERS} characters, not {value!r:.80}",),
        )


@cache
def process_name() -> str:
    """Return who enqueues, for the entry: the login name of this process."""
    try:
        return f"process:{getpass.getuser()}"
    except (KeyError, OSError):
        return "process"
