"""What can happen in a world, as values, and the world after a transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from backout.states import Answer
from tests.model.mirror import Recorded
from tests.model.model import Model
from tests.model.moot import without_moot
from tests.model.pipelines import Result
from tests.model.world import Budget, Delivery, Key, Links, Token, World, say
from tests.model.writing import Walked, Writing


class What(StrEnum):
    """What happens."""

    DELIVER = "a worker receives the message of"
    NOTICE = "a worker receives the message and finds the process dead that runs"
    LOSE = "the broker loses the message of"
    DUPLICATE = "the broker doubles the message of"
    AFFECT = "the effect happens of"
    ANSWER = "the answer is given to"
    END = "the attempt ends of"
    END_AND_DIE = "the attempt ends, and its worker dies before it sends what follows, of"
    END_SEND_AND_DIE = "the attempt ends, and its worker dies before it acknowledges the message of"
    CRASH = "the worker dies that runs"
    CUT_OFF = "a shutdown cuts off"
    REFUSE = "a worker that does not define the step gives back"
    EXPIRE_DEAD = "the sweeper finds the process gone that ran"
    EXPIRE_SILENT = "the sweeper hears no more of"
    END_WAIT = "the sweeper ends the wait of"
    RESEND = "the sweeper sends again the message of"
    ASK_DEFINITION = "the sweeper asks a person, because nobody takes up"
    RETRY_DUE = "the time has come for the retry of"
    TIME_UP = "the time is up of every attempt that was given up of"
    RUN_LATE = "the deadline of the run passes, before the end of"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One thing that happens.

    Attributes:
        token: of the claim in question.
        answer: that is recorded.
    """

    what: What
    key: Key
    token: Token | None = None
    result: Result | None = None
    answer: Answer | None = None
    is_fault: bool = False

    def __str__(self) -> str:
        """Tell it."""
        token = f" (attempt {self.token[1]})" if self.token else ""
        result = f": it {self.result.value}" if self.result else ""
        answer = f" ({self.answer.value})" if self.answer else ""
        return f"{self.what.value} {say(self.key)}{token}{result}{answer}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A move, and where it leads.

    Attributes:
        walked: the changes of state that it made, in order.
        sent: what was to be sent after its commit; `None`: nothing was written.
    """

    move: Move
    world: World
    walked: tuple[Walked, ...] = ()
    sent: Recorded | None = None


def world_after(
    model: Model,
    world: World,
    writing: Writing | None = None,
    *,
    done: Delivery | None = None,
    sent: Iterable[Links] = (),
    taken: Links | None = None,
    budget: Budget | None = None,
) -> World:
    """Return the world after a transaction, with messages sent and taken, and without a worker that is done."""
    messages, deliveries = list(world.messages), world.deliveries
    if taken is not None:
        messages.remove(taken)
    messages.extend(links for links in sent if links)
    if done is not None:
        number = deliveries.index(done)
        deliveries = (*deliveries[:number], *deliveries[number + 1 :])
    after = World(
        run=world.run if writing is None else writing.run,
        rows=world.rows if writing is None else writing.sorted_rows,
        messages=tuple(sorted(messages)),
        deliveries=deliveries,
        books=world.books,
        budget=world.budget if budget is None else budget,
        is_late=world.is_late,
    )
    return after if model.keeps_moot else without_moot(after)


def spend(budget: Budget, what: str) -> Budget | None:
    """Return what is left after one more fault; `None` when none is left of its kind."""
    left = getattr(budget, what)
    return replace(budget, **{what: left - 1}) if left else None


def duplicate(model: Model, world: World, links: Links, budget: Budget) -> Edge:
    """Double a message, of the broker or of a worker that has not acknowledged it."""
    move = Move(what=What.DUPLICATE, key=links[0], is_fault=True)
    return Edge(move=move, world=world_after(model, world, sent=[links], budget=budget))
