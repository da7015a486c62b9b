"""Finding runs by what somebody has at hand: an id of ours, of theirs, or of another system."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from backout.identifiers import run_ids_from
from backout.jsontext import dump_json
from backout.pipelines.registry import all_pipelines


def search_runs(queryset: Any, text: str) -> Any:
    """Return the runs of an id or its beginning, a source event, a subject, or an external id.

    The first three are asked of indexes. Only where they know nothing, all runs are read: for the external id, and for
    the source event of a pipeline that this process does not define.
    """
    wanted = Q(subject_id=text) | Q(pipeline__in=list(all_pipelines()), source_event_id=text)
    if (between := run_ids_from(text)) is not None:
        wanted |= Q(id__range=between)
    found = queryset.filter(wanted)
    if found.exists():
        return found
    # As a value, with the space that some databases write before it.
    written = dump_json(text)
    return queryset.filter(
        Q(source_event_id=text) | Q(external_ids__contains=f":{written}") | Q(external_ids__contains=f": {written}")
    )
