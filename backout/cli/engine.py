"""How a command that acts finds its engine: the Celery app's, which sends at once, or one that only records."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import click

from backout.cli.celery_app import import_pipelines
from backout.cli.door import find_app, named_database, open_ledger, translate_failures
from backout.errors import BackoutError
from backout.identifiers import RunId
from backout.ledger.session import Ledger
from backout.pipelines.engine import Engine
from backout.pipelines.message import StepMessage
from backout.settings import Settings
from backout.tasks.runtime import runtime_of

AT_ONCE_SECONDS: Final = 0.001
"""Where nothing is sent from here, the sweeper must not wait for a message that never was."""


@dataclass(frozen=True, slots=True)
class RecordingEngine:
    """Records and sends nothing: the sweeper of any worker finds what is due, and sends it."""

    ledger: Ledger
    settings: Settings

    def send(self, message: StepMessage) -> bool:
        """Return False: it is left to the sweeper."""
        return False

    def send_many(self, messages: Sequence[StepMessage]) -> int:
        """Return how many there are: they are left to the sweeper."""
        return len(messages)

    def send_compensations(self, messages: Sequence[StepMessage]) -> bool:
        """Return False when there is one to send: it is left to the sweeper."""
        return not messages

    def position_of(self, run_id: RunId) -> int | None:
        """Return `None`: nobody listens in this process."""
        return None

    def announce(self, run_id: RunId, *, after_id: int | None, actors: Collection[str] | None = None) -> None:
        """Tell nobody: whoever wants to know follows the entries."""

    def announce_created(self, run_ids: Collection[RunId], *, actors: Collection[str]) -> None:
        """Tell nobody, as `announce`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEngine:
    """What a command acts with.

    Attributes:
        is_recording: nothing is sent from here.
        sweep_seconds: the pause between two looks of the sweeper, as far as this process knows.
        problem: why the app's pipelines could not be imported; empty when they were, or when there is no app.
    """

    engine: Engine
    is_recording: bool
    sweep_seconds: float
    problem: str = ""

    @property
    def ledger(self) -> Ledger:
        """The ledger, its schema verified."""
        return self.engine.ledger


@contextmanager
def open_engine(ctx: click.Context) -> Iterator[FoundEngine]:
    """Find what to act with; its connections are closed at the end.

    The app's own engine where an app is named, unless --database names another ledger than the app's.

    Raises:
        ConfigurationError: no ledger is named, it cannot be reached, or its schema is another.
    """
    app = find_app(ctx)
    url = named_database(ctx)
    if app is not None and url in (None, runtime_of(app).settings.database_url):
        with _open_runtime(app) as found:
            yield found
        return
    with open_ledger(ctx) as ledger:
        settings = Settings(database_url=url or "-", resend_seconds=AT_ONCE_SECONDS)
        yield FoundEngine(
            engine=RecordingEngine(ledger, settings), is_recording=True, sweep_seconds=settings.sweep_interval_seconds
        )


@contextmanager
def _open_runtime(app: Any) -> Iterator[FoundEngine]:
    runtime = runtime_of(app)
    found = FoundEngine(
        engine=runtime, is_recording=False, sweep_seconds=runtime.settings.sweep_interval_seconds, problem=""
    )
    try:
        import_pipelines(app)
    except BackoutError as error:
        # A definition that is broken is one of the reasons for which runs are repaired by hand.
        found = replace(found, problem=str(error))
    with translate_failures(runtime.unverified_ledger):
        try:
            yield found
        finally:
            runtime.unverified_ledger.dispose()
