"""What an action would do, and what one has done, for a person who must decide on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from backout.cli.render.tones import draw_mark
from backout.cli.wording import in_commands
from backout.compensations.actions import ActionDone
from backout.compensations.requests import PlannedTask, Refusal, TaskKind, Verb
from backout.jsontext import JsonValue, dump_json
from backout.states import RunState
from backout.views.look import Look
from backout.views.marks import RUN_MARKS
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
_KINDS: Final[Mapping[TaskKind, str]] = {
    TaskKind.RUN: "run",
    TaskKind.UNDO: "undo",
    TaskKind.ASK: "ask whether it happened:",
    TaskKind.VERIFY: "look whether it is live:",
}


def draw_look(look: Look) -> RenderableType:
    """Return what would be done: where it leads, the tasks in order, what to know, and what is not certain."""
    seen = look.preview
    mark = RUN_MARKS[seen.state]
    head = Text.assemble(
        ("Preview", "bold"),
        f": {DEEDS[seen.verb]}.\n",
        f"Run {seen.run_id} of {clean(look.view.run.pipeline)} is ",
        draw_mark(mark),
        f" ({clean(look.view.run.operator_state)})",
    )
    if seen.refusal is not None:
        return Group(head + Text("."), *_draw_refusal(seen.refusal))
    if seen.leads_to is not None:
        head += _say_lead(seen.state, seen.leads_to)
    notes = [note for note in seen.notes if note not in look.warning]
    return Group(head, draw_tasks(seen.tasks), *_draw_notes(notes), *_draw_warning(look.warning))


def draw_tasks(tasks: Sequence[PlannedTask]) -> RenderableType:
    """Return the tasks that would run, in order, with what each is called with and what it would not have."""
    if not tasks:
        return Text("No task would run.")
    parts: list[RenderableType] = [Text("It would run, in this order:" if len(tasks) > 1 else "It would run:")]
    for number, task in enumerate(tasks, start=1):
        parts.append(Padding(Text("\n").join(_draw_task(number, task)), (0, 0, 0, 2)))
    return Group(*parts)


def say_tasks(tasks: Sequence[PlannedTask]) -> str:
    """Return tasks in one line: `undo charge_card, then undo reserve_stock`."""
    return ", then ".join(f"{_KINDS[task.kind]} {clean(task.step)}" for task in tasks)


def draw_done(done: ActionDone, *, actor: str, reason: str, sending: str) -> RenderableType:
    """Return what was done, and how it goes on.

    Args:
        done: what the action returned.
        actor: who asked.
        reason: why.
        sending: when the first task starts, a sentence.
    """
    mark = RUN_MARKS[done.state]
    head = Text.assemble(
        ("✓ Done", "bold green"),
        ": the run is ",
        draw_mark(mark),
        f". Recorded as asked for by {clean(actor)}: {clip(reason, LONGEST_VALUE)}.",
    )
    parts: list[RenderableType] = [head]
    if done.tasks:
        parts.append(Padding(Text(f"next: {say_tasks(done.tasks)}\n{sending}"), (0, 0, 0, 2)))
    return Group(*parts, *_draw_notes(done.notes))


def _say_lead(state: RunState, leads_to: RunState) -> Text:
    if leads_to is state:
        return Text(" and stays so.")
    mark = RUN_MARKS[leads_to]
    return Text.assemble(", and would be ", draw_mark(mark), ".")


def _draw_refusal(refusal: Refusal) -> list[RenderableType]:
    why = Text.assemble(("✗ It would be refused", "bold red"), f": {in_commands(clean(refusal.why))}.")
    return [why, Padding(Text(in_commands(clean(refusal.remedy))), (0, 0, 0, 2))]


def _draw_task(number: int, task: PlannedTask) -> Iterator[Text]:
    action = f": {clean(task.action)}" if task.action else ""
    yield Text.assemble(f"{number}. {_KINDS[task.kind]} ", (clean(task.step), "bold"), action)
    yield Text(f"   task {clean(task.name) or '(none is defined)'}", style="dim")
    for name, value in task.given.items():
        shown = _say_given(value)
        if shown:
            yield Text(f"   with {name.replace('_', ' ')} {shown}", style="dim")
    for missing in task.missing:
        yield Text(f"   without {clean(missing)}", style="yellow")


def _say_given(value: JsonValue) -> str:
    if value is None or value in ({}, []):
        return ""
    if isinstance(value, Mapping) and all(isinstance(item, str) for item in value.values()):
        return clip(", ".join(f"{name} {item}" for name, item in value.items()), LONGEST_VALUE)
    return clip(value if isinstance(value, str) else dump_json(value), LONGEST_VALUE)


def _draw_notes(notes: Sequence[str]) -> list[RenderableType]:
    return [Padding(Text(f"· {in_commands(clean(note))}"), (0, 0, 0, 0)) for note in notes]


def _draw_warning(warning: str) -> list[RenderableType]:
    if not warning:
        return []
    return [
        Text.assemble(
            ("\n! CAREFUL: something may be done twice or be lost.\n", "bold red"), in_commands(clean(warning))
        )
    ]
