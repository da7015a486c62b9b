"""The input of a rehearsal on the command line: read from JSON, or an example that every step accepts."""

from __future__ import annotations

from pydantic import ValidationError

from backout.errors import ConfigurationError, InvalidInput
from backout.jsontext import JsonValue
from backout.pipelines.definition import PipelineDefinition
from backout.pipelines.schema import from_json, problems_of
from backout.testing.rehearsal.examples import NoExample, make_json_example


def make_input(pipeline: PipelineDefinition) -> JsonValue:
    """Return an example of the input as JSON, with the fields that any step requires.

    Raises:
        ConfigurationError: no example fits all steps.
    """
    example: JsonValue = None
    try:
        for step in reversed(pipeline.steps):
            example = _merge(example, make_json_example(step.function.schema.argument_types[0]))
        check_input(pipeline, example)
    except NoExample as error:
        raise _refuse(pipeline, str(error)) from error
    except InvalidInput as error:
        raise _refuse(pipeline, "; ".join(error.problems)) from error
    return example


def check_input(pipeline: PipelineDefinition, stored: JsonValue) -> None:
    """Check that every step accepts an input that is given as JSON.

    Raises:
        InvalidInput: one does not.
    """
    for step in pipeline.steps:
        try:
            from_json(step.function.schema.argument_types[0], stored)
        except ValidationError as error:
            raise InvalidInput(pipeline=pipeline.name, step=step.name, problems=problems_of(error)) from error


def typed_input(pipeline: PipelineDefinition, stored: JsonValue) -> object:
    """Return an input that has been checked as the first step declares it."""
    typed: object = from_json(pipeline.steps[0].function.schema.argument_types[0], stored)
    return typed


def _merge(known: JsonValue, more: JsonValue) -> JsonValue:
    return {**known, **more} if isinstance(known, dict) and isinstance(more, dict) else more


def _refuse(pipeline: PipelineDefinition, problem: str) -> ConfigurationError:
    return ConfigurationError(
        problem=f"no example of the input of pipeline {pipeline.name!r} can be made: {problem}",
        remedy="Give one as JSON with --input FILE, or the fields examples (`Field(examples=[…])`).",
    )
