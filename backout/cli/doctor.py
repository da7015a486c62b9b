"""`backout doctor`: checks a running installation, and says how to mend what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console

from backout.cli.celery_app import import_pipelines
from backout.cli.door import find_app, named_app, named_database
from backout.cli.exits import Exit
from backout.cli.output import json_option, make_console, write_json
from backout.cli.render.findings import print_findings
from backout.errors import BackoutError, ConfigurationError
from backout.pipelines.contract import Plan
from backout.pipelines.registry import all_pipelines
from backout.tasks.doctor.collect import Question, collect_facts
from backout.tasks.doctor.diagnosis import diagnose
from backout.tasks.doctor.facts import Failed
from backout.tasks.doctor.findings import Finding, Level, count_levels
from backout.views.shapes import shape


@click.command("doctor")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    default=2.0,
    show_default=True,
    help="How long to wait for the broker, the database, and the next worker's answer.",
)
@click.option("--no-workers", is_flag=True, help="Leave the workers out; they are asked by Celery's remote control.")
@click.option("--strict", is_flag=True, help="Exit with 1 when there is a warning.")
@json_option
@click.pass_context
def doctor(ctx: click.Context, timeout: float, no_workers: bool, strict: bool, as_json: bool) -> None:
    """Check a running installation: settings, ledger, broker, workers, pipelines, sweeper, events for Flower.

    Changes nothing. Where the broker or the database is away it says so, and goes on with what can be checked. Each
    finding has a code, which is a heading of docs/reference/doctor.md. Exit code 1 when there is a problem.

    With --json: {"ok", "counts": {level: number}, "findings": [{"area", "code", "level", "found", "why", "remedy",
    "to_copy"}…]}; ok is false when there is a problem.
    """
    question = _make_question(ctx, timeout_seconds=timeout, with_workers=not no_workers)
    console = make_console(ctx)
    try:
        with _progress(console, is_shown=not as_json) as tell:
            findings = diagnose(collect_facts(question, tell))
    except KeyboardInterrupt:
        ctx.exit(Exit.INTERRUPTED)
    counts = count_levels(findings)
    if as_json:
        write_json({"ok": not counts[Level.PROBLEM], "counts": shape(counts), "findings": _shape(findings)})
    else:
        print_findings(console, findings)
    is_bad = counts[Level.PROBLEM] or (strict and counts[Level.WARNING])
    ctx.exit(Exit.PROBLEM if is_bad else Exit.OK)


def _make_question(ctx: click.Context, *, timeout_seconds: float, with_workers: bool) -> Question:
    app, database_url = find_app(ctx), named_database(ctx)
    if app is None and database_url is None:
        raise ConfigurationError(
            problem="nothing says which installation is meant",
            remedy=(
                "Give the Celery app: `celery -A proj backout doctor` or `backout --app proj doctor`; with "
                "`backout --database URL doctor` only the ledger is checked."
            ),
        )
    return Question(
        app=app,
        app_name=named_app(ctx) or str(getattr(app, "main", None) or "proj"),
        database_url=database_url,
        plans=_read_plans(app),
        timeout_seconds=timeout_seconds,
        with_workers=with_workers,
    )


def _read_plans(app: Any) -> tuple[Plan, ...] | Failed:
    if app is None:
        return ()
    try:
        import_pipelines(app)
    except ConfigurationError as error:
        return Failed(said=error.problem, remedy=error.remedy)
    except BackoutError as error:
        return Failed(said=str(error))
    return tuple(pipeline.plan for pipeline in all_pipelines().values())


@contextmanager
def _progress(console: Console, *, is_shown: bool) -> Iterator[Callable[[str], None]]:
    """Show what is waited for, on a terminal only."""
    if not (is_shown and console.is_terminal):
        yield lambda _: None
        return
    with console.status("reading the settings …") as status:
        yield lambda text: status.update(f"{text} …")


def _shape(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [{"area": finding.area.value, **shape(finding)} for finding in findings]
