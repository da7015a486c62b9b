"""`RunHandle.customer_message` of a run in a real ledger."""

from collections.abc import Iterator

import pytest
from sqlalchemy import update

from backout import Pipeline, RunHandle, UnknownRun, install
from backout.identifiers import new_run_id
from backout.ledger import schema
from backout.ledger.models import run as run_table
from backout.tasks.runtime import Runtime
from tests.support.celery_apps import as_current, fresh_app
from tests.support.definitions import make, unique

MESSAGES = {"lead_pending": "We are creating your entry.", "in_review": "A colleague is looking at it."}


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def runtime(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    url: str = request.getfixturevalue(request.param)
    with fresh_app("customers") as app, as_current(app):
        installed = install(app, database_url=url)
        schema.upgrade(installed.unverified_ledger)
        yield installed


@pytest.fixture
def pipeline() -> Pipeline:
    step = make(done="lead_created", pending="lead_pending")
    return Pipeline(unique("leads"), [step], customer_messages=MESSAGES)


def test_message_follows_the_recorded_run(runtime: Runtime, pipeline: Pipeline) -> None:
    """It is read with the run, and so cannot disagree with it."""
    handle = pipeline.enqueue({"amount": 1})
    assert handle.customer_message == "We are creating your entry."
    with runtime.ledger.transaction() as connection:
        values = {"state": "in_review", "operator_state": "lead_failed_in_review"}
        connection.execute(update(run_table).where(run_table.c.id == handle.id).values(**values))
    assert handle.customer_message == "A colleague is looking at it."


def test_message_is_that_of_the_recorded_plan(runtime: Runtime, pipeline: Pipeline) -> None:
    """A deploy that changes the texts changes them for runs that come after it."""
    handle = pipeline.enqueue({"amount": 1})
    changed = Pipeline(unique("leads"), [make()], customer_messages={"pending": "New words."})
    later = RunHandle(id=handle.id, was_created=False, pipeline=changed, engine=handle.engine)
    assert later.customer_message == "We are creating your entry."


def test_plan_of_a_newer_release_leaves_the_safe_text(runtime: Runtime, pipeline: Pipeline) -> None:
    """A web process that is older than a worker still says something true."""
    handle = pipeline.enqueue({"amount": 1})
    with runtime.ledger.transaction() as connection:
        connection.execute(update(run_table).where(run_table.c.id == handle.id).values(plan={"format": 99}))
    assert handle.customer_message == "We have received your request."


def test_run_that_is_not_there_has_no_message(runtime: Runtime, pipeline: Pipeline) -> None:
    """As for `status`."""
    handle = pipeline.enqueue({"amount": 1})
    gone = RunHandle(id=new_run_id(), was_created=False, pipeline=pipeline, engine=handle.engine)
    with pytest.raises(UnknownRun):
        _ = gone.customer_message
