"""What an action would do, and what one has done, for a person who must decide on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from backout.cli.render.tones import draw_mark
from backout.cli.wording import in_commands
from backout.compensations.actions import ActionDone
from backout.compensations.requests import PlannedTask, Refusal
from backout.states import RunState
from backout.views.deeds import DEEDS, LONGEST_VALUE, TASK_WORDS, say_given, say_tasks
from backout.views.look import Look
from backout.views.marks import RUN_MARKS
from backout.views.words import clean, clip


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
    yield Text.assemble(f"{number}. {TASK_WORDS[task.kind]} ", (clean(task.step), "bold"), action)
    yield Text(f"   task {clean(task.name) or '(none is defined)'}", style="dim")
    for name, value in task.given.items():
        shown = say_given(value)
        if shown:
            yield Text(f"   with {name.replace('_', ' ')} {shown}", style="dim")
    for missing in task.missing:
        yield Text(f"   without {clean(missing)}", style="yellow")


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
