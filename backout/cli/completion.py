"""Shell completion of run ids and pipeline names; a ledger that cannot be asked completes nothing."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import CompletionItem

from backout.cli.door import open_ledger
from backout.ledger import queries
from backout.ledger.records import RunRecord
from backout.pipelines.registry import all_pipelines

MOST_IDS: Final = 50


def complete_runs(ctx: click.Context, _option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the newest runs whose id starts as typed, with pipeline and state beside them."""
    runs = _newest_runs(ctx)
    return [
        CompletionItem(run.id, help=f"{run.pipeline}, {run.state.value.replace('_', ' ')}")
        for run in runs
        if run.id.startswith(incomplete.lower())
    ]


def complete_pipelines(ctx: click.Context, _option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return pipelines that this process has defined or that the newest runs name."""
    names = sorted({run.pipeline for run in _newest_runs(ctx)} | set(all_pipelines()))
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _newest_runs(ctx: click.Context) -> list[RunRecord]:
    try:
        with open_ledger(ctx) as ledger:
            return ledger.read(lambda connection: queries.list_runs(connection, limit=MOST_IDS))
    except Exception:
        # Whatever went wrong, the person is in the middle of a line: the command itself will say it.
        return []
