"""The same verb for many runs: count, agree, act one after the other; each run is a transaction of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Self, TypeVar

import click
from rich.console import Console
from rich.progress import track

from backout.cli.acting import How, act_on_run, acting_options, find_reason, say_sending
from backout.cli.completion import complete_pipelines, complete_runs
from backout.cli.door import say_start
from backout.cli.engine import FoundEngine, open_engine
from backout.cli.exits import Exit
from backout.cli.output import make_console, write_json_line
from backout.cli.render.bulk import Outcome, draw_counts, draw_outcomes
from backout.cli.since import Since, resolve_since
from backout.compensations.actions import act
from backout.compensations.requests import Request
from backout.errors import ActionRefused, LedgerUnavailable, StateChanged
from backout.ledger import queries
from backout.ledger.session import Ledger, LedgerConnection
from backout.states import FINAL_RUN_STATES, RunState
from backout.views.look import Look, look_at
from backout.views.shapes import shape
from backout.views.words import say_count

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

MOST_RUNS: Final = 10_000
OPEN_STATES: Final = tuple(state for state in RunState if state not in FINAL_RUN_STATES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which runs are meant; see the options.

    Attributes:
        states: empty: those that have not ended.
    """

    pipeline: str | None
    states: tuple[str, ...]
    since: timedelta | datetime | None
    limit: int

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Return what the options say."""
        return cls(**{name: given[name] for name in cls.__dataclass_fields__})

    @property
    def is_narrow(self) -> bool:
        """It leaves runs out by what they are."""
        return bool(self.pipeline or self.states or self.since)


def one_or_many(function: F) -> F:
    """Add RUN, which may be left out, what chooses many runs instead, and what every command that acts has."""
    function = acting_options(function)
    for option in (
        click.option(
            "--limit", type=click.IntRange(1, MOST_RUNS), default=100, show_default=True, help="At most so many runs."
        ),
        click.option("--since", type=Since(), metavar="WHEN", help="Runs that changed since: 30m, 2h, 3d, ISO 8601."),
        click.option(
            "--state",
            "states",
            multiple=True,
            type=click.Choice([state.value for state in RunState]),
            help="Runs in this state; may be repeated. [default: those that have not ended]",
        ),
        click.option("--pipeline", metavar="NAME", shell_complete=complete_pipelines, help="Runs of this pipeline."),
    ):
        function = option(function)
    return click.argument("run", required=False, shell_complete=complete_runs)(function)


def act_on(ctx: click.Context, run: str | None, request: Request, given: Mapping[str, Any]) -> None:
    """Do what a person asks for, about one run or about all that the options choose."""
    how, wanted = How.of(given), Wanted.of(given)
    if run is not None:
        if wanted.is_narrow:
            message = "Give either a RUN, or --pipeline, --state and --since to choose many; not both."
            raise click.UsageError(message)
        act_on_run(ctx, run, request, how)
        return
    if not wanted.is_narrow:
        message = "Name a RUN (`backout runs list` shows them), or choose many by --pipeline, --state or --since."
        raise click.UsageError(message)
    if how.expecting is not None or how.wait_seconds is not None:
        message = "--expecting and --wait are for one RUN."
        raise click.UsageError(message)
    act_on_many(ctx, request, wanted, how)


def act_on_many(ctx: click.Context, request: Request, wanted: Wanted, how: How) -> None:
    """Do what a person asks for about many runs, oldest first."""
    console = make_console(ctx)
    with open_engine(ctx) as found:
        run_ids, has_more = _choose(found.ledger, wanted)
        looks = [look_at(found.engine, run_id, request) for run_id in _progress("Looking", run_ids, how)]
        if not how.as_json:
            console.print(draw_counts(looks, has_more=has_more))
        if how.is_preview or not any(look.is_possible for look in looks):
            outcomes = [_foresee(look) for look in looks]
        else:
            reason = _agree(looks, how)
            outcomes = [
                _act(found, look, request, how, reason) if look.is_possible else _foresee(look)
                for look in _progress("Acting", looks, how)
            ]
        _report(ctx, console, found, outcomes, how)
    ctx.exit(Exit.OK if all(outcome.is_done for outcome in outcomes) else Exit.REFUSED)


def _choose(ledger: Ledger, wanted: Wanted) -> tuple[list[Any], bool]:
    def read(connection: LedgerConnection) -> list[Any]:
        runs = queries.list_runs(
            connection,
            pipeline=wanted.pipeline,
            states=[RunState(state) for state in wanted.states] or OPEN_STATES,
            changed_since=resolve_since(wanted.since, queries.read_clock(connection)),
            limit=wanted.limit + 1,
        )
        return [run.id for run in runs]

    newest = ledger.read(read)
    return newest[: wanted.limit][::-1], len(newest) > wanted.limit


def _agree(looks: list[Look], how: How) -> str:
    """Return the reason.

    Raises:
        click.UsageError: nobody can be asked, and `--yes` or the reason is missing.
        click.Abort: the person does not agree.
    """
    reason = find_reason(how)
    if how.is_agreed:
        return reason
    count = sum(look.is_possible for look in looks)
    if not how.is_asked:
        message = f"This acts on {say_count(count, 'run')}. Look with --preview; add --yes to do it."
        raise click.UsageError(message)
    click.confirm(f"Do it, for {say_count(count, 'run')}?", abort=True)
    return reason


def _foresee(look: Look) -> Outcome:
    """Return what is known without acting."""
    run, refusal = look.view.run, look.preview.refusal
    if refusal is None:
        return Outcome(run_id=run.id, is_done=True, state=look.preview.leads_to or run.state)
    return Outcome(
        run_id=run.id, is_done=False, state=run.state, code=ActionRefused.code, why=refusal.why, remedy=refusal.remedy
    )


def _act(found: FoundEngine, look: Look, request: Request, how: How, reason: str) -> Outcome:
    run = look.view.run
    try:
        done = act(
            run.id,
            request,
            actor=how.actor,
            reason=reason,
            expecting=look.preview.version,
            engine=found.engine,
        )
    except ActionRefused as error:
        return Outcome(
            run_id=run.id, is_done=False, state=run.state, code=error.code, why=error.why, remedy=error.remedy
        )
    except StateChanged as error:
        why = f"it was {run.state.value} and is now {error.found}{f' ({error.by})' if error.by else ''}"
        return Outcome(run_id=run.id, is_done=False, state=run.state, code=error.code, why=why, remedy="Look again.")
    except LedgerUnavailable as error:
        # What was done stays done; what follows is tried, and told one by one.
        remedy = "It is safe to ask again."
        return Outcome(run_id=run.id, is_done=False, state=run.state, code=error.code, why=error.problem, remedy=remedy)
    return Outcome(run_id=run.id, is_done=True, state=done.state, is_sent=done.is_sent)


def _progress(what: str, items: Iterable[T], how: How) -> Iterator[T]:
    """Go through items with a progress bar, where there is a terminal to show it."""
    console = Console(stderr=True)
    is_shown = sys.stderr.isatty() and not how.as_json
    yield from track(list(items), description=what, console=console, transient=True, disable=not is_shown)


def _report(ctx: click.Context, console: Console, found: FoundEngine, outcomes: list[Outcome], how: How) -> None:
    done = sum(outcome.is_done for outcome in outcomes)
    if how.as_json:
        for outcome in outcomes:
            write_json_line({"is_preview": how.is_preview, **shape(outcome)})
        summary = {"is_preview": how.is_preview, "runs": len(outcomes), "done": done, "refused": len(outcomes) - done}
        write_json_line({"summary": summary})
        return
    if how.is_preview:
        console.print("Nothing was changed.", style="dim")
        return
    if outcomes:
        is_sent = all(outcome.is_sent for outcome in outcomes)
        sending = say_sending(found, is_sent=is_sent) if done and not is_sent else ""
        console.print(draw_outcomes(outcomes, sending=sending, start=say_start(ctx)))
