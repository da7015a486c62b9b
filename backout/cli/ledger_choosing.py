"""What `backout ledger purge` and `backout ledger archive` have in common: which runs, how gently, and the report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Self, TypeVar

import click
from rich.console import Console

from backout.cli.completion import complete_pipelines
from backout.cli.output import json_option
from backout.cli.since import Since, resolve_since
from backout.ledger import queries
from backout.ledger.retention import MOST_IN_BATCH, REMOVABLE, Kept, Purged, Wanted
from backout.ledger.session import Ledger
from backout.states import RunState
from backout.views.marks import RUN_MARKS
from backout.views.shapes import shape
from backout.views.words import join_words, say_count

F = TypeVar("F", bound=Callable[..., Any])

KEPT_WORDS: Final[Mapping[Kept, str]] = {
    Kept.HOLDS_KEY: "an idempotency key of their own (--forget-keys)",
    Kept.OPEN_REVIEW: "a review that nobody has decided",
    Kept.MAY_RUN: "an attempt that may still be running, or a step that is due",
    Kept.BUSY: "somebody who is just changing them",
}
"""What keeps a run that is old enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What the options say.

    Attributes:
        limit: the most runs; `None`: all that fit.
        is_acting: `--yes`, and no `--preview`.
    """

    older_than: timedelta | datetime
    pipeline: str | None
    states: tuple[str, ...]
    forget_keys: bool
    batch: int
    limit: int | None
    pause_seconds: float
    is_agreed: bool
    is_preview: bool
    as_json: bool

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Return what was typed."""
        return cls(**{name: given[name] for name in cls.__dataclass_fields__})

    @property
    def is_acting(self) -> bool:
        """Something is to be done, and not only looked at."""
        return self.is_agreed and not self.is_preview

    @property
    def gently(self) -> dict[str, Any]:
        """The options of `remove_runs`."""
        return {"batch": self.batch, "limit": self.limit, "pause_seconds": self.pause_seconds}

    def find_wanted(self, ledger: Ledger) -> Wanted:
        """Return which runs are meant, by the ledger's clock."""
        instant = resolve_since(self.older_than, ledger.read(queries.read_clock))
        if instant is None:
            raise AssertionError("--older-than is required")
        return Wanted(
            finished_before=instant,
            states=tuple(RunState(state) for state in self.states) or REMOVABLE,
            pipeline=self.pipeline,
            forget_keys=self.forget_keys,
        )


def choosing_options(batch: int) -> Callable[[F], F]:
    """Add what chooses runs, `--batch` with this default, `--pause`, `--preview`, `--yes` and `--json`."""

    def add(function: F) -> F:
        function = json_option(function)
        for option in _options(batch):
            function = option(function)
        return function

    return add


def _options(batch: int) -> Iterable[Callable[[F], F]]:
    return (
        click.option("--yes", "is_agreed", is_flag=True, help="Do it; without it, nothing is changed."),
        click.option("--preview", "is_preview", is_flag=True, help="Show what would be done, also with --yes."),
        click.option(
            "--pause",
            "pause_seconds",
            type=click.FloatRange(min=0),
            default=0.0,
            metavar="SECONDS",
            help="After each batch.",
        ),
        click.option(
            "--batch",
            type=click.IntRange(1, MOST_IN_BATCH),
            default=batch,
            show_default=True,
            help="The most runs in one transaction.",
        ),
        click.option("--limit", type=click.IntRange(min=1), help="The most runs in all, oldest of each state first."),
        click.option(
            "--forget-keys",
            is_flag=True,
            help="Also runs that hold an idempotency key of their own: another run may then do that step again.",
        ),
        click.option(
            "--state",
            "states",
            multiple=True,
            type=click.Choice([state.value for state in REMOVABLE]),
            help="Runs that ended like this; may be repeated. [default: all that ended]",
        ),
        click.option("--pipeline", metavar="NAME", shell_complete=complete_pipelines, help="Runs of this pipeline."),
        click.option(
            "--older-than",
            type=Since(),
            required=True,
            metavar="WHEN",
            help="Runs that ended longer ago: 90d, 12w, or before an instant in ISO 8601.",
        ),
    )


def sum_up(batches: Iterable[Purged], what: str, *, as_json: bool) -> tuple[Purged, bool]:
    """Go through batches, with a line that tells how far it is where there is a terminal; return them as one.

    Returns:
        What was told, and whether it was cut off by Ctrl-C: each batch that was told is committed.
    """
    found = Purged()
    console = Console(stderr=True)
    is_shown = sys.stderr.isatty() and not as_json
    with console.status(what) if is_shown else _Silence() as status:
        try:
            for batch in batches:
                found += batch
                status.update(f"{what}: {say_count(found.runs, 'run')}, {_entries(found.entries)}")
        except KeyboardInterrupt:
            return found, True
    return found, False


class _Silence:
    """Where nobody watches."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, _text: str) -> None:
        """Say nothing."""


def draw(found: Purged, wanted: Wanted, *, verb: str, is_lost: bool = True) -> list[str]:
    """Return in lines what was found.

    Args:
        found: all of it.
        wanted: what was looked for.
        verb: what happens to it: `would be removed`.
        is_lost: it leaves the ledger, which then does not know it any more.
    """
    before = wanted.finished_before.isoformat(timespec="seconds")
    if not (found.runs or found.entries or found.stray_entries or found.partitions):
        lines = [f"No run that ended before {before} fits: nothing {verb}."]
    else:
        states = [
            f"{mark.sign} {found.states[state]:,} {mark.word}"
            for state, mark in RUN_MARKS.items()
            if found.states.get(state)
        ]
        listed = f": {join_words(states)}" if states else ""
        lines = [f"{say_count(found.runs, 'run')} that ended before {before} {verb}{listed}"]
        rows = [say_count(found.steps, "step"), _entries(found.entries), say_count(found.reviews, "review")]
        lines.append(f"  with {join_words(rows)}")
    if found.stray_entries:
        lines.append(
            f"  {_entries(found.stray_entries)} of no run {verb}: refused messages, answers that came too late"
        )
    if found.partitions:
        lines.append(f"  {say_count(found.partitions, 'partition')} of entries dropped as a whole")
    lines += [f"  stay: {count:,}, because of {KEPT_WORDS[reason]}" for reason, count in found.kept.items()]
    return [*lines, *_lost(found)] if is_lost else lines


def _entries(count: int) -> str:
    return f"{count:,} {'entry' if count == 1 else 'entries'}"


def _lost(found: Purged) -> list[str]:
    """Return what nobody knows any more afterwards."""
    lost = []
    if found.source_events:
        lost.append(f"  ! with a source event: {found.source_events:,}; if one is enqueued again, a new run starts")
    if found.keys:
        lost.append(f"  ! with an idempotency key: {found.keys:,}; another run under one of them does the step again")
    return lost


def as_document(found: Purged, wanted: Wanted, **more: Any) -> dict[str, Any]:
    """Return what was found as JSON has it.

    Keys: `finished_before`, `runs`, `states`, `steps`, `entries`, `reviews`, `source_events`, `keys`,
    `stray_entries`, `partitions`, `kept` (reason to number).
    """
    return {**more, "finished_before": shape(wanted.finished_before), **shape(found)}
