"""One claimed attempt, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from backout.ledger.records import Claim
from backout.pipelines.contract import Plan, StepContract
from backout.pipelines.message import StepMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A claimed attempt with the plan of its run."""

    claim: Claim
    plan: Plan

    @property
    def contract(self) -> StepContract:
        """The contract of the step."""
        return self.plan.steps[self.claim.key.position]

    @property
    def last_done(self) -> StepContract | None:
        """The last forward step that succeeded before."""
        name = self.claim.run.last_successful_step
        return None if name is None else self.plan.steps[self.plan.position_of(name)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What was written, in the words of a log line, and what to send now.

    Attributes:
        consequence: what happens next.
        steps: messages to send one by one.
        compensations: messages to send as one chain, in the order of undoing.
    """

    consequence: str
    steps: tuple[StepMessage, ...] = ()
    compensations: tuple[StepMessage, ...] = field(default=())
