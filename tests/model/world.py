"""One state of the modelled world, as a value that can be hashed: ledger, broker, workers, and the books outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from backout.faultpoints import FaultPoint
from backout.states import Answer, Direction, RollbackOutcome, RunState, StepState

Key = tuple[int, Direction]
"""Names a step row: position and direction. There is one run and one round."""
Links = tuple[Key, ...]
"""A message: the row that it is for, and the links of the chain that follow it."""
Token = tuple[int, int]
"""Names a claim within its row: how often the row's question was asked, and the attempt."""


def say(key: Key | None) -> str:
    """Return a row's name as people read it; `None` is the run."""
    return "the run" if key is None else f"{key[1].value} {key[0]}"


class Place(StrEnum):
    """Where the worker of an attempt stands."""

    CLAIMED = "claimed"
    """It holds the claim; the function may have begun; its effect does not exist."""
    AFFECTED = "affected"
    """The effect exists; nothing of it is recorded."""
    ANSWERED = "answered"
    """A question has been answered; the answer is not recorded and may be out of date."""


STANDS_AT: Final[Mapping[FaultPoint, str]] = {
    FaultPoint.BEFORE_CLAIM: "the message is still the broker's: a worker that dies here gives it back unchanged",
    FaultPoint.AFTER_CLAIM: Place.CLAIMED,
    FaultPoint.AFTER_CALL: f"{Place.AFFECTED} or {Place.ANSWERED}",
    FaultPoint.BEFORE_COMMIT: "as after the call: nobody else can tell the two apart",
    FaultPoint.AFTER_COMMIT: "the end of an attempt whose messages are not sent, and whose own message comes back",
    FaultPoint.AFTER_SEND: "the end of an attempt whose own message comes back",
    FaultPoint.ENQUEUE_COMMITTED: "the loss of the first message",
    FaultPoint.SWEEP_COMMITTED: "the loss of a message that was sent again",
}
"""Where each fault point is in the model. A message that is not yet sent is one that is not yet delivered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The row of the run, as far as guards and decisions read it.

    Attributes:
        last_done: position of the last forward step that succeeded.
    """

    state: RunState = RunState.PENDING
    last_done: int | None = None
    outcome: RollbackOutcome = RollbackOutcome.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a step, as far as guards and decisions read it.

    Attributes:
        token: of the claim that is held, or was held last; `None` when it was taken away.
        asks: how often this question was asked before: only the model needs it, to tell claims apart.
        answer: of a question.
        no_effect: the recorded error says that nothing happened.
        may_run: of a forward step: an attempt that was given up may still run.
        is_due: the time of a scheduled retry has come.
        is_swept: the sweeper will look at it.
    """

    key: Key
    state: StepState
    start_order: int
    attempt: int = 0
    lost_attempts: int = 0
    token: Token | None = None
    asks: int = 0
    answer: Answer | None = None
    no_effect: bool = False
    has_output: bool = False
    may_run: bool = False
    is_due: bool = False
    is_swept: bool = False

    @property
    def position(self) -> int:
        """The step's place in the plan."""
        return self.key[0]

    @property
    def direction(self) -> Direction:
        """What the row runs."""
        return self.key[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message at a worker that has claimed its row; it is not acknowledged.

    Attributes:
        answer: what the question was answered.
    """

    links: Links
    token: Token
    place: Place = Place.CLAIMED
    answer: Answer | None = None

    @property
    def key(self) -> Key:
        """The row that is claimed."""
        return self.links[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """What the world outside knows of one step.

    Attributes:
        effects: how often it happened; more than once also if it happened after it was undone.
        undos: how often it was undone.
    """

    effects: int = 0
    undos: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much may still go wrong.

    Attributes:
        crashes: workers that die, or that a shutdown cuts off.
        duplicates: messages that the broker delivers twice.
        losses: messages that the broker loses.
        zombies: workers that go on although nobody hears of them, until their claim expires.
        old_workers: workers that claim a step and do not define it.
        unknown_tasks: steps that no worker has taken up until a person was asked.
    """

    crashes: int = 0
    duplicates: int = 0
    losses: int = 0
    zombies: int = 0
    old_workers: int = 0
    unknown_tasks: int = 0

    def __str__(self) -> str:
        """Name what may go wrong."""
        counts = [(getattr(self, name), one, name) for name, one in _ONE_OF.items()]
        words = [f"{count} {one if count == 1 else several}" for count, one, several in counts if count]
        return ", ".join(words).replace("_", " ") or "nothing"


_ONE_OF: Final = {
    "crashes": "crash",
    "duplicates": "duplicate",
    "losses": "loss",
    "zombies": "zombie",
    "old_workers": "old worker",
    "unknown_tasks": "unknown task",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything that decides what can happen next.

    Attributes:
        rows: sorted by key.
        messages: of the broker, sorted; one that is there twice will be delivered twice.
        deliveries: sorted.
        books: by position.
        is_late: the deadline of the run has passed.
    """

    run: Run
    rows: tuple[Row, ...]
    messages: tuple[Links, ...]
    deliveries: tuple[Delivery, ...]
    books: tuple[Book, ...]
    budget: Budget
    is_late: bool = False

    def row(self, key: Key) -> Row | None:
        """Return a row; `None` when there is none."""
        for row in self.rows:
            if row.key == key:
                return row
        return None

    def holder_of(self, row: Row) -> Delivery | None:
        """Return the worker that holds the claim on a running row; `None` when it has died."""
        return next((one for one in self.deliveries if one.key == row.key and one.token == row.token), None)

    def is_held(self, delivery: Delivery) -> bool:
        """Return whether a worker's claim still holds."""
        row = self.row(delivery.key)
        return row is not None and row.state is StepState.RUNNING and row.token == delivery.token
