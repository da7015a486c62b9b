"""`backout runs watch --all`: each entry of all runs as a line, for people and for programs that react to it."""

from __future__ import annotations

import click

from backout.cli.door import open_ledger
from backout.cli.exits import Exit
from backout.cli.output import make_clock, write_json_line
from backout.cli.render.entries import write_entry
from backout.events import read_lifecycle
from backout.ledger.following import FollowedEntry
from backout.pipelines.follow import Follower
from backout.views.masking import Masking
from backout.views.shapes import shape
from backout.views.words import clean


def follow_all(
    ctx: click.Context,
    *,
    after_id: int | None,
    pipeline: str | None,
    timeout_seconds: float | None,
    utc: bool,
    as_json: bool,
) -> None:
    """Write a line for each entry until interrupted, or until nothing has happened for a time.

    Args:
        ctx: of the command.
        after_id: the cursor of an earlier call, 0 for everything; `None`: from now on.
        pipeline: only of runs of this pipeline.
        timeout_seconds: `None`: without limit.
        utc: show instants in UTC; JSON always does.
        as_json: write JSON lines.
    """
    follower = None
    try:
        with open_ledger(ctx) as ledger:
            follower, masking = Follower(ledger, after_id=after_id, pipeline=pipeline), Masking()
            while (taken := follower.take(timeout_seconds=timeout_seconds)) is not None:
                found = masking.mask_followed(ledger, taken)
                if as_json:
                    write_json_line(shape_followed(found, cursor=follower.cursor))
                else:
                    click.echo(write_followed(found, utc=utc))
    except KeyboardInterrupt:
        cursor = f"; go on with --after {follower.cursor}" if follower is not None else ""
        click.echo(f"Stopped watching{cursor}.", err=True)
        ctx.exit(Exit.INTERRUPTED)


def shape_followed(found: FollowedEntry, *, cursor: int) -> dict[str, object]:
    """Return an entry as `runs watch --all --json` writes it: `entry`, `pipeline`, `lifecycle`, `cursor`."""
    return {
        "entry": shape(found.entry),
        "pipeline": found.pipeline,
        "lifecycle": [event.name.value for event in read_lifecycle(found.entry)],
        "cursor": cursor,
    }


def write_followed(found: FollowedEntry, *, utc: bool) -> str:
    """Return an entry as one line of plain text, with its run and pipeline in front."""
    of = f"{found.entry.run_id or 'no run'}  {clean(found.pipeline or '-')}"
    return f"{of}  {write_entry(found.entry, make_clock(found.entry.at, utc=utc))}"
