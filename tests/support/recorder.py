"""An engine without a broker: a real ledger and settings, and a list of what was sent."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from backout.identifiers import RunId
from backout.ledger.session import Ledger
from backout.pipelines.message import StepMessage
from backout.settings import Settings


@dataclass(kw_only=True)
class RecordingEngine:
    """What the actions need of the layers above; its broker takes every message and delivers none.

    Attributes:
        sent: messages one by one and chains, in the order in which they were sent.
    """

    ledger: Ledger
    settings: Settings
    sent: list[tuple[StepMessage, ...]] = field(default_factory=list)

    def send(self, message: StepMessage) -> bool:
        """Note a message."""
        self.sent.append((message,))
        return True

    def send_many(self, messages: Sequence[StepMessage]) -> int:
        """Note each of them."""
        self.sent += ((message,) for message in messages)
        return 0

    def send_compensations(self, messages: Sequence[StepMessage]) -> bool:
        """Note a chain; an empty one is none."""
        if messages:
            self.sent.append(tuple(messages))
        return True

    def position_of(self, run_id: RunId) -> int | None:
        """Nobody listens."""
        return None

    def announce(self, run_id: RunId, *, after_id: int | None, actors: Collection[str] | None = None) -> None:
        """Nobody listens."""

    def announce_created(self, run_ids: Collection[RunId], *, actors: Collection[str]) -> None:
        """Nobody listens."""


def make_engine(ledger: Ledger) -> RecordingEngine:
    """Return an engine on a ledger."""
    return RecordingEngine(ledger=ledger, settings=Settings(database_url=ledger.shown_url))
