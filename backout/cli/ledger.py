"""`backout ledger`: the tables, their revision, and how they are kept small."""

from __future__ import annotations

import click

from backout.cli.door import open_ledger
from backout.cli.exits import Exit
from backout.cli.ledger_archive import archive
from backout.cli.ledger_partition import partition
from backout.cli.ledger_purge import purge
from backout.cli.output import json_option, write_json
from backout.ledger import schema
from backout.views.words import clip


@click.group("ledger")
def ledger() -> None:
    """The ledger's tables: make them, compare them with what this release needs, and keep them small."""


ledger.add_command(purge)
ledger.add_command(archive)
ledger.add_command(partition)


@ledger.command("upgrade")
@json_option
@click.pass_context
def upgrade(ctx: click.Context, as_json: bool) -> None:
    """Bring the ledger to the revision of this release; a second call does nothing.

    With --json: {"database", "before", "after", "changed"}.
    """
    with open_ledger(ctx, verified=False) as opened:
        before, after = schema.upgrade(opened)
        shown_url = opened.shown_url
    if as_json:
        write_json({"database": shown_url, "before": before, "after": after, "changed": before != after})
    elif before == after:
        click.echo(f"✓ {shown_url} is at revision {after} already.")
    else:
        click.echo(f"✓ {shown_url} upgraded from {before or 'nothing'} to revision {after}.")


@ledger.command("current")
@json_option
@click.pass_context
def current(ctx: click.Context, as_json: bool) -> None:
    """Show the revision of the ledger and the one that this release needs.

    With --json: {"database", "revision", "expected"}; revision is null when there are no tables.
    """
    with open_ledger(ctx, verified=False) as opened:
        found, expected, shown_url = schema.current_revision(opened), schema.expected_revision(), opened.shown_url
    if as_json:
        write_json({"database": shown_url, "revision": found, "expected": expected})
    else:
        click.echo(f"{shown_url}\n  revision  {found or 'none: it has no backout tables'}\n  expected  {expected}")


@ledger.command("verify")
@json_option
@click.pass_context
def verify(ctx: click.Context, as_json: bool) -> None:
    """Compare the ledger with what this release needs: its revision, and every table, column and index.

    With --json: {"ok", "database", "revision", "expected", "differences"}. Exit code 1 when something is wrong.
    """
    with open_ledger(ctx, verified=False) as opened:
        found, expected, shown_url = schema.current_revision(opened), schema.expected_revision(), opened.shown_url
        differences = schema.differences(opened) if found == expected else []
    is_ok = found == expected and not differences
    if as_json:
        document = {"ok": is_ok, "database": shown_url, "revision": found, "expected": expected}
        write_json({**document, "differences": differences})
    elif is_ok:
        click.echo(f"✓ {shown_url} is at revision {found}, as this release needs it.")
    elif found != expected:
        state = f"is at revision {found}" if found else "has no backout tables"
        click.echo(f"✗ {shown_url} {state}; this release needs {expected}. Mend it: backout ledger upgrade")
    else:
        click.echo(f"✗ {shown_url} is at revision {found}, but its tables differ:")
        for difference in differences:
            click.echo(f"  {clip(difference, 300)}")
        click.echo("Somebody changed them by hand: change them back, or restore the ledger from a backup.")
    ctx.exit(Exit.OK if is_ok else Exit.PROBLEM)
