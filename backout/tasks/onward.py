"""From where the run goes (`Way`) to the row that is recorded and the message that is sent for it."""

from __future__ import annotations

from dataclasses import replace

from backout.identifiers import new_task_id
from backout.ledger.records import StepKey
from backout.ledger.transitions import NextClaim, NextStep, Onward
from backout.pipelines.message import StepMessage
from backout.states import Direction
from backout.tasks.attempt import Attempt, Recorded
from backout.tasks.decisions import Way
from backout.tasks.runtime import Runtime


def onward_of(runtime: Runtime, attempt: Attempt, way: Way, *, step_key: str = "") -> Onward:
    """Return what is recorded of the way on.

    Args:
        runtime: for the settings.
        attempt: that ended, of the step or of a question about it.
        way: where the run goes.
        step_key: the idempotency key of the step, where the attempt was a question's.
    """
    claim, following = attempt.claim, None
    if way.following is not None and way.verifies:
        # The question has the step's key: the outside world knows by it what was published.
        following = NextStep(
            name=claim.step,
            position=claim.key.position,
            direction=Direction.VERIFY,
            idempotency_key=step_key or claim.idempotency_key,
            task_id=new_task_id(),
        )
    elif way.following is not None:
        following = NextStep(
            name=way.following.name,
            position=way.position,
            direction=Direction.FORWARD,
            idempotency_key=way.key,
            task_id=new_task_id(),
        )
    return Onward(
        following=following,
        operator_state=way.operator_state,
        standing=way.standing,
        resend_seconds=runtime.settings.resend_seconds,
    )


def claimed_by(onward: Onward, claim: NextClaim | None) -> Onward:
    """Return the same way on, with a claim on the next row; `None`: it becomes ready."""
    if onward.following is None or claim is None:
        return onward
    return replace(onward, following=replace(onward.following, claim=claim))


def next_message(attempt: Attempt, onward: Onward) -> Recorded:
    """Return what to send after the commit."""
    following, claim = onward.following, attempt.claim
    if following is None:
        return Recorded(consequence="the run is finished")
    key = StepKey(
        run_id=claim.key.run_id,
        round=claim.key.round,
        position=following.position,
        direction=following.direction,
    )
    message = StepMessage.of(attempt.plan, key, task_id=following.task_id, parent_id=claim.task_id)
    what = "what was published is verified" if following.direction is Direction.VERIFY else f"{following.name} is next"
    return Recorded(consequence=what, steps=(message,))
