"""`backout ledger archive`: write runs that ended long ago into a file, and remove those that are on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from backout.cli.door import open_ledger
from backout.cli.exits import Exit
from backout.cli.ledger_choosing import Chosen, as_document, choosing_options, draw, sum_up
from backout.cli.output import make_console, write_json
from backout.ledger.retention import Purged, Wanted, export_runs, foresee_runs, remove_runs
from backout.ledger.session import Ledger
from backout.views.archive import ArchiveFile

BATCH: Final = 200
"""Smaller than a purge's: a batch is held in memory, and its runs are locked while the disk writes."""


@click.command("archive")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--export-only", is_flag=True, help="Write the file and remove nothing.")
@choosing_options(BATCH)
@click.pass_context
def archive(ctx: click.Context, /, file: Path, export_only: bool, **given: Any) -> None:
    """Write runs that ended long ago into FILE, then remove them. Without --yes, only show which.

    FILE must be new; it has one run in each line, as JSON, compressed if its name ends in .gz, readable by its owner
    only. Each batch is on the disk before it leaves the ledger. Sensitive values are masked, and are gone with the run.

    With --json: what `backout ledger purge --json` writes, and "file" and "is_export".
    """
    chosen = Chosen.of(given)
    if file.exists():
        message = f"{file} is there already, and is left as it is. Name a new file, such as one with the date."
        raise click.UsageError(message)
    with open_ledger(ctx) as ledger:
        wanted = chosen.find_wanted(ledger)
        if chosen.is_acting:
            batches, what = _write(ledger, wanted, chosen, file, is_export=export_only), "Archiving"
        else:
            batches, what = foresee_runs(ledger, wanted, batch=chosen.batch, limit=chosen.limit), "Looking"
        try:
            found, is_cut_off = sum_up(batches, what, as_json=chosen.as_json)
        except OSError as error:
            message = f"{file} cannot be written: {error}. What is not in it is still in the ledger."
            raise click.ClickException(message) from error
    _report(ctx, chosen, found, wanted, file=file, is_export=export_only, is_cut_off=is_cut_off)
    ctx.exit(Exit.INTERRUPTED if is_cut_off else Exit.OK)


def _write(ledger: Ledger, wanted: Wanted, chosen: Chosen, file: Path, *, is_export: bool) -> Iterator[Purged]:
    with ArchiveFile(file) as opened:
        if is_export:
            yield from export_runs(ledger, wanted, opened.write, batch=chosen.batch, limit=chosen.limit)
        else:
            yield from remove_runs(ledger, wanted, before_removal=opened.write, **chosen.gently)


def _report(
    ctx: click.Context, chosen: Chosen, found: Purged, wanted: Wanted, *, file: Path, is_export: bool, is_cut_off: bool
) -> None:
    if chosen.as_json:
        facts = {
            "is_preview": not chosen.is_acting,
            "is_cut_off": is_cut_off,
            "file": str(file),
            "is_export": is_export,
        }
        write_json(as_document(found, wanted, **facts))
        return
    console = make_console(ctx)
    deed = "written" if is_export else "written and removed"
    for line in draw(found, wanted, verb=deed if chosen.is_acting else f"would be {deed}", is_lost=not is_export):
        console.print(line, soft_wrap=True)
    if not chosen.is_acting:
        console.print("Nothing was changed. Do it: the same command with --yes.", style="dim")
    elif is_cut_off:
        console.print(f"Cut off. What is told was {deed}; the rest is as it was.")
    else:
        console.print(f"✓ {file}")
