"""What can be done about a run now: safe, only if a person knows more than the record, or not and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from backout.cli.render.commands import VERBS, say_command
from backout.cli.wording import in_commands
from backout.compensations.next_actions import NextAction
from backout.compensations.requests import RunView, Verb
from backout.states import Direction, RunState, StepState
from backout.views.look import needs_output
from backout.views.words import clean

NOTHING = "Nothing can be done about this run now."

_GO_ON = (Verb.CONTINUE_ROLLBACK, Verb.RETRY_STEP, Verb.RESUME)


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
    actions = [action for action in actions if not (is_short and _is_pointless(view, action))]
    safe = [action for action in actions if action.is_possible and action.is_safe]
    unsure = [action for action in actions if action.is_possible and not action.is_safe]
    refused = [action for action in actions if not action.is_possible]
    if not safe and not unsure:
        console.print(NOTHING)
    for title, style, group in (
        ("✓ Safe to do now", "bold green", safe),
        ("? Only if you know more than the record does", "bold yellow", unsure),
    ):
        if group:
            console.print(Text(title, style=style))
        for action in _merge(view, group):
            takes_output = needs_output(view, action.request)
            command = say_command(action.request, view.run.id, start=start, takes_output=takes_output)
            console.print(Text(f"  {command}", style="cyan"), soft_wrap=True)
            console.print(Padding(Text(_say_why(action, is_short=is_short)), (0, 0, 0, 6)))
    if refused and not is_short:
        console.print(Text("✗ Not possible now, and why", style="bold"))
        for action in refused:
            console.print(Padding(_say_refused(action), (0, 0, 0, 2)))


def _merge(view: RunView, actions: Sequence[NextAction]) -> Iterator[NextAction]:
    """Leave out a verb that would do what another does: retry, resume and continue often do the same."""
    best = {action.why: action for action in actions if action.request.verb in _GO_ON}
    for action in actions:
        if action.request.verb in _GO_ON:
            alike = [other for other in actions if other.request.verb in _GO_ON and other.why == action.why]
            best[action.why] = min(alike, key=lambda other: _prefer(view, other.request.verb))
    for action in actions:
        if action.request.verb not in _GO_ON or best[action.why] is action:
            yield action


def _prefer(view: RunView, verb: Verb) -> int:
    has_ended = view.run.state.is_final or view.run.state is RunState.PAUSED
    order = (Verb.CONTINUE_ROLLBACK, *((Verb.RESUME, Verb.RETRY_STEP) if has_ended else (Verb.RETRY_STEP, Verb.RESUME)))
    return order.index(verb)


def _is_pointless(view: RunView, action: NextAction) -> bool:
    """Return whether it would only undo once more what is undone."""
    if action.request.verb is not Verb.RERUN_COMPENSATION:
        return False
    undos = [row for row in view.steps if row.direction is Direction.COMPENSATION and row.step == action.request.step]
    return bool(undos) and undos[-1].state is StepState.SUCCEEDED


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
