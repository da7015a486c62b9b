"""Waiting until a running attempt has ended: the run is paused, so that nothing new starts meanwhile."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

import click

from backout.cli.engine import FoundEngine
from backout.compensations.actions import act
from backout.compensations.requests import Request, Verb
from backout.errors import WaitTimedOut
from backout.states import ACTIVE_RUN_STATES, Direction
from backout.views.look import Look, read_view
from backout.views.words import say_setting

PAUSE_SECONDS: Final = 0.25


class StillRunning(WaitTimedOut):
    """An attempt had not ended when the patience was at its end. The run stays paused."""

    def __init__(self, *, run_id: str, timeout_seconds: float, step: str, attempt: int, start: str) -> None:
        super().__init__(run_id=run_id, timeout_seconds=timeout_seconds, state="running")
        self.args = (
            f"attempt {attempt} of {step} is still running after {timeout_seconds:g} s. Nothing else was done, and the "
            f"run stays paused: nothing new starts. Ask again with a longer --wait, or let it go on with "
            f"`{start} runs resume {run_id}`.",
        )


def wait_until_idle(
    found: FoundEngine, look: Look, request: Request, *, actor: str, reason: str, wait_seconds: float, start: str
) -> Request:
    """Pause a run, and wait until no attempt of it runs. Progress goes to standard error.

    Returns:
        The request, held to the step that was running: the run may meanwhile stand at the next one.

    Raises:
        WaitTimedOut: an attempt still runs; the run stays paused.
        StateChanged: a worker was just taking a step up; ask again.
    """
    run, row = look.view.run, look.view.running[0]
    if run.state in ACTIVE_RUN_STATES:
        why = f"waits for attempt {row.attempt} of {row.step} to end: {reason}"
        act(run.id, Request(verb=Verb.PAUSE), actor=actor, reason=why[:2000], engine=found.engine)
        click.echo("The run is paused: nothing new starts.", err=True)
    click.echo(f"Waiting up to {say_setting(wait_seconds)} for attempt {row.attempt} of {row.step} to end …", err=True)
    ends_at = time.monotonic() + wait_seconds
    try:
        while running := read_view(found.ledger, run.id).running:
            left = ends_at - time.monotonic()
            if left <= 0:
                raise StillRunning(
                    run_id=run.id,
                    timeout_seconds=wait_seconds,
                    step=running[0].step,
                    attempt=running[0].attempt,
                    start=start,
                )
            time.sleep(min(PAUSE_SECONDS, left))
    except KeyboardInterrupt:
        click.echo(f"Stopped waiting. The run stays paused; `{start} runs resume {run.id}` lets it go on.", err=True)
        raise
    click.echo("It has ended.", err=True)
    is_about_step = request.verb is Verb.SKIP_STEP and row.direction is Direction.FORWARD
    return replace(request, step=request.step or row.step) if is_about_step else request
