"""How a person acts on one run from the command line: look, be told, agree, act; the same for every verb."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

import click
from rich.console import Console

from backout.cli.completion import complete_runs
from backout.cli.door import say_start
from backout.cli.engine import FoundEngine, open_engine
from backout.cli.exits import Exit
from backout.cli.output import json_option, make_console, write_json
from backout.cli.render.previews import draw_done, draw_look
from backout.cli.shapes import shape_preview
from backout.cli.wait import wait_until_idle
from backout.compensations.actions import ActionDone, act
from backout.compensations.requests import Request, Verb
from backout.errors import ActionRefused, StateChanged
from backout.identifiers import RunId
from backout.states import SETTLED_RUN_STATES
from backout.views.look import Look, look_at
from backout.views.masking import mask_done
from backout.views.picture import resolve_run
from backout.views.shapes import shape
from backout.views.words import say_setting

F = TypeVar("F", bound=Callable[..., Any])

WAIT_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a person asks; see the options.

    Attributes:
        reason: `None`: not given.
        is_agreed: `--yes`.
        expecting: the version of the preview that the person saw.
        wait_seconds: how long to wait for a running attempt; `None`: not at all.
    """

    is_preview: bool
    actor: str
    reason: str | None
    is_agreed: bool
    expecting: str | None
    as_json: bool
    wait_seconds: float | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Return what the options say."""
        return cls(**{name: given[name] for name in cls.__dataclass_fields__ if name in given})

    @property
    def is_asked(self) -> bool:
        """There is a person at a terminal who can be asked."""
        return not self.as_json and sys.stdin.isatty() and sys.stdout.isatty()


def actor_options(function: F) -> F:
    """Add who asks and why."""
    for option in (
        click.option("--reason", metavar="TEXT", help="Why; kept in the record. Asked for on a terminal."),
        click.option(
            "--actor",
            metavar="NAME",
            default=_find_login,
            show_default="your login name",
            help="Who asks; kept in the record.",
        ),
    ):
        function = option(function)
    return function


def acting_options(function: F) -> F:
    """Add what every command that acts has: `--preview`, `--actor`, `--reason`, `--yes`, `--expecting`, `--json`."""
    function = json_option(function)
    for option in (
        click.option(
            "--expecting",
            metavar="VERSION",
            help="Only if the run is still what a preview showed; `--preview --json` prints the version.",
        ),
        click.option("--yes", "is_agreed", is_flag=True, help="Do not ask for confirmation."),
    ):
        function = option(function)
    return click.option("--preview", "is_preview", is_flag=True, help="Show what would be done; change nothing.")(
        actor_options(function)
    )


def wait_option(function: F) -> F:
    """Add `--wait`."""
    return click.option(
        "--wait",
        "wait_seconds",
        type=click.FloatRange(min=0),
        is_flag=False,
        flag_value=WAIT_SECONDS,
        metavar="[SECONDS]",
        help=f"If an attempt is running: pause the run, and wait until it has ended. [{WAIT_SECONDS:g} s]",
    )(function)


run_argument = click.argument("run", shell_complete=complete_runs)


def act_on_run(ctx: click.Context, given_run: str, request: Request, how: How) -> None:
    """Do what a person asks for about one run, or show what it would do.

    Raises:
        UnknownRun: there is no such run, or there are several.
        ActionRefused: it cannot be done, or is not certain to be safe and nobody has agreed.
        StateChanged: somebody else was faster.
    """
    with open_engine(ctx) as found:
        carry_out(ctx, found, resolve_run(found.ledger, given_run), request, how)


def carry_out(ctx: click.Context, found: FoundEngine, run_id: RunId, request: Request, how: How) -> None:
    """Show or do what a person asks for about a run that is known. Raises as `act_on_run`."""
    look = look_at(found.engine, run_id, request)
    if how.is_preview:
        _show_preview(ctx, look, request, how)
        return
    reason = find_reason(how)
    console = make_console(ctx)
    has_waited = False
    if how.wait_seconds is not None and how.expecting is not None:
        # Pausing the run changes what was expected.
        message = "--wait and --expecting cannot be given together."
        raise click.UsageError(message)
    if not look.is_possible and look.is_busy and how.wait_seconds is not None:
        request = wait_until_idle(
            found, look, request, actor=how.actor, reason=reason, wait_seconds=how.wait_seconds, start=say_start(ctx)
        )
        look, has_waited = look_at(found.engine, run_id, request), True
    left = f" The run is paused now; `{say_start(ctx)} runs resume {run_id}` lets it go on." if has_waited else ""
    try:
        version = _agree(ctx, console, look, request, how)
        acted = act(run_id, request, actor=how.actor, reason=reason, expecting=version, engine=found.engine)
    except ActionRefused as error:
        raise ActionRefused(
            verb=error.verb, run_id=error.run_id, why=error.why, remedy=f"{error.remedy}{left}"
        ) from error
    except StateChanged as error:
        raise StateChanged(
            verb=error.verb, run_id=error.run_id, expected=error.expected, found=f"{error.found}{left}", by=error.by
        ) from error
    except click.Abort:
        click.echo(f"Nothing was done.{left}", err=True)
        ctx.exit(Exit.PROBLEM)
    done = mask_done(acted, look.view.plan, look.secrets)
    _report(ctx, console, found, done, look.secrets.hide(reason), how)


def find_reason(how: How) -> str:
    """Return why, asked for where somebody can be asked.

    Raises:
        click.UsageError: nobody can, and it was not given.
    """
    if how.reason is not None:
        return how.reason
    if not how.is_asked:
        message = "Missing option '--reason'. Say why: it is kept in the record, for whoever reads it later."
        raise click.UsageError(message)
    answer: str = click.prompt("Why (kept in the record)")
    return answer


def say_sending(found: FoundEngine, *, is_sent: bool) -> str:
    """Return when what was recorded starts."""
    within = f"within about {say_setting(found.sweep_seconds)} (backout_sweep_interval_seconds)"
    if found.is_recording:
        return f"Recorded; the workers' sweeper sends it {within}."
    if is_sent:
        return "Sent to the workers."
    resend = say_setting(found.engine.settings.resend_seconds)
    return f"Recorded, but the broker did not take the message; the sweeper sends it within about {resend}."


def _find_login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        message = "This machine does not know your login name. Say who you are: --actor NAME."
        raise click.UsageError(message) from None


def _show_preview(ctx: click.Context, look: Look, request: Request, how: How) -> None:
    if how.as_json:
        write_json(shape_preview(look, request, start=say_start(ctx)))
    else:
        console = make_console(ctx)
        console.print(draw_look(look))
        console.print("Nothing was changed.", style="dim")
    ctx.exit(Exit.OK if look.is_possible else Exit.REFUSED)


def _agree(ctx: click.Context, console: Console, look: Look, request: Request, how: How) -> str | None:
    """Return the version that was agreed to; `None`: whatever the run is like when it is done.

    Raises:
        ActionRefused: it cannot be done, or is not certain to be safe and nobody can be asked.
        click.Abort: the person does not agree.
    """
    refusal = look.preview.refusal
    if refusal is not None:
        raise ActionRefused(verb=request.verb.value, run_id=look.view.run.id, why=refusal.why, remedy=refusal.remedy)
    if how.is_agreed:
        return how.expecting
    if how.is_asked:
        console.print(draw_look(look))
        click.confirm("Do it, although it is not certain to be safe?" if look.warning else "Do it?", abort=True)
        return how.expecting or look.preview.version
    if look.warning:
        raise ActionRefused(
            verb=request.verb.value,
            run_id=look.view.run.id,
            why=f"it is not certain to be safe: {look.warning.rstrip('.')}",
            remedy="Look at it with --preview; if you know that it does no harm, ask again with --yes.",
        )
    # A pause is right whatever the run has come to; everything else was judged safe as it was seen.
    return how.expecting if request.verb is Verb.PAUSE else how.expecting or look.preview.version


def _report(ctx: click.Context, console: Console, found: FoundEngine, done: ActionDone, reason: str, how: How) -> None:
    sending = say_sending(found, is_sent=done.is_sent)
    if how.as_json:
        write_json({**shape(done), "actor": how.actor, "reason": reason, "sending": sending if done.tasks else None})
        return
    console.print(draw_done(done, actor=how.actor, reason=reason, sending=sending))
    start = say_start(ctx)
    if done.state not in SETTLED_RUN_STATES:
        console.print(f"  follow it: {start} runs watch {done.run_id}", style="dim", soft_wrap=True)
    elif not done.state.is_final:
        console.print(f"  what then: {start} runs next {done.run_id}", style="dim", soft_wrap=True)
