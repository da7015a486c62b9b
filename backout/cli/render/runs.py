"""The list of runs, newest first, with the counts by state under it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from backout.cli.render.snake import Snake
from backout.cli.render.tones import STYLES, draw_mark
from backout.ledger.records import RunRecord
from backout.states import RunState
from backout.views.clock import Clock
from backout.views.marks import RUN_MARKS
from backout.views.words import clean, say_count, say_seconds, shorten_ids

WIDE: Final = 120
_WIDE_HEADINGS: Final = ("run", "pipeline", "state", "operator state", "subject", "enqueued", "took")
_NARROW_HEADINGS: Final = ("run", "pipeline", "state", "subject", "enqueued")


def draw_runs(runs: Sequence[RunRecord], clock: Clock, *, width: int, with_full_ids: bool = False) -> Table:
    """Return a table of runs in the order given.

    Args:
        runs: newest first.
        clock: the reader's.
        width: columns that there are; with fewer than `WIDE` a run takes two lines.
        with_full_ids: show all characters of the ids; otherwise as few as tell them apart.
    """
    ids = [run.id for run in runs] if with_full_ids else shorten_ids([run.id for run in runs])
    is_wide = width >= WIDE
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in _WIDE_HEADINGS if is_wide else _NARROW_HEADINGS:
        is_time = heading in ("enqueued", "took")
        table.add_column(
            heading, no_wrap=is_time or heading in ("run", "state"), justify="right" if is_time else "left"
        )
    for run_id, run in zip(ids, runs, strict=True):
        table.add_row(run_id, *(_wide_cells if is_wide else _narrow_cells)(run, clock))
    return table


def _wide_cells(run: RunRecord, clock: Clock) -> tuple[RenderableType, ...]:
    name, state = Snake(clean(run.pipeline)), Snake(clean(run.operator_state))
    return (name, _say_state(run), state, _say_subject(run), clock.say_rough_age(run.created_at), _say_took(run))


def _narrow_cells(run: RunRecord, clock: Clock) -> tuple[RenderableType, ...]:
    what = Group(Snake(clean(run.pipeline)), Snake(clean(run.operator_state), style="dim"))
    took = _say_took(run)
    when = clock.say_rough_age(run.created_at) + (f"\ntook {took}" if took else "")
    return (what, _say_state(run), _say_subject(run), when)


def _say_subject(run: RunRecord) -> Text:
    return Text(clean(run.subject_id or ""), overflow="fold")


def _say_took(run: RunRecord) -> str:
    return say_seconds((run.finished_at - run.created_at).total_seconds()) if run.finished_at else ""


def draw_counts(counts: Mapping[RunState, int]) -> Text:
    """Return how many runs the ledger has in each state: `12 runs: ▶ 3 running, ✓ 9 succeeded`."""
    parts = [
        Text(f"{mark.sign} {counts[state]:,} {mark.word}", style=STYLES[mark.tone])
        for state, mark in RUN_MARKS.items()
        if counts.get(state)
    ]
    total = Text(f"{say_count(sum(counts.values()), 'run')} in the ledger: ")
    return total + Text(", ").join(parts)


def _say_state(run: RunRecord) -> Text:
    state = draw_mark(RUN_MARKS[run.state])
    if run.requires_human_review:
        state.append("\nneeds a person", style="bold magenta")
    return state
