"""What enqueueing and acting by hand need of the layers above them, and how they find it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from backout.errors import ConfigurationError
from backout.identifiers import RunId
from backout.ledger.callers import outside_of_frameworks
from backout.ledger.session import Ledger
from backout.pipelines.message import StepMessage
from backout.settings import Settings


class Engine(Protocol):
    """What is needed of the layers above: the ledger, something that sends, and something that tells."""

    @property
    def settings(self) -> Settings:
        """The frozen settings."""

    @property
    def ledger(self) -> Ledger:
        """The ledger, its schema verified."""

    def send(self, message: StepMessage) -> bool:
        """Send a message; False when the broker did not take it: the sweeper will."""

    def send_many(self, messages: Sequence[StepMessage]) -> int:
        """Send many steps' messages; return how many the broker is not known to have taken: the sweeper will."""

    def send_compensations(self, messages: Sequence[StepMessage]) -> bool:
        """Send compensations as one chain, in this order. Returns as `send`."""

    def position_of(self, run_id: RunId) -> int | None:
        """Return the last entry of a run before something is done to it; `None` where nobody listens."""

    def announce(self, run_id: RunId, *, after_id: int | None, actors: Collection[str] | None = None) -> None:
        """Tell what has happened to a run after an entry, by these actors, after the commit. Never raises."""

    def announce_created(self, run_ids: Collection[RunId], *, actors: Collection[str]) -> None:
        """Tell of many runs that these actors have just created them, after the commit. Never raises."""


_resolvers: list[Callable[[], Engine | None]] = []


def set_engine_resolver(resolver: Callable[[], Engine | None]) -> None:
    """Say how the engine is found where nobody knows better: that of the current Celery app."""
    _resolvers[-1:] = [resolver]


def prefer_engine_resolver(resolver: Callable[[], Engine | None]) -> None:
    """Let a framework say whose engine is meant, before the current Celery app is asked.

    Args:
        resolver: returns `None` where the framework does not know, such as outside of its requests.
    """
    _resolvers.insert(0, resolver)


@contextmanager
def engine_in_place(engine: Engine) -> Iterator[None]:
    """Let everything that is enqueued inside the block go to one engine, whatever app is configured, and at once."""
    before = list(_resolvers)
    _resolvers[:] = [lambda: engine]
    try:
        with outside_of_frameworks():
            yield
    finally:
        _resolvers[:] = before


def current_engine() -> Engine:
    """Return the engine of the current Celery app.

    Raises:
        ConfigurationError: there is none.
    """
    engine = next((found for resolver in _resolvers if (found := resolver()) is not None), None)
    if engine is None:
        raise ConfigurationError(
            problem="no Celery app with backout is configured in this process",
            remedy="Call `backout.install(app, database_url=…)` where the Celery app is made, and import that module.",
        )
    return engine
