"""Finding runs by what somebody has at hand: an id of ours, of theirs, or of another system."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from django.db import connections
from django.db.models import Q

from backout.identifiers import first_run_id_at, run_ids_from
from backout.ledger.dialects import dialect_of
from backout.ledger.lists import NEWEST_SEARCHED

MOST_FOUND: Final = 1_000
"""Runs that are found by one external id."""


def search_runs(queryset: Any, text: str) -> Any:
    """Return the runs of an id or its beginning, a source event, a subject, or an external id.

    All are asked of indexes, where the database has one of external ids. Where it has none, they are looked for among
    the newest runs only, as many as `backout runs list --search` reads.
    """
    wanted = Q(subject_id=text) | Q(source_event_id=text)
    if (between := run_ids_from(text)) is not None:
        wanted |= Q(id__range=between)
    return queryset.filter(wanted | Q(id__in=_with_external_id(queryset, text)))


def _with_external_id(queryset: Any, text: str) -> list[str]:
    # By themselves: among others, a subquery would be asked of each run there is.
    runs = queryset.model.objects.using(queryset.db)
    found = runs.filter(external_ids__has_value=text).order_by()
    if not dialect_of(connections[queryset.db].vendor).indexes_json_values:
        oldest = runs.order_by("-id").values_list("id", flat=True)[NEWEST_SEARCHED - 1 : NEWEST_SEARCHED]
        found = found.filter(id__gte=next(iter(oldest), first_run_id_at(datetime.fromtimestamp(0, UTC))))
    return list(found.values_list("id", flat=True)[:MOST_FOUND])
