"""Reviews: what a person must decide, with the evidence to decide it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from backout.ledger import queries, transitions
from backout.ledger.records import Claim, StepRecord
from backout.ledger.session import LedgerConnection
from backout.pipelines.contract import Plan
from backout.pipelines.words import state_when_stopped
from backout.states import Direction, ReviewReason, RollbackOutcome, StepState


def open_review(
    connection: LedgerConnection,
    plan: Plan,
    claim: Claim,
    review: ReviewReason,
    *,
    reason: str,
    how: Literal["failed", "in_doubt"],
    more: Mapping[str, object] | None = None,
) -> None:
    """Hand a run to a person, with the evidence that is recorded. Needs the transaction of the outcome that causes it.

    Args:
        connection: the transaction.
        plan: of the run.
        claim: of the attempt that causes the review.
        review: the reason code.
        reason: in words.
        how: the attempt ended.
        more: evidence that only the caller has.
    """
    contract = plan.steps[claim.key.position]
    outcome = RollbackOutcome.NONE
    last = claim.run.last_successful_step
    last_done = plan.steps[plan.position_of(last)] if last is not None else None
    state = state_when_stopped(last_done, contract, how=how)
    steps = queries.list_steps(connection, claim.key.run_id)
    if claim.key.direction is Direction.COMPENSATION:
        outcome = rollback_so_far(steps)
        state = f"{contract.name}_compensation_{how}"
    transitions.review_run(
        connection,
        claim.key.run_id,
        reason=review,
        about=claim.key,
        step_name=claim.step,
        evidence={
            "what": reason,
            "direction": claim.key.direction.value,
            "attempt": claim.attempt,
            "idempotency_key": claim.idempotency_key,
            "external_ids": dict(_ids(steps)),
            "last_successful_step": claim.run.last_successful_step,
            "done": [s.step for s in steps if s.direction is Direction.FORWARD and s.state is StepState.SUCCEEDED],
            "undone": [s.step for s in steps if s.state is StepState.UNDONE],
            **(more or {}),
        },
        operator_state=f"{state}_in_review",
        rollback_outcome=outcome,
    )


def _ids(steps: Sequence[StepRecord]) -> dict[str, str]:
    return {name: value for step in steps for name, value in step.external_ids.items()}


def rollback_so_far(steps: Sequence[StepRecord]) -> RollbackOutcome:
    """Return how far a rollback that did not succeed has come."""
    is_any_undone = any(
        step.direction is Direction.COMPENSATION and step.state is StepState.SUCCEEDED for step in steps
    )
    return RollbackOutcome.PARTIAL if is_any_undone else RollbackOutcome.FAILED
