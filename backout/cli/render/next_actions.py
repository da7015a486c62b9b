"""What can be done about a run now: safe, only if a person knows more than the record, or not and why."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from backout.cli.render.commands import VERBS, say_command
from backout.cli.wording import in_commands
from backout.compensations.next_actions import NextAction
from backout.compensations.requests import RunView, Verb
from backout.views.actions import NOTHING, GroupedActions, is_pointless
from backout.views.look import needs_output
from backout.views.words import clean


def print_actions(
    console: Console, view: RunView, actions: Sequence[NextAction], *, start: str, is_short: bool = False
) -> None:
    """Print the actions in groups, each with the exact command; commands are never broken, so that they can be copied.

    Args:
        console: where.
        view: the run.
        actions: safe ones first.
        start: how a command starts.
        is_short: only what is possible, in a sentence or two each; otherwise also what would be refused, and why.
    """
    actions = [action for action in actions if not (is_short and is_pointless(view, action))]
    grouped = GroupedActions.of(view, actions)
    if not grouped.safe and not grouped.unsure:
        console.print(NOTHING)
    for title, style, group in (
        ("✓ Safe to do now", "bold green", grouped.safe),
        ("? Only if you know more than the record does", "bold yellow", grouped.unsure),
    ):
        if group:
            console.print(Text(title, style=style))
        for action in group:
            takes_output = needs_output(view, action.request)
            command = say_command(action.request, view.run.id, start=start, takes_output=takes_output)
            console.print(Text(f"  {command}", style="cyan"), soft_wrap=True)
            console.print(Padding(Text(_say_why(action, is_short=is_short)), (0, 0, 0, 6)))
    if grouped.refused and not is_short:
        console.print(Text("✗ Not possible now, and why", style="bold"))
        for action in grouped.refused:
            console.print(Padding(_say_refused(action), (0, 0, 0, 2)))


def _say_why(action: NextAction, *, is_short: bool) -> str:
    why = in_commands(clean(action.why))
    # Of what is not certain the second sentence says why.
    sentences = why.split(". ")[: 1 if action.is_safe else 2]
    return f"{'. '.join(sentences).rstrip('.')}." if is_short else why


def _say_refused(action: NextAction) -> Text:
    about = f" {clean(action.request.step)}" if action.request.step else ""
    if action.request.verb is Verb.RESOLVE and action.request.decision is not None:
        about = f" {action.request.review_id} {action.request.decision.value.replace('_', '-')}"
    return Text.assemble((f"{VERBS[action.request.verb]}{about}", "bold"), f": {in_commands(clean(action.why))}")
