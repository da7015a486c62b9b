"""A stack on which the examples run: their own Celery app, their providers' books, and what tests ask of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backout import Pipeline, ReviewRecord, RunHandle, RunRecord
from backout.testing.servers import Broker
from examples.recovery.providers import BOOKS, books
from tests.support.stack import Stack

APP = "tests.examples.app"
on_postgres = pytest.mark.parametrize("stage", ["postgresql"], indirect=True)


class Stage(Stack):
    """A stack whose worker is that of the examples."""

    def __init__(self, broker: Broker, ledger_url: str, folder: Path) -> None:
        super().__init__(broker, ledger_url, folder)
        self.books_path = folder / "books.sqlite3"
        own = {BOOKS: str(self.books_path), "RECOVERY_BROKER": self.corner.url, "RECOVERY_LEDGER": ledger_url}
        self.environment.update(own)

    def submit(self, pipeline: Pipeline, value: Any, *, event: str | None = None) -> RunHandle:
        """Enqueue a run as a view would."""
        with self.as_current():
            return pipeline.enqueue(value, source_event_id=event)

    def finish(self, pipeline: Pipeline, value: Any) -> tuple[RunHandle, RunRecord]:
        """Enqueue a run and wait until the engine does nothing more by itself."""
        handle = self.submit(pipeline, value)
        return handle, self.settle(handle)

    def review(self, handle: RunHandle) -> ReviewRecord:
        """Return the one review of a run."""
        (found,) = self.reviews(handle)
        return found

    def empty_books(self) -> None:
        """Let the providers forget everything."""
        with books() as book:
            book.execute("delete from deed")
            book.execute("delete from fault")
