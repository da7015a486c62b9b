"""Write a decision into the ledger: the outcome and what comes next in one transaction, by the holder of the claim.

Each function returns what to send after the commit, or `None` when the claim was lost and nothing was written (R3).
"""

from __future__ import annotations

from typing import Final, assert_never

from backout.compensations.reviews import open_review
from backout.compensations.way_back import remaining_chain
from backout.ledger import transitions
from backout.ledger.records import Claim
from backout.ledger.session import LedgerConnection
from backout.pipelines.message import StepMessage
from backout.pipelines.words import state_when_stopped
from backout.tasks.attempt import Attempt, Ended, Recorded
from backout.tasks.burst import Hand
from backout.tasks.decisions import (
    Ask,
    AskFirst,
    Confirm,
    Decision,
    Doubt,
    GiveBack,
    GoOn,
    Park,
    RunAgain,
    TryAgain,
    TurnBack,
    Unanswered,
    UndoAnswered,
    UndoNext,
    Verified,
)
from backout.tasks.onward import claimed_by, next_message, onward_of
from backout.tasks.outcome import Failed, Skipped, Succeeded
from backout.tasks.questions import ask_first, confirm, leave_open, run_again, undo_answered, verified
from backout.tasks.rollback import turn_back, undo_at_once, undo_next
from backout.tasks.runtime import Runtime

BY_ITSELF: Final = Ended()


def record(runtime: Runtime, attempt: Attempt, decision: Decision, hand: Hand | None = None) -> Recorded | None:
    """Commit a decision; `None` when the claim was lost meanwhile and nothing was written (R3).

    Args:
        runtime: for the ledger and the settings.
        attempt: that ended.
        decision: about it.
        hand: takes up what comes next in the same commit, if it may; `None`: a message is to be sent.
    """
    following = attempt.ahead.next_undo
    if isinstance(decision, UndoNext) and isinstance(decision.outcome, Succeeded) and following is not None:
        with runtime.ledger.change() as connection:
            recorded = undo_at_once(connection, runtime, attempt, decision.outcome, following, hand)
        if recorded is not None:
            return recorded
    is_one_change = isinstance(decision, GoOn | TryAgain | GiveBack)
    with runtime.ledger.change() if is_one_change else runtime.ledger.transaction() as connection:
        return write(connection, runtime, attempt, decision, hand=hand)


def write(
    connection: LedgerConnection,
    runtime: Runtime,
    attempt: Attempt,
    decision: Decision,
    ended: Ended = BY_ITSELF,
    hand: Hand | None = None,
) -> Recorded | None:
    """Write a decision in the caller's scope; it commits nothing. Returns as `record`.

    Args:
        connection: a transaction; a `Ledger.change()` scope is enough for `GoOn`, `TryAgain` and `GiveBack`.
        runtime: for the settings.
        attempt: that ended.
        decision: about it.
        ended: by whom, where somebody else found that it had no answer.
        hand: as of `record`.
    """
    match decision:
        case GoOn():
            return _go_on(connection, runtime, attempt, decision, hand)
        case TryAgain():
            return _try_again(connection, runtime, attempt, decision)
        case GiveBack():
            return _give_back(connection, attempt, decision, ended)
        case TurnBack():
            return turn_back(connection, runtime, attempt, decision, hand)
        case Park():
            return _park(connection, attempt, decision)
        case Ask():
            return _ask(connection, attempt, decision)
        case Doubt():
            return _doubt(connection, attempt, decision, ended)
        case UndoNext():
            return undo_next(connection, runtime, attempt, decision, hand)
        case AskFirst():
            return ask_first(connection, runtime, attempt, decision, ended)
        case Confirm() | RunAgain() | UndoAnswered() | Verified() | Unanswered():
            return _write_answer(connection, runtime, attempt, decision)
        case _ as never:
            assert_never(never)


