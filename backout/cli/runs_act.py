"""`backout runs retry`, `resume`, `skip`, `rollback`, `continue`, `cancel`, `pause`: one run, or many at once."""

from __future__ import annotations

from typing import Any

import click

from backout.cli.acting import wait_option
from backout.cli.bulk import act_on, one_or_many
from backout.cli.completion import complete_steps
from backout.compensations.requests import Request, Verb


@click.command("retry")
@one_or_many
@click.option("--step", metavar="NAME", shell_complete=complete_steps, help="Only if the run stopped at this step.")
@click.pass_context
def retry_command(ctx: click.Context, /, run: str | None, step: str | None, **given: Any) -> None:
    """Run the step of RUN again at which it stopped, with all its retries again.

    Without RUN: all runs that --pipeline, --state and --since choose.
    """
    act_on(ctx, run, Request(verb=Verb.RETRY_STEP, step=step), given)


@click.command("resume")
@one_or_many
@click.pass_context
def resume_command(ctx: click.Context, /, run: str | None, **given: Any) -> None:
    """Let RUN go on where it stopped: paused, parked, cancelled, failed. One that was rolled back starts again.

    Without RUN: all runs that --pipeline, --state and --since choose.
    """
    act_on(ctx, run, Request(verb=Verb.RESUME), given)


@click.command("skip")
@one_or_many
@click.option("--step", metavar="NAME", shell_complete=complete_steps, help="Only if the run stopped at this step.")
@wait_option
@click.pass_context
def skip_command(ctx: click.Context, /, run: str | None, step: str | None, **given: Any) -> None:
    """Let RUN go on without the step at which it stopped.

    Without RUN: all runs that --pipeline, --state and --since choose.
    """
    act_on(ctx, run, Request(verb=Verb.SKIP_STEP, step=step), given)


@click.command("rollback")
@one_or_many
@click.option(
    "--to-step", metavar="NAME", shell_complete=complete_steps, help="Undo back to this step, which stays as it is."
)
@click.option(
    "--across-irreversible",
    metavar="REASON",
    help="Undo the others although a step that cannot be undone stays; say why that is right.",
)
@wait_option
@click.pass_context
def rollback_command(
    ctx: click.Context, /, run: str | None, to_step: str | None, across_irreversible: str | None, **given: Any
) -> None:
    """Undo what RUN did, last step first; also long after it succeeded.

    Without RUN: all runs that --pipeline, --state and --since choose.
    """
    request = Request(verb=Verb.ROLLBACK, to_step=to_step, across_irreversible=across_irreversible)
    act_on(ctx, run, request, given)


@click.command("continue")
@one_or_many
@click.pass_context
def continue_command(ctx: click.Context, /, run: str | None, **given: Any) -> None:
    """Let a rollback of RUN go on that has stopped; undos that failed run again.

    Without RUN: all runs that --pipeline, --state and --since choose.
    """
    act_on(ctx, run, Request(verb=Verb.CONTINUE_ROLLBACK), given)


@click.command("cancel")
@one_or_many
@click.option("--rollback", "with_rollback", is_flag=True, help="Undo what was done: the same as `runs rollback`.")
@wait_option
@click.pass_context
def cancel_command(ctx: click.Context, /, run: str | None, with_rollback: bool, **given: Any) -> None:
    """Stop RUN for good; what was done stays.

    Without RUN: all runs that --pipeline, --state and --since choose.
    """
    act_on(ctx, run, Request(verb=Verb.CANCEL, with_rollback=with_rollback), given)


@click.command("pause")
@one_or_many
@click.pass_context
def pause_command(ctx: click.Context, /, run: str | None, **given: Any) -> None:
    """Let nothing new of RUN start until it is resumed; an attempt that is running goes on to its end.

    Without RUN: all runs that --pipeline, --state and --since choose.
    """
    act_on(ctx, run, Request(verb=Verb.PAUSE), given)


ACTIONS = (
    retry_command,
    resume_command,
    skip_command,
    rollback_command,
    continue_command,
    cancel_command,
    pause_command,
)
"""All of them, in the order of the help."""
