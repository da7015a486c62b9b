"""Write a decision into the ledger: the outcome and what comes next in one transaction, by the holder of the claim.

Each function returns what to send after the commit, or `None` when the claim was lost and nothing was written (R3).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypedDict, assert_never

from backout.compensations.reviews import open_review
from backout.identifiers import new_task_id
from backout.ledger import transitions
from backout.ledger.records import Claim
from backout.ledger.session import LedgerConnection
from backout.pipelines.message import StepMessage
from backout.pipelines.words import state_when_stopped
from backout.states import Direction
from backout.tasks.advance import Ask, Decision, Doubt, GiveBack, GoOn, Park, TryAgain, TurnBack, UndoNext
from backout.tasks.attempt import Attempt, Recorded
from backout.tasks.outcome import Failed, Skipped, Succeeded
from backout.tasks.rollback import remaining_chain, turn_back, undo_next
from backout.tasks.runtime import Runtime


def record(runtime: Runtime, attempt: Attempt, decision: Decision) -> Recorded | None:
    """Commit a decision; `None` when the claim was lost meanwhile and nothing was written (R3)."""
    match decision:
        case GoOn():
            with runtime.ledger.change() as connection:
                return _go_on(connection, runtime, attempt, decision)
        case TryAgain():
            with runtime.ledger.change() as connection:
                return _try_again(connection, runtime, attempt, decision)
        case GiveBack():
            with runtime.ledger.change() as connection:
                return _give_back(connection, attempt, decision)
    with runtime.ledger.transaction() as connection:
        match decision:
            case TurnBack():
                return turn_back(connection, runtime, attempt, decision)
            case Park():
                return _park(connection, attempt, decision)
            case Ask():
                return _ask(connection, attempt, decision)
            case Doubt():
                return doubt(connection, attempt, decision)
            case UndoNext():
                return undo_next(connection, runtime, attempt, decision)
            case _ as never:
                assert_never(never)


class _GoingOn(TypedDict):
    following: transitions.NextStep | None
    operator_state: str
    resend_seconds: float


def _go_on(connection: LedgerConnection, runtime: Runtime, attempt: Attempt, decision: GoOn) -> Recorded | None:
    claim, following = attempt.claim, decision.following
    task_id = new_task_id()
    after = None
    if following is not None:
        after = transitions.NextStep(
            name=following.name,
            idempotency_key=f"{claim.key.run_id}:{following.name}",
            task_id=task_id,
        )
    common: _GoingOn = {
        "following": after,
        "operator_state": decision.operator_state,
        "resend_seconds": runtime.settings.resend_seconds,
    }
    if not _end_step(connection, claim, decision.outcome, common):
        return None
    if following is None:
        return Recorded(consequence="the run is finished")
    key = replace(claim.key, position=claim.key.position + 1)
    message = StepMessage.of(attempt.plan, key, task_id=task_id, parent_id=claim.task_id)
    return Recorded(consequence=f"{following.name} is next", steps=(message,))


def _end_step(
    connection: LedgerConnection,
    claim: Claim,
    outcome: Succeeded | Skipped | Failed,
    common: _GoingOn,
) -> bool:
    match outcome:
        case Succeeded(output=output):
            return transitions.succeed_step(connection, claim, output=output, **common)
        case Skipped(reason=reason):
            return transitions.skip_step(connection, claim, reason=reason, **common)
        case Failed(error=error):
            reason = error.in_one_line
            return transitions.pass_failed_step(connection, claim, error=error.as_json(), reason=reason, **common)
        case _ as never:
            assert_never(never)


def _try_again(connection: LedgerConnection, runtime: Runtime, attempt: Attempt, decision: TryAgain) -> Recorded | None:
    claim, outcome = attempt.claim, decision.outcome
    is_short = outcome.delay_seconds <= runtime.settings.countdown_limit_seconds
    is_recorded = transitions.schedule_retry(
        connection,
        claim,
        error=outcome.error.as_json(),
        reason=outcome.error.in_one_line,
        delay_seconds=outcome.delay_seconds,
        resend_seconds=runtime.settings.resend_seconds if is_short else None,
    )
    if not is_recorded:
        return None
    consequence = f"attempt {claim.attempt + 1} in {outcome.delay_seconds:.1f} s"
    if not is_short:
        return Recorded(consequence=consequence)
    if claim.key.direction is Direction.COMPENSATION:
        # The chain that carried this attempt ends with it; a new one carries what is left.
        links = remaining_chain(connection, attempt.plan, claim.key, runtime.settings.chain_links, parent_id=None)
        return Recorded(
            consequence=consequence,
            compensations=(links[0].later(outcome.delay_seconds), *links[1:]),
        )
    message = StepMessage.of(attempt.plan, claim.key, task_id=claim.task_id, attempt=claim.attempt + 1)
    return Recorded(consequence=consequence, steps=(message.later(outcome.delay_seconds),))


def _give_back(connection: LedgerConnection, attempt: Attempt, decision: GiveBack) -> Recorded | None:
    claim = attempt.claim
    is_recorded = transitions.release_claim(
        connection,
        claim.key,
        token=claim.token,
        reason=decision.reason,
        sweep_seconds=0.0,
    )
    return Recorded(consequence="it may run again under the same key") if is_recorded else None


def _park(connection: LedgerConnection, attempt: Attempt, decision: Park) -> Recorded | None:
    claim, error = attempt.claim, decision.error
    reason = error.in_one_line
    if not transitions.fail_step(
        connection,
        claim,
        error=error.as_json(),
        reason=reason,
        no_effect=decision.no_effect,
    ):
        return None
    state = state_when_stopped(attempt.last_done, attempt.contract, how="pending")
    transitions.park_run(connection, claim.key.run_id, operator_state=state, reason=reason)
    return Recorded(consequence="the run is parked")


def _ask(connection: LedgerConnection, attempt: Attempt, decision: Ask) -> Recorded | None:
    error = decision.error
    if not transitions.fail_step(
        connection,
        attempt.claim,
        error=error.as_json(),
        reason=error.in_one_line,
        no_effect=decision.no_effect,
    ):
        return None
    open_review(
        connection,
        attempt.plan,
        attempt.claim,
        decision.review,
        reason=error.in_one_line,
        how="failed",
    )
    return Recorded(consequence=f"a person is asked ({decision.review.value})")


def doubt(connection: LedgerConnection, attempt: Attempt, decision: Doubt, *, actor: str = "engine") -> Recorded | None:
    """Record an attempt without an answer and ask a person; also for a claim that the sweeper found expired."""
    claim = attempt.claim
    if not transitions.doubt_step(connection, claim.key, token=claim.token, reason=decision.reason, actor=actor):
        return None
    open_review(connection, attempt.plan, claim, decision.review, reason=decision.reason, how="in_doubt")
    return Recorded(consequence=f"a person is asked ({decision.review.value})")