def _write_answer(
    connection: LedgerConnection,
    runtime: Runtime,
    attempt: Attempt,
    decision: Confirm | RunAgain | UndoAnswered | Verified | Unanswered,
) -> Recorded | None:
    match decision:
        case Confirm():
            return confirm(connection, runtime, attempt, decision)
        case RunAgain():
            return run_again(connection, runtime, attempt, decision)
        case UndoAnswered():
            return undo_answered(connection, runtime, attempt, decision)
        case Verified():
            return verified(connection, runtime, attempt, decision)
        case Unanswered():
            return leave_open(connection, attempt, decision)
        case _ as never:
            assert_never(never)


def _go_on(
    connection: LedgerConnection, runtime: Runtime, attempt: Attempt, decision: GoOn, hand: Hand | None
) -> Recorded | None:
    onward = onward_of(runtime, attempt, decision.onward)
    recorded = next_message(attempt, onward)
    if hand is not None and recorded.steps:
        onward = claimed_by(onward, hand.claim_for(recorded.steps[0]))
    gone_on = _end_step(connection, attempt.claim, decision.outcome, onward)
    if gone_on is None:
        return None
    return recorded if gone_on.claim is None else recorded.taken_up(gone_on.claim)


def _end_step(
    connection: LedgerConnection,
    claim: Claim,
    outcome: Succeeded | Skipped | Failed,
    onward: transitions.Onward,
) -> transitions.GoneOn | None:
    match outcome:
        case Succeeded(output=output):
            return transitions.succeed_step(connection, claim, output=output, onward=onward)
        case Skipped(reason=reason):
            return transitions.skip_step(connection, claim, reason=reason, onward=onward)
        case Failed(error=error):
            return transitions.pass_failed_step(
                connection,
                claim,
                error=error.as_json(),
                reason=error.in_one_line,
                onward=onward,
                no_effect=outcome.no_effect,
            )
        case _ as never:
            assert_never(never)


def _try_again(connection: LedgerConnection, runtime: Runtime, attempt: Attempt, decision: TryAgain) -> Recorded | None:
    claim, outcome = attempt.claim, decision.outcome
    is_short = outcome.delay_seconds <= runtime.countdown_limit_seconds
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
    if attempt.is_on_the_way_back:
        # The chain that carried this attempt ends with it; a new one carries what is left.
        links = remaining_chain(
            connection, attempt.plan, claim.key.run_id, runtime.settings.chain_links, parent_id=None
        )
        return Recorded(
            consequence=consequence,
            compensations=(links[0].later(outcome.delay_seconds), *links[1:]),
        )
    message = StepMessage.of(attempt.plan, claim.key, task_id=claim.task_id, attempt=claim.attempt + 1)
    return Recorded(consequence=consequence, steps=(message.later(outcome.delay_seconds),))


def _give_back(connection: LedgerConnection, attempt: Attempt, decision: GiveBack, ended: Ended) -> Recorded | None:
    claim = attempt.claim
    is_recorded = transitions.release_claim(
        connection,
        claim.key,
        token=claim.token,
        reason=decision.reason,
        actor=ended.actor,
        sweep_seconds=0.0,
        may_run_until=ended.may_run_until,
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
        attempt.claim.key,
        decision.review,
        reason=error.in_one_line,
        how="failed",
    )
    return Recorded(consequence=f"a person is asked ({decision.review.value})")


def _doubt(connection: LedgerConnection, attempt: Attempt, decision: Doubt, ended: Ended) -> Recorded | None:
    claim = attempt.claim
    is_recorded = transitions.doubt_step(
        connection,
        claim.key,
        token=claim.token,
        reason=decision.reason,
        operator_state=state_when_stopped(attempt.last_done, attempt.contract, how="in_doubt"),
        actor=ended.actor,
        may_run_until=ended.may_run_until,
    )
    if not is_recorded:
        return None
    open_review(connection, attempt.plan, claim.key, decision.review, reason=decision.reason, how="in_doubt")
    return Recorded(consequence=f"a person is asked ({decision.review.value})")
