"""The functions of a pipeline as one rehearsal lets the engine find them: with faults, and with books kept."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from backout.pipelines.definition import PipelineDefinition
from backout.pipelines.functions import TaskFunction
from backout.pipelines.schema import NotDone
from backout.pipelines.validation import SIGNATURES
from backout.states import Direction
from backout.tasks.context import StepContext
from backout.testing.rehearsal.books import Books, RehearsedCall
from backout.testing.rehearsal.faults import Faults
from backout.testing.rehearsal.stand_ins import MadeUp, parts_of

_DIRECTIONS: Final[Mapping[str, Direction]] = {"step": Direction.FORWARD, "compensation": Direction.COMPENSATION}
"""The kinds of functions that have effects; the others ask."""


class Stage:
    """Puts stand-ins, faults and books between the engine and the functions of a pipeline."""

    def __init__(self, assigned: Mapping[tuple[str, str], Callable[..., Any]], *, books: Books, faults: Faults) -> None:
        self._assigned = assigned
        self._books = books
        self._faults = faults

    def functions(self, pipeline: PipelineDefinition) -> list[TaskFunction]:
        """Return what replaces the functions of the pipeline."""
        return [self._replace(part.function) for part in parts_of(pipeline)]

    def _replace(self, function: TaskFunction) -> TaskFunction:
        def play(*arguments: Any) -> Any:
            *data, context = arguments
            return self._play(function, data, context)

        made = replace(function, call=play)
        # The types are the original's; the context tells in which step, and under which key, it is called.
        vars(made)["schema"] = replace(function.schema, takes_context=True)
        return made

    def _play(self, function: TaskFunction, data: list[Any], context: StepContext) -> Any:
        direction = _DIRECTIONS.get(function.kind)
        if direction is None:
            return self._answer(function, data, context)
        self._faults.before_call(context.step, direction)
        call = RehearsedCall(
            step=context.step,
            is_undo=function.kind == "compensation",
            key=context.idempotency_key,
            attempt=context.attempt,
            had_effect=True,
        )
        try:
            result = self._call(function, data, context)
        except BaseException:
            self._books.write(replace(call, had_effect=False))
            raise
        self._books.write(call, result)
        self._faults.after_call(context.step, direction)
        return result

    def _answer(self, function: TaskFunction, data: list[Any], context: StepContext) -> Any:
        is_made_up = isinstance(self._assigned.get((context.step, function.kind)), MadeUp)
        if function.kind == "reconcile" and is_made_up:
            is_done = self._books.has_happened(context.step)
            return self._books.output_of(context.step) if is_done else NotDone()
        return self._call(function, data, context)

    def _call(self, function: TaskFunction, data: list[Any], context: StepContext) -> Any:
        stand_in = self._assigned.get((context.step, function.kind))
        if stand_in is None:
            takes_context = function.schema.takes_context
            return function.call(*data, *((context,) if takes_context else ()))
        return stand_in(*data, *((context,) if _takes_context(stand_in, function.kind) else ()))


def _takes_context(stand_in: Callable[..., Any], kind: str) -> bool:
    try:
        inspect.signature(stand_in).bind(*[None] * (SIGNATURES[kind][1] + 1))
    except TypeError:
        return False
    return True
