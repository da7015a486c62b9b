"""The ways in which a forward step ends and the run goes on: with what comes next in the same statement.

What comes next is the next step, the question whether what was published is live, or the end of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Boolean, Connection, Update, bindparam, case, null, update

from backout.events import Event
from backout.identifiers import ClaimToken
from backout.jsontext import JsonValue
from backout.ledger.change import Change, When
from backout.ledger.dialects import apply, now
from backout.ledger.models import entry, run, step
from backout.ledger.records import Claim, StepRecord
from backout.ledger.transitions.following import (
    FACTS_OF_NEXT,
    NextStep,
    claim_of_next,
    claimed_rows,
    following_parameters,
    ready_rows,
)
from backout.ledger.transitions.parts import (
    ENGINE,
    MATCHED,
    bind,
    claimed_step,
    ended,
    key_is,
    key_parameters,
    one_of,
    run_entry,
    step_entry,
    this_run,
)
from backout.states import Answer, RunState, StepState, sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Onward:
    """Where the run goes after a step.

    Attributes:
        following: `None` closes the run.
        standing: the row whose output is the run's when this closes it; `None`: the row that is ended.
        operator_state: of the run from now on.
        resend_seconds: when the sweeper sends the next message again if nobody takes it up.
    """

    following: NextStep | None
    operator_state: str
    resend_seconds: float
    standing: StepRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoneOn:
    """A forward step was recorded, with what comes next.

    Attributes:
        claim: on the next row, where it was asked for and a person has not stopped the run meanwhile.
    """

    claim: Claim | None = None


class _Next(StrEnum):
    """What comes after a step in the statement that ends it."""

    NONE = "none"
    READY = "ready"
    CLAIMED = "claimed"


class _Ending(StrEnum):
    """How a forward step ended."""

    SUCCEEDED = "succeeded"
    CONFIRMED = "confirmed"
    VERIFIED = "verified"
    SKIPPED = "skipped"
    PASSED = "passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """What is special about one ending.

    Attributes:
        is_success: the error of an earlier attempt is over, and the output is kept.
        says_why: the entry has a reason.
    """

    arrow: str
    state: StepState
    event: Event
    is_success: bool
    says_why: bool


_WAYS: Final = {
    _Ending.SUCCEEDED: _Way(
        arrow="succeed_step",
        state=StepState.SUCCEEDED,
        event=Event.STEP_SUCCEEDED,
        is_success=True,
        says_why=False,
    ),
    _Ending.CONFIRMED: _Way(
        arrow="confirm_step",
        state=StepState.SUCCEEDED,
        event=Event.STEP_SUCCEEDED,
        is_success=True,
        says_why=True,
    ),
    _Ending.VERIFIED: _Way(
        arrow="succeed_step",
        state=StepState.SUCCEEDED,
        event=Event.QUESTION_ANSWERED,
        is_success=True,
        says_why=False,
    ),
    _Ending.SKIPPED: _Way(
        arrow="skip_step",
        state=StepState.SKIPPED,
        event=Event.STEP_SKIPPED,
        is_success=False,
        says_why=True,
    ),
    _Ending.PASSED: _Way(
        arrow="fail_step",
        state=StepState.FAILED,
        event=Event.STEP_FAILED,
        is_success=False,
        says_why=True,
    ),
}
_LAST_SUCCESS: Final = case(
    (bind(run.c.last_successful_step).is_not(None), bind(run.c.last_successful_step)),
    else_=run.c.last_successful_step,
)
_IS_RETRIED: Final = bindparam("b_is_retried", type_=Boolean(create_constraint=False))


def _guard(ending: _Ending) -> Update:
    way = _WAYS[ending]
    if ending is _Ending.CONFIRMED:
        # Nobody holds a claim on a step in doubt; its state is what the answer was asked for.
        guard = update(step).where(key_is(), one_of(step.c.state, sources(way.arrow)))
    else:
        guard = claimed_step(way.arrow)
    values = ended(way.state)
    if way.is_success:
        return guard.values({**values, "output": bind(step.c.output), "error": null()})
    values["exclusive_key"] = null()
    if ending is _Ending.PASSED:
        values["error"] = bind(step.c.error)
    return guard.values(values)


def _run_values(ending: _Ending) -> dict[str, Any]:
    values: dict[str, Any] = {
        "operator_state": bind(run.c.operator_state),
        "last_successful_step": _LAST_SUCCESS,
        # A question is no attempt of the step, and the attempt that was lost has been counted.
        "attempt_count": run.c.attempt_count + (0 if ending in (_Ending.CONFIRMED, _Ending.VERIFIED) else 1),
    }
    if ending is _Ending.PASSED:
        values["error_summary"] = bind(entry.c.reason)
    else:
        # What an earlier attempt of this step failed with is over.
        values["error_summary"] = case((_IS_RETRIED, null()), else_=run.c.error_summary)
    return values


def _change(ending: _Ending, following: _Next) -> Change:
    way = _WAYS[ending]
    rows = [step_entry(way.event, reason=bind(entry.c.reason) if way.says_why else null())]
    if ending is _Ending.VERIFIED:
        rows = [step_entry(way.event, detail=bind(entry.c.detail))]
    run_update = this_run().values(**_run_values(ending))
    match following:
        case _Next.NONE:
            rows.append(run_entry(Event.RUN_SUCCEEDED, when=When.RUN_CHANGED))
            run_update = this_run("succeed_run").values(
                **_run_values(ending),
                state=RunState.SUCCEEDED.value,
                finished_at=now(),
                output=bind(run.c.output, "run_output"),
            )
        case _Next.READY:
            rows += ready_rows()
        case _Next.CLAIMED:
            rows += claimed_rows()
    return Change(
        guard=_guard(ending),
        returning=MATCHED,
        rows=tuple(rows),
        run_update=run_update,
        changed_columns=FACTS_OF_NEXT if following is _Next.CLAIMED else (),
    )


_CHANGES: Final = {(ending, following): _change(ending, following) for ending in _Ending for following in _Next}


def _end(
    connection: Connection,
    ending: _Ending,
    row: Claim | StepRecord,
    onward: Onward,
    *,
    token: ClaimToken | None,
    **values: Any,
) -> GoneOn | None:
    following, kind = onward.following, _Next.NONE
    parameters = {
        **key_parameters(row.key),
        "b_claim_token": token,
        "b_actor": ENGINE,
        "b_operator_state": onward.operator_state,
        "b_last_successful_step": None,
        "b_run_output": None,
        "b_is_retried": row.attempt > 1 or ending is _Ending.CONFIRMED,
        **values,
    }
    if onward.standing is not None:
        parameters["b_run_output"] = onward.standing.output
    if following is not None:
        kind = _Next.READY if following.claim is None else _Next.CLAIMED
        parameters |= following_parameters(following, row.start_order, onward.resend_seconds)
    matched = apply(connection, _CHANGES[ending, kind], parameters)
    if matched is None:
        return None
    if following is None or not isinstance(row, Claim):
        return GoneOn()
    return GoneOn(claim=claim_of_next(row, following, matched))


def succeed_step(connection: Connection, claim: Claim, *, output: JsonValue, onward: Onward) -> GoneOn | None:
    """Record a forward attempt that answered, and what comes next. One commit of its own.

    Args:
        connection: a `Ledger.change()` scope, or a transaction.
        claim: of the attempt.
        output: validated, as JSON; the run's own when this closes it.
        onward: what comes next.

    Returns:
        `None` when the claim was lost meanwhile: nothing was written, the answer is late (R3).
    """
    return _end(
        connection,
        _Ending.SUCCEEDED,
        claim,
        onward,
        token=claim.token,
        b_output=output,
        b_run_output=output,
        b_last_successful_step=claim.step,
    )


def skip_step(connection: Connection, claim: Claim, *, reason: str, onward: Onward) -> GoneOn | None:
    """Record that a forward step had nothing to do, and go on as after a success. Returns as `succeed_step`."""
    return _end(connection, _Ending.SKIPPED, claim, onward, token=claim.token, b_reason=reason)


def pass_failed_step(
    connection: Connection,
    claim: Claim,
    *,
    error: Mapping[str, Any],
    reason: str,
    onward: Onward,
    no_effect: bool = False,
) -> GoneOn | None:
    """Walk `fail_step` for a step whose contract says `on_failure="continue"`, and go on. Returns as `succeed_step`."""
    return _end(
        connection,
        _Ending.PASSED,
        claim,
        onward,
        token=claim.token,
        b_error={**error, "no_effect": True} if no_effect else dict(error),
        b_reason=reason,
    )


def confirm_step(
    connection: Connection,
    doubted: StepRecord,
    *,
    output: JsonValue,
    reason: str,
    onward: Onward,
) -> GoneOn | None:
    """Record that a step in doubt had happened after all, and go on as after a success.

    Needs the transaction of the answer that says so.

    Returns:
        `None` when the step is not in doubt any more, because a person has decided: nothing was written.
    """
    return _end(
        connection,
        _Ending.CONFIRMED,
        doubted,
        onward,
        token=None,
        b_output=output,
        b_run_output=output,
        b_reason=reason,
        b_last_successful_step=doubted.step,
    )


def verify_step(connection: Connection, question: Claim, *, run_output: JsonValue, onward: Onward) -> GoneOn | None:
    """Walk `succeed_step` for the question whether what a step has published is live: it is. One commit of its own.

    Args:
        connection: a `Ledger.change()` scope, or a transaction.
        question: the claim on the question's row.
        run_output: the step's output, which is the run's when this closes it.
        onward: what comes next.

    Returns:
        `None` when the claim was lost meanwhile: nothing was written.
    """
    answer = {"answer": Answer.DONE.value}
    return _end(
        connection,
        _Ending.VERIFIED,
        question,
        onward,
        token=question.token,
        b_output=answer,
        b_detail=answer,
        b_run_output=run_output,
        b_last_successful_step=question.step,
    )
