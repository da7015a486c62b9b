"""The documented JSON shapes that hold what is typed: previews and actions with their commands."""

from __future__ import annotations

from typing import Any

from backout.cli.render.commands import say_command
from backout.compensations.next_actions import NextAction
from backout.compensations.requests import Request, RunView
from backout.views import shapes
from backout.views.look import Look, needs_output


def shape_preview(look: Look, request: Request, *, start: str) -> dict[str, Any]:
    """Return what an action would do, as `--preview --json` writes it: see `shapes.shape_preview`, and `command`."""
    takes_output = needs_output(look.view, request) and request.output is None
    command = say_command(request, look.view.run.id, start=start, takes_output=takes_output)
    return {**shapes.shape_preview(look), "command": command}


def shape_action(view: RunView, action: NextAction, *, start: str) -> dict[str, Any]:
    """Return one thing that could be done about a run: see `shapes.shape_action`, and `command`."""
    takes_output = needs_output(view, action.request)
    command = say_command(action.request, view.run.id, start=start, takes_output=takes_output)
    return {**shapes.shape_action(action), "command": command}
