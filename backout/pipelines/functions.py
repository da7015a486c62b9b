"""The functions of pipelines that this process has defined, by the name of the Celery task that runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from backout.errors import DefinitionError
from backout.pipelines.recorded_ids import RecordedIds, read_recorded_ids
from backout.pipelines.schema import Schema, read_schema
from backout.pipelines.validation import SIGNATURES

ORIGINAL_RUN: Final = "backout_original_run"
"""Where the engine's `run` of an existing Celery task that it has taken over keeps the task's own."""

FunctionKind = Literal["step", "compensation", "reconcile", "verify"]


@dataclass(frozen=True, kw_only=True)
class TaskFunction:
    """A user's function and the Celery task under which it runs.

    Attributes:
        task_name: the dotted name of the Celery task.
        call: what the engine calls; for an existing Celery task its original `run`.
        task_options: Celery options of the task class, passed on unchanged.
        key_function: makes the idempotency key from the input; `None` where run and step are the key.
        existing_task: the user's own Celery task that was made a step, else `None`.
    """

    kind: FunctionKind
    task_name: str
    call: Callable[..., Any]
    task_options: Mapping[str, Any] = field(default_factory=dict)
    ack_early: bool = False
    key_function: Callable[[Any], str] | None = None
    existing_task: Any = None

    @cached_property
    def schema(self) -> Schema:
        """The resolved types; resolved late, because a module may define its types after its steps."""
        return read_schema(self.call, subject=f"{self.kind} {self.task_name}", data_arguments=SIGNATURES[self.kind][1])

    @cached_property
    def recorded_ids(self) -> RecordedIds:
        """The external ids that it records, as far as its source shows; read late, because few ever ask."""
        return read_recorded_ids(self.call, data_arguments=SIGNATURES[self.kind][1])


Listener = Callable[[TaskFunction], None]

_functions: Final[dict[str, TaskFunction]] = {}
_listeners: Final[list[Listener]] = []


def add_function(function: TaskFunction) -> None:
    """Make a function known under its task name and tell the listeners.

    Raises:
        DefinitionError: another function already has the name. (The same source line may come again: a reload.)
    """
    known = _functions.get(function.task_name)
    if known is not None and _place(known.call) != _place(function.call):
        raise DefinitionError(
            subject=f"{function.kind} {function.task_name}",
            problem=f"the Celery task name is already taken by {_place(known.call)}",
            remedy='Give it another name: `@step(name="…")`.',
        )
    _functions[function.task_name] = function
    for listener in _listeners:
        listener(function)


def subscribe(listener: Listener) -> None:
    """Call `listener` for every function that is known and for each that comes later."""
    _listeners.append(listener)
    for function in list(_functions.values()):
        listener(function)


def find_function(task_name: str) -> TaskFunction | None:
    """Return the function of a task; `None` when this process has not defined it."""
    return _functions.get(task_name)


def known_tasks() -> tuple[str, ...]:
    """Return the names of all tasks that run a function of a pipeline in this process."""
    return tuple(_functions)


@contextmanager
def functions_in_place(others: Iterable[TaskFunction]) -> Iterator[None]:
    """Let other functions be found under the task names of known ones inside the block; no listener is told."""
    replaced = {other.task_name: other for other in others}
    before = {name: _functions[name] for name in replaced}
    _functions.update(replaced)
    try:
        yield
    finally:
        _functions.update(before)


def _place(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else repr(function)
