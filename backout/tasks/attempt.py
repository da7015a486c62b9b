"""One claimed attempt, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from backout.ledger.records import Claim
from backout.pipelines.contract import Plan, StepContract
from backout.pipelines.message import StepMessage
from backout.states import Direction, RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A claimed attempt with the plan of its run.

    Attributes:
        doubted_attempts: for a question: attempts of its step that ended without an answer.
    """

    claim: Claim
    plan: Plan
    doubted_attempts: int = 0

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
    """

    consequence: str
    steps: tuple[StepMessage, ...] = ()
    compensations: tuple[StepMessage, ...] = field(default=())
    claimed: tuple[StepMessage, Claim] | None = None

    def taken_up(self, claim: Claim) -> Self:
        """Return the same, where the first of what was to be sent is claimed in the same commit."""
        message = (*self.steps, *self.compensations)[0]
        return replace(self, steps=(), compensations=(), claimed=(message, claim))
