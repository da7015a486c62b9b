"""`backout ledger purge`: remove runs that ended long ago, in bounded batches."""

from __future__ import annotations

from typing import Any

import click

from backout.cli.door import open_ledger
from backout.cli.exits import Exit
from backout.cli.ledger_choosing import Chosen, as_document, choosing_options, draw, sum_up
from backout.cli.output import make_console, write_json
from backout.ledger.purging import foresee_purge, purge_ledger
from backout.ledger.retention import BATCH


@click.command("purge")
@choosing_options(BATCH)
@click.pass_context
def purge(ctx: click.Context, /, **given: Any) -> None:
    """Remove runs that ended long ago, with all their rows. Without --yes, only show which.

    A run that can still move on is never removed, nor one about which a person must decide. With a run the ledger
    forgets its source event, which then starts a new run if it is enqueued again. Without --pipeline, --state and
    --limit, refused messages of that age go too. To keep a copy: `backout ledger archive`.

    With --json: {"is_preview", "is_cut_off", "finished_before", "runs", "states", "steps", "entries", "reviews",
    "source_events", "keys", "stray_entries", "partitions", "kept": {reason: number}}.
    """
    chosen = Chosen.of(given)
    console = make_console(ctx)
    with open_ledger(ctx) as ledger:
        wanted = chosen.find_wanted(ledger)
        if chosen.is_acting:
            batches, what = purge_ledger(ledger, wanted, **chosen.gently), "Removing"
        else:
            batches, what = foresee_purge(ledger, wanted, batch=chosen.batch, limit=chosen.limit), "Looking"
        found, is_cut_off = sum_up(batches, what, as_json=chosen.as_json)
    if chosen.as_json:
        write_json(as_document(found, wanted, is_preview=not chosen.is_acting, is_cut_off=is_cut_off))
    else:
        for line in draw(found, wanted, verb="removed" if chosen.is_acting else "would be removed"):
            console.print(line, soft_wrap=True)
        if not chosen.is_acting:
            console.print("Nothing was changed. Do it: the same command with --yes.", style="dim")
        elif is_cut_off:
            console.print("Cut off. What is told was removed; the rest is as it was.")
    ctx.exit(Exit.INTERRUPTED if is_cut_off else Exit.OK)
