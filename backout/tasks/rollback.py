"""Record the turn of a run and each step of its way back, with the chain that carries what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from backout.compensations.plan import RollbackPlan, plan_rollback
from backout.compensations.reviews import open_review
from backout.compensations.way_back import (
    chain_messages,
    finish_way_back,
    record_way_back,
    rows_of_way_back,
    walk_back,
)
from backout.ledger import due, queries, transitions, undoing
from backout.ledger.records import Claim, Link, StepKey, StepRecord
from backout.ledger.session import LedgerConnection
from backout.ledger.transitions.parts import ENGINE
from backout.ledger.undoing import Background
from backout.pipelines.message import StepMessage
from backout.pipelines.words import state_of_rollback, state_while_undoing
from backout.states import Direction, ReviewReason, RollbackOutcome, StepState
from backout.tasks.attempt import NOTHING_AHEAD, Ahead, Attempt, Recorded
from backout.tasks.burst import Hand
from backout.tasks.decisions import TurnBack, UndoNext
from backout.tasks.outcome import ErrorFacts, Failed, Skipped, Succeeded
from backout.tasks.runtime import Runtime


def turn_back(
    connection: LedgerConnection, runtime: Runtime, attempt: Attempt, decision: TurnBack, hand: Hand | None = None
) -> Recorded | None:
    """Record the final failure of a forward step and plan the rollback; needs a transaction."""
    claim, error = attempt.claim, decision.outcome.error
    if not transitions.fail_step(
        connection,
        claim,
        error=error.as_json(),
        reason=error.in_one_line,
        no_effect=decision.outcome.no_effect,
    ):
        return None
    steps = queries.list_steps(connection, claim.key.run_id)
    plan = plan_rollback(attempt.plan, steps)
    if plan.blocked_by is not None:
        return _stop_at_irreversible(connection, attempt, plan, error)
    cause = f"{claim.step}: {error.in_one_line}"
    begun = transitions.begin_rollback(
        connection,
        claim.key.run_id,
        operator_state=state_of_rollback(attempt.contract, how="rolling_back"),
        error_summary=cause,
        requested_by=ENGINE,
        compensations=tuple(line.contract.name for line in plan.compensations),
    )
    if not begun:
        return Recorded(consequence="nothing follows, because a person has stopped the run")
    # An attempt that was given up has left a time in its row.
    is_any_alive = any(step.may_run_until is not None for step in steps)
    wait_until = due.alive_until(connection, claim.key.run_id) if is_any_alive else None
    rows = rows_of_way_back(plan, steps, claim.key.run_id, wait_until)
    record_way_back(connection, rows, resend_seconds=runtime.settings.resend_seconds)
    to_run = [row for row in rows if not row.state.is_finished]
    if not to_run:
        finish_way_back(connection, attempt.plan, claim.key.run_id, left=claim.run.rollback_to)
        return Recorded(consequence="there was nothing to undo")
    consequence = f"{len(plan.compensations)} steps are being undone"
    if wait_until is not None:
        return Recorded(consequence=f"{consequence}; the first one {say_wait(wait_until)}")
    earlier = {step.key: step.attempt for step in steps if step.state is not StepState.PENDING}
    links = tuple(Link(key=row.key, task_id=row.task_id, attempts=earlier.get(row.key, 0)) for row in to_run)
    messages = chain_messages(attempt.plan, links, runtime.settings.chain_links, parent_id=claim.task_id)
    ahead = Ahead(links=links[1:], backgrounds=_backgrounds(plan, steps, cause) if hand is not None else {})
    return _take_up(connection, Recorded(consequence=consequence, compensations=messages), hand, ahead)


def _backgrounds(plan: RollbackPlan, steps: Sequence[StepRecord], cause: str) -> Mapping[StepKey, Background]:
    """Return what `find_background` would find for each undo of a plan that the engine has just recorded."""
    known = {step.key: step for step in steps}
    keys = {replace(line.forward.key, direction=Direction.COMPENSATION): line.forward for line in plan.compensations}
    return {
        key: Background(
            forward=forward,
            question=known.get(replace(key, direction=Direction.RECONCILE)),
            cause=cause,
            requested_by=ENGINE,
        )
        for key, forward in keys.items()
    }


def _take_up(
    connection: LedgerConnection, recorded: Recorded, hand: Hand | None, ahead: Ahead = NOTHING_AHEAD
) -> Recorded:
    """Claim the first of what is to be undone in the same commit, where this worker may go on with it."""
    asked = hand.claim_for(recorded.compensations[0]) if hand is not None and recorded.compensations else None
    if asked is None:
        return recorded
    first = recorded.compensations[0]
    claim = transitions.claim_step(
        connection,
        first.key,
        token=asked.token,
        lease_seconds=asked.lease_seconds,
        worker=asked.worker,
        attempt=first.attempt,
        process=asked.process,
        detail=asked.detail,
    )
    return recorded if claim is None else recorded.taken_up(claim, ahead)


def say_wait(until: datetime) -> str:
    """Return why something waits for an attempt that may still run."""
    return f"waits until {until:%H:%M:%S} UTC, because an attempt that was given up may run until then"


def _stop_at_irreversible(
    connection: LedgerConnection,
    attempt: Attempt,
    plan: RollbackPlan,
    error: ErrorFacts,
) -> Recorded:
    blocking = plan.blocked_by
    name = blocking.step if blocking else ""
    open_review(
        connection,
        attempt.plan,
        attempt.claim.key,
        ReviewReason.IRREVERSIBLE_PASSED,
        reason=error.in_one_line,
        how="failed",
        more={
            "irreversible_step": name,
            "would_be_undone": [line.contract.name for line in plan.compensations],
        },
    )
    return Recorded(consequence=f"a person is asked, because {name} cannot be undone (R7)")


def undo_next(
    connection: LedgerConnection, runtime: Runtime, attempt: Attempt, decision: UndoNext, hand: Hand | None = None
) -> Recorded | None:
    """Record the end of a compensation and make the next one ready, or close the rollback; needs a transaction."""
    if not _end_compensation(connection, attempt, decision.outcome):
        return None
    if hand is None:
        return walk_on(connection, runtime, attempt)
    run_id = attempt.claim.key.run_id
    is_known = bool(attempt.ahead.links)
    waiting = undoing.next_undos(connection, run_id, limit=1 if is_known else runtime.settings.chain_links)
    if not waiting:
        return _say_finished(finish_way_back(connection, attempt.plan, run_id, left=attempt.claim.run.rollback_to))
    first, ahead = waiting[0], attempt.ahead
    if not is_known:
        ahead = replace(ahead, links=tuple(row.link for row in waiting))
    offer = _offer(attempt, first.link, hand) if first.state is StepState.PENDING else None
    if offer is None:
        return _take_up(connection, walk_on(connection, runtime, attempt), hand)
    message, asked = offer
    claim = transitions.claim_compensation(connection, attempt.claim, first.link, asked)
    return walk_on(connection, runtime, attempt) if claim is None else _say_next(message, claim, ahead)


def undo_at_once(
    connection: LedgerConnection,
    runtime: Runtime,
    attempt: Attempt,
    outcome: Succeeded,
    following: Link,
    hand: Hand | None,
) -> Recorded | None:
    """Record the success of a compensation and claim the next one, or make it ready, in one change.

    Args:
        connection: a `Ledger.change()` scope is enough.
        runtime: for the settings.
        attempt: that succeeded.
        outcome: its success.
        following: the next compensation, as far as is known.
        hand: as of `record`.

    Returns:
        `None` when that cannot be, for one of many reasons: nothing was written, and `undo_next` says why or goes on.
    """
    operator_state = state_while_undoing(attempt.contract)
    offer = _offer(attempt, following, hand) if hand is not None else None
    if offer is not None:
        message, asked = offer
        claim = transitions.succeed_and_claim(
            connection,
            attempt.claim,
            output=outcome.output,
            operator_state=operator_state,
            following=following,
            asked=asked,
        )
        return None if claim is None else _say_next(message, claim, attempt.ahead)
    name = transitions.succeed_and_ready(
        connection,
        attempt.claim,
        output=outcome.output,
        operator_state=operator_state,
        following=following,
        resend_seconds=runtime.settings.resend_seconds,
    )
    if name is None:
        return None
    messages = chain_messages(
        attempt.plan, attempt.ahead.links, runtime.settings.chain_links, parent_id=attempt.claim.task_id
    )
    return Recorded(consequence=_say_undone_next(name), compensations=messages)


def _offer(attempt: Attempt, link: Link, hand: Hand) -> tuple[StepMessage, transitions.NextClaim] | None:
    """Return the next compensation and the claim on it, where this worker may go on with it."""
    (message,) = chain_messages(attempt.plan, [link], 1, parent_id=attempt.claim.task_id)
    # A question before an undo is never taken up.
    asked = hand.claim_for(message)
    return None if asked is None else (message, asked)


def _say_finished(outcome: RollbackOutcome) -> Recorded:
    return Recorded(consequence=f"the rollback is finished ({outcome.value})")


def _say_next(message: StepMessage, claim: Claim, ahead: Ahead) -> Recorded:
    is_first = bool(ahead.links) and ahead.links[0].key == claim.key
    left = ahead.after_first() if is_first else replace(ahead, links=())
    return Recorded(consequence=_say_undone_next(claim.step), claimed=(message, claim), ahead=left)


def _say_undone_next(step: str) -> str:
    return f"{step} is next to be undone"


def walk_on(connection: LedgerConnection, runtime: Runtime, attempt: Attempt) -> Recorded:
    """Make the next of the way back ready, or close the rollback; needs the transaction of what came before it."""
    claim = attempt.claim
    walked = walk_back(
        connection,
        attempt.plan,
        claim.key.run_id,
        left=claim.run.rollback_to,
        resend_seconds=runtime.settings.resend_seconds,
        links=runtime.settings.chain_links,
        parent_id=claim.task_id,
    )
    if walked.outcome is not None:
        return _say_finished(walked.outcome)
    return Recorded(consequence=_say_undone_next(str(walked.following)), compensations=walked.messages)


def _end_compensation(connection: LedgerConnection, attempt: Attempt, outcome: Succeeded | Skipped | Failed) -> bool:
    claim: Claim = attempt.claim
    state = state_while_undoing(attempt.contract)
    match outcome:
        case Succeeded(output=output):
            return transitions.succeed_compensation(connection, claim, output=output, operator_state=state)
        case Skipped(reason=reason):
            return transitions.skip_compensation(connection, claim, reason=reason, operator_state=state)
        case Failed(error=error):
            return transitions.fail_step(connection, claim, error=error.as_json(), reason=error.in_one_line)
        case _ as never:
            assert_never(never)
