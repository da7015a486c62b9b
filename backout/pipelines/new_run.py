"""From an input to a run that can be recorded: all that may be wrong with it is found before anything is written."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

from pydantic import TypeAdapter, ValidationError

from backout.errors import InvalidInput, PayloadTooLarge
from backout.identifiers import RunId, TaskId, new_run_id
from backout.jsontext import JsonValue
from backout.ledger.records import StepKey
from backout.ledger.transitions import NewRun
from backout.pipelines.definition import PipelineDefinition
from backout.pipelines.message import StepMessage
from backout.pipelines.schema import Unserialisable, problems_of, to_json_text
from backout.pipelines.words import state_while_running
from backout.states import Direction

MAX_ID_CHARACTERS: Final = 255

EventOf: TypeAlias = Callable[[Any], str]
"""Says which source event asks for a run, from its input as the first step gets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedRun:
    """A run that can be recorded, and the size of its input as JSON text."""

    new: NewRun
    size_bytes: int


def describe_run(
    pipeline: PipelineDefinition, value: Any, source_event_id: str | EventOf | None, *, limit_bytes: int
) -> DescribedRun:
    """Return the run of an input, with an id of its own. Writes nothing.

    Raises:
        InvalidInput, PayloadTooLarge: the input, or what its functions say of it, cannot be used.
    """
    run_id = new_run_id()
    first = pipeline.plan.steps[0]
    stored, typed, size_bytes = _valid_input(pipeline, value, limit_bytes)
    event = source_event_id
    if callable(event):
        event = _called(pipeline, "source_event_id", event, typed)
        _check_id(pipeline.name, "source_event_id", event)
    subject_id = _called(pipeline, "subject", pipeline.subject, typed) if pipeline.subject else None
    for name, text in (("source_event_id", event), ("subject", subject_id)):
        if text is not None:
            _check_id(pipeline.name, name, text)
    new = NewRun(
        id=run_id,
        pipeline=pipeline.name,
        definition_digest=pipeline.plan.digest,
        plan=pipeline.plan.as_json,
        source_event_id=event,
        subject_id=subject_id,
        operator_state=state_while_running(None, first),
        input=stored,
        first_step=first.name,
        idempotency_key=f"{run_id}:{first.name}",
        task_id=TaskId(run_id),
        actor=process_name(),
        deadline_seconds=pipeline.plan.deadline_seconds,
    )
    return DescribedRun(new=new, size_bytes=size_bytes)


def first_message(pipeline: PipelineDefinition, run_id: RunId) -> StepMessage:
    """Return the message that starts a run: its task has the id of the run."""
    key = StepKey(run_id=run_id, round=1, position=0, direction=Direction.FORWARD)
    return StepMessage.of(pipeline.plan, key, task_id=TaskId(run_id))


def _valid_input(pipeline: PipelineDefinition, value: Any, limit_bytes: int) -> tuple[JsonValue, Any, int]:
    """Return the input as JSON and as the first step's type, after every step has accepted it, and its size."""
    first = pipeline.steps[0]
    try:
        stored, text = to_json_text(first.function.schema.argument_types[0], value)
    except Unserialisable as error:
        raise InvalidInput(pipeline=pipeline.name, step=first.name, problems=(str(error),)) from error
    size_bytes = len(text)
    if size_bytes > limit_bytes:
        raise PayloadTooLarge(
            what=f"the input of pipeline {pipeline.name!r}",
            size_bytes=size_bytes,
            limit_bytes=limit_bytes,
        )
    # Most steps take the same type; a function of the user gets a value of its own.
    typed: dict[TypeAdapter[Any], Any] = {}
    for step in reversed(pipeline.steps):
        adapter, key_function = step.function.schema.argument_types[0], step.function.key_function
        if adapter in typed and key_function is None:
            continue
        try:
            typed[adapter] = adapter.validate_json(text)
        except ValidationError as error:
            raise InvalidInput(pipeline=pipeline.name, step=step.name, problems=problems_of(error)) from error
        if key_function is not None:
            key = _called(pipeline, f"idempotency_key of {step.name}", key_function, typed[adapter])
            _check_id(pipeline.name, f"idempotency_key of {step.name}", key)
    return stored, typed[first.function.schema.argument_types[0]], size_bytes


def _called(pipeline: PipelineDefinition, name: str, function: Callable[[Any], Any], typed: Any) -> Any:
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
