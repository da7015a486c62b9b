"""`backout ledger partition`: entries by month on PostgreSQL, and partitions for months to come."""

from __future__ import annotations

import click

from backout.cli.door import open_ledger
from backout.cli.exits import Exit
from backout.cli.output import json_option, make_console, write_json
from backout.errors import ConfigurationError
from backout.ledger.partitioning import LOCK_SECONDS, MONTHS_AHEAD, add_partitions, find_missing, partition_entries
from backout.ledger.partitions import Partition, Partitioning, months_from, read_partitioning
from backout.ledger.session import Ledger
from backout.views.shapes import shape
from backout.views.words import join_words

MOST_MONTHS = 120


@click.command("partition")
@click.option(
    "--months-ahead",
    type=click.IntRange(0, MOST_MONTHS),
    default=MONTHS_AHEAD,
    show_default=True,
    help="For so many months beside this one there shall be partitions.",
)
@click.option(
    "--lock-timeout",
    type=click.FloatRange(min=0.1),
    default=LOCK_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait until nobody else uses the table; all others wait meanwhile.",
)
@click.option("--preview", "is_preview", is_flag=True, help="Show what would be done, also with --yes.")
@click.option("--yes", "is_agreed", is_flag=True, help="Do it; without it, nothing is changed.")
@json_option
@click.pass_context
def partition(
    ctx: click.Context, months_ahead: int, lock_timeout: float, is_preview: bool, is_agreed: bool, as_json: bool
) -> None:
    """Keep the entries in partitions by month (PostgreSQL only). Without --yes, only show them.

    The first time the table becomes a partition, without copying a row: writers wait until all entries were read once.
    From then on it makes the partitions of months to come: run it from cron. `backout ledger purge` drops those that
    are left without a run.

    With --json: {"is_preview", "is_partitioned", "obstacles", "made": [name…], "months" to be made,
    "partitions": [{"name", "starts_at", "ends_at", "rows" as estimated, "size_bytes"}…]}. Exit code 6 when something
    hangs on the table that would be lost.
    """
    is_acting = is_agreed and not is_preview
    with open_ledger(ctx) as ledger:
        before = _read(ledger)
        if is_acting and not before.obstacles:
            if not before.is_partitioned:
                partition_entries(ledger, months_ahead=months_ahead, lock_seconds=lock_timeout)
            add_partitions(ledger, months_ahead=months_ahead, lock_seconds=lock_timeout)
        found = _read(ledger)
        months = _months_to_make(ledger, found, months_ahead)
    known = {one.name for one in before.partitions}
    made = [one.name for one in found.partitions if one.name not in known]
    if as_json:
        facts = {"is_preview": not is_acting, "is_partitioned": found.is_partitioned, "obstacles": found.obstacles}
        write_json(shape({**facts, "made": made, "months": months, "partitions": found.partitions}))
    else:
        for line in [*_draw(found, months), *_say_done(found, made, is_acting=is_acting)]:
            make_console(ctx).print(line, soft_wrap=True)
    ctx.exit(Exit.REFUSED if found.obstacles else Exit.OK)


def _read(ledger: Ledger) -> Partitioning:
    found = read_partitioning(ledger)
    if found is None:
        raise ConfigurationError(
            problem=f"the ledger {ledger.shown_url} is not on PostgreSQL, and its entries cannot be partitioned",
            remedy="`backout ledger purge` keeps it small as well.",
        )
    return found


def _months_to_make(ledger: Ledger, found: Partitioning, months_ahead: int) -> list[str]:
    if not found.is_partitioned:
        return [f"{month:%Y-%m}" for month in months_from(found.now, months_ahead + 1)[1:]]
    missing, strayed = ledger.read(lambda connection: find_missing(connection, months_ahead))
    return [f"{month:%Y-%m}" for month in sorted({*missing, *strayed})]


def _draw(found: Partitioning, months: list[str]) -> list[str]:
    """Return in lines what there is, and what would be made."""
    size = _megabytes(found.size_bytes)
    if found.obstacles:
        return [
            f"✗ {size} of entries in one table, which cannot be partitioned:",
            *(f"  {one}" for one in found.obstacles),
        ]
    if not found.is_partitioned:
        lines = [
            f"{size} of entries in one table, about {found.rows:,}. It would become the partition of all until now."
        ]
    else:
        lines = [f"{size} of entries in {len(found.partitions)} partitions:", *map(_draw_partition, found.partitions)]
    return [*lines, f"  to be made: {join_words(months)}"] if months else lines


def _draw_partition(one: Partition) -> str:
    first = f"{one.starts_at:%Y-%m}" if one.starts_at is not None else "older" if one.ends_at is not None else "other"
    return f"  {first:<8} {_megabytes(one.size_bytes):>12}  about {one.rows:>11,}  {one.name}"


def _say_done(found: Partitioning, made: list[str], *, is_acting: bool) -> list[str]:
    if found.obstacles:
        return ["Nothing was changed. Remove what is named, and make it again afterwards."]
    if not is_acting:
        return ["Nothing was changed. Do it: the same command with --yes."]
    return [f"✓ made: {join_words(made)}" if made else "✓ Nothing had to be made."]


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1_000_000:,.1f} MB"
