"""The models over the ledger's tables: they read what backout reads, on every database, and write nothing."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connections
from django.test import override_settings
from django.utils import timezone

from backout.errors import ConfigurationError, RequestError
from backout.integrations.django.engine import find_engine
from backout.integrations.django.models import Entry, Review, Run, Step
from backout.ledger import queries
from backout.ledger.session import Ledger
from backout.states import Direction, ReviewReason
from tests.support.runs import RecordedRun


@pytest.fixture
def ledger() -> Ledger:
    return find_engine().ledger


def in_review(ledger: Ledger) -> RecordedRun:
    run = RecordedRun(ledger=ledger, source_event="form 1")
    run.succeed("check_address")
    run.ask_person("reserve_stock", ReviewReason.CONFIRMATION_MISSING)
    return run


def as_read(row: Any, record: type[Any]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in record.__dataclass_fields__}


def test_models_read_what_the_ledger_reads(ledger: Ledger) -> None:
    """Every column of every table: ids with hyphens, aware instants, JSON with all its digits."""
    run = in_review(ledger)
    record, steps, entries, reviews = ledger.read(
        lambda connection: (
            queries.find_run(connection, run.id),
            queries.list_steps(connection, run.id),
            queries.list_entries(connection, run.id),
            queries.list_reviews(connection),
        )
    )
    assert record is not None
    found = Run.objects.get(pk=run.id)
    assert as_read(found, type(record)) == dataclasses.asdict(record)
    assert found.plan == run.plan.as_json
    assert as_read(found.steps.get(position=0), type(steps[0])) == dataclasses.asdict(steps[0])
    assert found.steps.count() == len(steps) == 2
    assert [as_read(entry, type(entries[0])) for entry in found.entries.all()] == list(map(dataclasses.asdict, entries))
    assert as_read(Review.objects.get(), type(reviews[0])) == dataclasses.asdict(reviews[0])
    assert Step.objects.get(pk=(run.id, 1, 1, Direction.FORWARD)).run == found
    assert Review.objects.select_related("run").get().run == found


def test_models_find_rows_by_ids_and_instants(ledger: Ledger) -> None:
    """A lookup means the same on every database, and something that is no id is refused before it is asked for."""
    run = in_review(ledger)
    before = timezone.now() - datetime.timedelta(minutes=5)
    after = timezone.now() + datetime.timedelta(minutes=5)
    assert Run.objects.filter(id__in=[run.id], created_at__gt=before, created_at__lt=after).count() == 1
    assert Entry.objects.filter(run_id=run.id, at__gte=after).count() == 0
    assert Run.objects.filter(id__gte=run.id.upper()).count() == 1
    with pytest.raises(ValidationError):
        Run.objects.filter(pk="nothing").exists()


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_models_speak_local_time_where_django_does(ledger: Ledger, zone: str) -> None:
    """With USE_TZ off, instants are naive local time, as all of the project's are, and lookups take them so."""
    run = in_review(ledger)
    aware = Run.objects.get().created_at
    with override_settings(USE_TZ=False, TIME_ZONE=zone):
        connections["default"].close()
        naive = Run.objects.get().created_at
        assert naive == timezone.make_naive(aware, timezone.get_default_timezone())
        assert Run.objects.filter(id=run.id, created_at__range=(naive, naive)).count() == 1
    connections["default"].close()


WRITES: list[Callable[[], Any]] = [
    lambda: Run().save(),
    Run.objects.create,
    lambda: Run.objects.get_or_create(pipeline="x"),
    lambda: Run.objects.update(state="succeeded"),
    lambda: Run.objects.bulk_create([Run()]),
    lambda: Run.objects.all().delete(),
    lambda: Run.objects.get().delete(),
    lambda: Run.objects.get().steps.all().delete(),
    lambda: Run.objects.get().reviews.update(decision="done"),
    lambda: Run._base_manager.update(state="succeeded"),
]


@pytest.mark.parametrize("write", WRITES)
def test_models_write_nothing(ledger: Ledger, write: Callable[[], Any]) -> None:
    """Each way to write is refused, and the message says what to use."""
    run = in_review(ledger)
    with pytest.raises(RequestError, match="Use the verbs"):
        write()
    assert (Run.objects.get().state, Step.objects.count(), Review.objects.get().decision) == ("in_review", 2, None)
    assert Run.objects.get().id == run.id


def test_models_read_the_database_of_the_ledger() -> None:
    """Whatever routers say; and where it is none of DATABASES, the message says how to make it one."""
    with override_settings(BACKOUT={"DATABASE": "other"}):
        assert Run.objects.all().db == "other"
    with (
        override_settings(BACKOUT={"DATABASE_URL": "postgresql+psycopg://elsewhere/ledger"}),
        pytest.raises(ConfigurationError, match="none of DATABASES"),
    ):
        Run.objects.count()
