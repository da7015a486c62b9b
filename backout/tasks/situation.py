"""Where an attempt stands in its run, read together for the pure decision."""

from __future__ import annotations

from backout.ledger import queries
from backout.ledger.records import StepRecord
from backout.pipelines.message import direction_contract
from backout.states import RunState
from backout.tasks.advance import Situation
from backout.tasks.attempt import Attempt
from backout.tasks.runtime import Runtime


def situation_of(runtime: Runtime, attempt: Attempt) -> Situation:
    """Return where an attempt of a step, a compensation or a question stands."""
    claim = attempt.claim
    return Situation(
        run_id=claim.key.run_id,
        round_number=claim.key.round,
        history=_history(runtime, attempt),
        plan=attempt.plan,
        position=claim.key.position,
        direction=claim.key.direction,
        last_done=attempt.last_done,
        is_idempotent=direction_contract(attempt.contract, claim.key.direction).idempotent,
        lost_attempts=claim.lost_attempts,
        lost_attempts_limit=runtime.settings.lost_attempts_limit,
        doubted_attempts=attempt.doubted_attempts,
        is_rolling_back=claim.run.state is RunState.ROLLING_BACK,
    )


def _history(runtime: Runtime, attempt: Attempt) -> tuple[StepRecord, ...]:
    """Return the rows of a run that a person has started again; one read more for each of its attempts."""
    key = attempt.claim.key
    if key.round == 1:
        return ()
    what = f"the earlier rounds of run {key.run_id}"
    return tuple(runtime.ledger.read_patiently(lambda where: queries.list_steps(where, key.run_id), what=what))
