"""Steps, compensations and questions in a real worker: inside the app context, the session taken down each time."""

from __future__ import annotations

from flask import Flask
from sqlalchemy import select

from backout import RunState
from tests.integrations.flask.project.database import Note, db
from tests.integrations.flask.project.pipelines import Wish, every_kind
from tests.support.stack import Stack
from tests.support.waiting import wait_until

NOTED = ("reserve", "find_reservation", "announce", "is_announced", "deliver", "release")


def test_every_function_runs_in_the_app_context(postgres_shop: Stack, postgres_app: Flask) -> None:
    """Steps, reconcile, verify and compensation read `current_app` and use `db.session`; none leaves it open."""
    with postgres_app.app_context():
        handle = every_kind.enqueue(Wish(name="context"))
        wait_until(lambda: handle.status().state.is_settled, 30, "the run is settled")
        assert handle.status().state is RunState.ROLLED_BACK, postgres_shop.story(handle)
        notes = db.session.scalars(select(Note.text).where(Note.run_id == str(handle.id)).order_by(Note.id)).all()
    assert list(notes) == [f"{name} in corner shop, 0 open" for name in NOTED]
