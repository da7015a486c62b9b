"""Functions that stand in for a user's own, and the functions that a rehearsal lets the engine find."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backout.errors import ConfigurationError
from backout.pipelines.definition import Companion, PipelineDefinition, Step
from backout.pipelines.functions import TaskFunction
from backout.testing.rehearsal.examples import NoExample, make_example

Function = Callable[..., Any]
StandIns = Mapping[Any, Function]
"""By step, by step's name, by companion, or by the name of a companion's function, with or without its module.

The type of the keys is checked when it is used: to type checkers a mapping of names is none of names and steps.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One function of a pipeline, in one of its steps."""

    step: str
    function: TaskFunction

    @property
    def name(self) -> str:
        """The function's own name."""
        return self.function.task_name.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class MadeUp:
    """A stand-in that does nothing and returns an example of the output.

    As a reconcile function it tells the truth about the rehearsal.
    """

    output: Any

    def __call__(self, *_: Any) -> Any:
        """Return the example."""
        return self.output


def make_stand_ins(pipeline: PipelineDefinition) -> dict[str, Function]:
    """Return stand-ins for all functions of a pipeline, by name, so that a rehearsal calls none of them.

    A step returns an example that fits its output type, a compensation too, and does nothing; a verify function sees
    what was published; a reconcile function answers whether the step has had its effect in the rehearsal.

    Raises:
        ConfigurationError: no example fits an output type.
    """
    return {
        (part.step if part.function.kind == "step" else part.function.task_name): MadeUp(_output_of(part))
        for part in parts_of(pipeline)
    }


def parts_of(pipeline: PipelineDefinition) -> Iterator[Part]:
    """Return the functions of a pipeline, by step, each followed by its companions."""
    for step in pipeline.steps:
        yield Part(step=step.name, function=step.function)
        for companion in step.companions.values():
            yield Part(step=step.name, function=companion.function)


def assign(pipeline: PipelineDefinition, stand_ins: StandIns) -> dict[tuple[str, str], Function]:
    """Return the stand-ins by step and kind of function.

    Raises:
        ConfigurationError: one of them is for nothing in this pipeline.
    """
    parts = list(parts_of(pipeline))
    assigned: dict[tuple[str, str], Function] = {}
    for given, stand_in in stand_ins.items():
        # A step comes before a companion whose function has its name.
        found = [part for part in parts if _is_step(part, given)] or [p for p in parts if _is_companion(p, given)]
        if not found:
            steps, names = [step.name for step in pipeline.steps], [p.name for p in parts if p.function.kind != "step"]
            raise ConfigurationError(
                problem=f"the stand-in for {given!r} is for no function of pipeline {pipeline.name!r}",
                remedy=f"Its steps: {', '.join(steps)}; its companions: {', '.join(names) or 'none'}.",
            )
        assigned |= {(part.step, part.function.kind): stand_in for part in found}
    return assigned


def _is_step(part: Part, given: Step[..., Any] | Companion[..., Any] | str) -> bool:
    if part.function.kind != "step" or isinstance(given, Companion):
        return False
    return part.step == (given if isinstance(given, str) else given.name)


def _is_companion(part: Part, given: Step[..., Any] | Companion[..., Any] | str) -> bool:
    if part.function.kind == "step" or isinstance(given, Step):
        return False
    if isinstance(given, Companion):
        return part.function is given.function
    return given in (part.name, part.function.task_name)


def _output_of(part: Part) -> Any:
    if part.function.kind == "verify":
        return True
    if part.function.kind == "reconcile":
        return None
    try:
        return make_example(part.function.schema.output_type)
    except NoExample as error:
        raise ConfigurationError(
            problem=f"no example of the output of {part.function.kind} {part.name!r} can be made: {error}",
            remedy="Give the fields examples (`Field(examples=[…])`), or rehearse in a test with `stand_ins={…}`.",
        ) from error
