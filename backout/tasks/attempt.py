"""One claimed attempt, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Self

from backout.ledger.records import Claim, Link, StepKey
from backout.ledger.undoing import Background
from backout.pipelines.contract import Plan, StepContract
from backout.pipelines.message import StepMessage
from backout.states import Direction, RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """What a worker knows of a way back without asking the ledger, which checks it where anything is written by it.

    Attributes:
        links: what comes after the compensation that runs, in order; empty: nothing, or it is not known.
        backgrounds: what was recorded about the steps to undo when the rollback was planned, by the key of the undo.
            Nothing that an undo must know changes after that: no forward attempt may be running then (R5).
    """

    links: tuple[Link, ...] = ()
    backgrounds: Mapping[StepKey, Background] = field(default_factory=dict)

    @property
    def next_undo(self) -> Link | None:
        """The compensation that comes next, where it is known, and nobody has to be asked before it."""
        is_undo = self.links and self.links[0].key.direction is Direction.COMPENSATION
        return self.links[0] if is_undo else None

    def after_first(self) -> Self:
        """Return what is ahead of the first link."""
        return replace(self, links=self.links[1:])


NOTHING_AHEAD: Final = Ahead()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A claimed attempt with the plan of its run.

    Attributes:
        doubted_attempts: for a question: attempts of its step that ended without an answer.
        ahead: what is known of the way back that it is on.
    """

    claim: Claim
    plan: Plan
    doubted_attempts: int = 0
    ahead: Ahead = NOTHING_AHEAD

    @property
    def contract(self) -> StepContract:
        """The contract of the step."""
        return self.plan.steps[self.claim.key.position]

    @property
    def is_on_the_way_back(self) -> bool:
        """True for what a chain carries: compensations, and questions that are asked before them."""
        direction = self.claim.key.direction
        return direction is Direction.COMPENSATION or (
            direction is Direction.RECONCILE and self.claim.run.state is RunState.ROLLING_BACK
        )

    @property
    def last_done(self) -> StepContract | None:
        """The last forward step that succeeded before."""
        name = self.claim.run.last_successful_step
        return None if name is None else self.plan.steps[self.plan.position_of(name)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """By whom an attempt without an answer was ended.

    Attributes:
        may_run_until: aware; until then it may go on without our knowing. `None`: it is known to be over.
    """

    actor: str = "engine"
    may_run_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What was written, in the words of a log line, and what to send now.

    Attributes:
        consequence: what happens next.
        steps: messages to send one by one.
        compensations: messages to send as one chain, in the order of undoing.
        claimed: what this worker goes on with at once, and for which nothing is to be sent: the message that it would
            have been, and the claim that was committed; `None`: nothing.
        ahead: of what is claimed.
    """

    consequence: str
    steps: tuple[StepMessage, ...] = ()
    compensations: tuple[StepMessage, ...] = field(default=())
    claimed: tuple[StepMessage, Claim] | None = None
    ahead: Ahead = NOTHING_AHEAD

    def taken_up(self, claim: Claim, ahead: Ahead = NOTHING_AHEAD) -> Self:
        """Return the same, where the first of what was to be sent is claimed in the same commit."""
        message = (*self.steps, *self.compensations)[0]
        return replace(self, steps=(), compensations=(), claimed=(message, claim), ahead=ahead)
