"""The entry of the command line; imports only what is light, because every Celery process imports this module."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

import click

from backout.cli.exits import EXIT_HELP
from backout.cli.lazy import LazyCommand, LazyGroup

COMMANDS: Final = {
    "demo": LazyCommand(
        "backout.cli.demo:demo", "Watch pipelines succeed, roll back, and survive a killed worker.", extra="demo"
    ),
    "runs": LazyCommand("backout.cli.runs:runs", "Look at runs and act on them: list, show, next, retry, rollback …"),
    "reviews": LazyCommand("backout.cli.reviews:reviews", "What a person must decide: list, show, resolve, assign."),
    "compensations": LazyCommand("backout.cli.compensations:compensations", "What undoes steps: list, run one again."),
    "pipelines": LazyCommand("backout.cli.pipelines:pipelines", "How pipelines are doing: rates, open runs, latency."),
    "check": LazyCommand("backout.cli.check:check", "Show the contracts of pipelines, with warnings."),
    "contract": LazyCommand("backout.cli.contract:contract", "Show one pipeline's contract: table, Markdown, HTML, …"),
    "rehearse": LazyCommand(
        "backout.cli.rehearse:rehearse", "Run a pipeline at every place where it can fail, on a scratch ledger."
    ),
    "doctor": LazyCommand("backout.cli.doctor:doctor", "Check a running installation; how to mend what is wrong."),
    "flower": LazyCommand("backout.cli.flower:flower", "Start Flower with the Runs tab.", extra="flower"),
    "ledger": LazyCommand("backout.cli.ledger:ledger", "The ledger's tables: upgrade, verify, purge, archive …"),
    "sweep": LazyCommand("backout.cli.sweep:sweep", "Run the sweeper as a service of its own."),
}

COMPLETION_HELP: Final = """\b
Shell completion, with run ids and pipeline names, in the start file of your shell:
  bash  eval "$(_BACKOUT_COMPLETE=bash_source backout)"
  zsh   eval "$(_BACKOUT_COMPLETE=zsh_source backout)"
  fish  _BACKOUT_COMPLETE=fish_source backout | source
"""


def _show_version(ctx: click.Context, _option: click.Parameter, is_asked: bool) -> None:
    if not is_asked or ctx.resilient_parsing:
        return
    try:
        click.echo(f"backout {version('backout')}")
    except PackageNotFoundError:
        click.echo("backout, not installed as a package")
    ctx.exit()


@click.group(
    "backout",
    cls=LazyGroup,
    lazy=COMMANDS,
    epilog=f"{EXIT_HELP}\n\n{COMPLETION_HELP}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--database",
    metavar="URL",
    envvar="BACKOUT_DATABASE_URL",
    show_envvar=True,
    help="The ledger, as an SQLAlchemy URL. Comes before the app's own.",
)
@click.option(
    "-A",
    "--app",
    "app_name",
    metavar="APP",
    envvar="BACKOUT_APP",
    show_envvar=True,
    help="The Celery app whose ledger and pipelines are meant, such as proj or proj.celery:app.",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show it.")
def backout(database: str | None, app_name: str | None) -> None:
    """What happened to the runs of your pipelines, and what is in their contracts.

    The ledger is named by --database, or by the Celery app: `celery -A proj backout …`, or `backout --app proj …`.
    Woken by a broken run? `backout runs list --needs-person`, then `backout runs show RUN`: it says what is safe.
    """


def main() -> None:
    """Run the command line of this process."""
    backout.main(prog_name="backout")
