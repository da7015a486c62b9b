"""Reviews: what a person must decide, with the evidence to decide it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal

from backout.compensations.plan import may_have_happened
from backout.ledger import queries, transitions
from backout.ledger.records import StepKey, StepRecord
from backout.ledger.session import LedgerConnection
from backout.pipelines.contract import Effect, Plan
from backout.pipelines.words import state_in_review, state_of_stuck_compensation, state_when_stopped
from backout.states import Direction, ReviewReason, RollbackOutcome, StepState


def open_review(
    connection: LedgerConnection,
    plan: Plan,
    key: StepKey,
    review: ReviewReason,
    *,
    reason: str,
    how: Literal["failed", "in_doubt", "live_unknown", "pending"],
    more: Mapping[str, object] | None = None,
) -> bool:
    """Hand a run to a person, with the evidence that is recorded. Needs the transaction of what causes it.

    Args:
        connection: the transaction.
        plan: of the run.
        key: of the row in question.
        review: the reason code.
        reason: in words.
        how: the attempt ended, or that it is pending.
        more: evidence that only the caller has.

    Returns:
        False when the run is neither under way nor paused: nothing was written.
    """
    contract = plan.steps[key.position]
    run = queries.find_run(connection, key.run_id)
    last = run.last_successful_step if run is not None else None
    last_done = plan.steps[plan.position_of(last)] if last is not None else None
    state = state_when_stopped(last_done, contract, how=how)
    steps = queries.list_steps(connection, key.run_id)
    row = next(step for step in steps if step.key == key)
    # Also a question that is asked before an undo can stop a rollback that has come some way.
    is_rolling_back = queries.is_rollback_open(connection, key.run_id)
    outcome = rollback_so_far(steps) if is_rolling_back else RollbackOutcome.NONE
    within = plan.review_within_seconds
    deadline_at = None if within is None else queries.read_clock(connection) + timedelta(seconds=within)
    if key.direction is Direction.COMPENSATION:
        state = state_of_stuck_compensation(contract, how=how)
    review_id = transitions.review_run(
        connection,
        key.run_id,
        reason=review,
        about=key,
        step_name=row.step,
        evidence={
            # First, because people read it in this order.
            "what": reason,
            **_evidence(connection, plan, row, steps, review),
            "last_successful_step": last,
            **(more or {}),
        },
        deadline_at=deadline_at,
        operator_state=state_in_review(state),
        rollback_outcome=outcome,
    )
    return review_id is not None


def _evidence(
    connection: LedgerConnection, plan: Plan, row: StepRecord, steps: Sequence[StepRecord], review: ReviewReason
) -> dict[str, object]:
    """Return what the ledger knows that a person needs: what was attempted, the ids, and what must not be repeated."""
    done = [s.step for s in steps if s.direction is Direction.FORWARD and s.state is StepState.SUCCEEDED]
    return {
        "direction": row.direction.value,
        "attempt": row.attempt,
        "idempotency_key": row.idempotency_key,
        "external_ids": dict(_ids(steps)),
        "done": done,
        "undone": [s.step for s in steps if s.state is StepState.UNDONE],
        "not_to_be_repeated": not_to_be_repeated(plan, steps),
        **_earlier(connection, row.key, review),
    }


def not_to_be_repeated(plan: Plan, steps: Sequence[StepRecord]) -> list[str]:
    """Return the steps that happened or may have happened, and that a second time would do a second time."""
    return [
        step.step
        for step in steps
        if step.direction is Direction.FORWARD
        and may_have_happened(step)
        and plan.steps[step.position].effect is not Effect.READ
        and not plan.steps[step.position].idempotent
    ]


def _earlier(connection: LedgerConnection, key: StepKey, reason: ReviewReason) -> dict[str, object]:
    """Return the review whose decision did not hold: the same was asked about the same row before."""
    earlier = [
        {"review": review.id, "decision": review.decision, "by": review.decided_by, "note": review.note}
        for review in queries.list_reviews(connection, key.run_id)
        if review.reason is reason and (review.round, review.position) == (key.round, key.position) and review.decision
    ]
    return {"decided_before": earlier} if earlier else {}


def _ids(steps: Sequence[StepRecord]) -> dict[str, str]:
    return {name: value for step in steps for name, value in step.external_ids.items()}


def rollback_so_far(steps: Sequence[StepRecord]) -> RollbackOutcome:
    """Return how far a rollback that did not succeed has come."""
    is_any_undone = any(
        step.direction is Direction.COMPENSATION and step.state is StepState.SUCCEEDED for step in steps
    )
    return RollbackOutcome.PARTIAL if is_any_undone else RollbackOutcome.FAILED
