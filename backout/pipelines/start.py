"""enqueue: validate, record, commit, send. Nothing is written before the input is known to be good."""

from __future__ import annotations

import logging
from typing import Any

from backout.errors import ConfigurationError
from backout.faultpoints import FaultPoint, reach
from backout.identifiers import RunId
from backout.ledger import callers, queries, transitions
from backout.ledger.session import KeyTaken
from backout.pipelines.definition import PipelineDefinition
from backout.pipelines.engine import Engine, current_engine
from backout.pipelines.handle import RunHandle
from backout.pipelines.message import StepMessage
from backout.pipelines.new_run import describe_run, first_message

logger = logging.getLogger(__name__)


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
    new = describe_run(pipeline, value, source_event_id, limit_bytes=engine.settings.max_payload_bytes).new
    first = first_message(pipeline, new.id)
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
        with engine.ledger.change() as own:
            return transitions.create_run(own, new, resend_seconds=engine.settings.resend_seconds)

    def is_recorded() -> bool:
        return engine.ledger.read(lambda own: queries.find_run(own, new.id)) is not None

    # The row that refuses it may be its own, when a connection died before it could say that it had committed.
    try:
        return engine.ledger.repeat(create) or is_recorded()
    except KeyTaken:
        # So MySQL says it.
        if not is_recorded():
            raise
        return True


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
