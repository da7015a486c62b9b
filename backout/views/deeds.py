"""What an action does, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from backout.compensations.requests import PlannedTask, TaskKind, Verb
from backout.jsontext import JsonValue, dump_json
from backout.views.words import clean, clip

LONGEST_VALUE: Final = 300
DEEDS: Final[Mapping[Verb, str]] = {
    Verb.RETRY_STEP: "retry the step at which the run stopped",
    Verb.RESUME: "let the run go on",
    Verb.SKIP_STEP: "go on without the step",
    Verb.ROLLBACK: "undo what the run did",
    Verb.RERUN_COMPENSATION: "run the undo of a step again",
    Verb.CONTINUE_ROLLBACK: "let the rollback go on",
    Verb.RESOLVE: "decide the review",
    Verb.CANCEL: "stop the run, and leave what was done",
    Verb.PAUSE: "pause the run",
}
TASK_WORDS: Final[Mapping[TaskKind, str]] = {
    TaskKind.RUN: "run",
    TaskKind.UNDO: "undo",
    TaskKind.ASK: "ask whether it happened:",
    TaskKind.VERIFY: "look whether it is live:",
}


def say_tasks(tasks: Sequence[PlannedTask]) -> str:
    """Return tasks in one line: `undo charge_card, then undo reserve_stock`."""
    return ", then ".join(f"{TASK_WORDS[task.kind]} {clean(task.step)}" for task in tasks)


def say_given(value: JsonValue) -> str:
    """Return what a task is called with; empty when that is nothing."""
    if value is None or value in ({}, []):
        return ""
    if isinstance(value, Mapping) and all(isinstance(item, str) for item in value.values()):
        return clip(", ".join(f"{name} {item}" for name, item in value.items()), LONGEST_VALUE)
    return clip(value if isinstance(value, str) else dump_json(value), LONGEST_VALUE)
