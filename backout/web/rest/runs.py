"""Runs as JSON: the list, and all that is known of one."""

from __future__ import annotations

from typing import Final

from backout.identifiers import RunId
from backout.jsontext import JsonValue
from backout.views.runs import RunFilter, read_runs
from backout.views.shapes import shape, shape_picture
from backout.web.rest.asking import Asked
from backout.web.rest.fields import RunQuery, RunsQuery
from backout.web.runs_page import COUNTED_TO

MOST_ENTRIES: Final = 10_000
"""Entries of a run that are shown, the newest."""
ENTRIES_OF_STORY: Final = 500
"""Entries of a run that its summary is told from."""


def list_runs(asked: Asked) -> JsonValue:
    """Return runs, newest first, with the counts by state of all runs, or of the pipeline's."""
    query = asked.read_query(RunsQuery)
    wanted = RunFilter(
        pipeline=query.pipeline,
        states=query.state,
        text=query.text,
        needs_person=query.needs_person,
        before=RunId(query.before.lower()) if query.before is not None else None,
        limit=query.limit,
        enqueued_since=query.since,
    )
    found = read_runs(asked.engine.ledger, wanted, count_to=COUNTED_TO)
    return {
        "runs": shape(found.runs),
        "counts": {state.value: count for state, count in found.counts.items()},
        "counted_to": found.counted_to,
        "next_before": found.runs[-1].id if found.has_older else None,
        "now": shape(found.now),
    }


def show_run(asked: Asked) -> JsonValue:
    """Return all that is known of a run."""
    query = asked.read_query(RunQuery)
    picture = asked.read_picture(asked.run_id, last_entries=MOST_ENTRIES if query.entries else ENTRIES_OF_STORY)
    document: dict[str, JsonValue] = shape_picture(picture, with_entries=query.entries)
    return {**document, "older_entries": picture.older_entries} if query.entries else document
