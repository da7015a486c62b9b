"""Steps for the model: a contract, and what its functions may do, from which every combination is tried."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from backout.pipelines.contract import (
    Effect,
    OnCompensationFailure,
    OnFailure,
    Plan,
    QuestionContract,
    RecoveryKind,
    StepContract,
)
from tests.support.runs import contract, question, retry_rule, undoing

RETRY: Final = retry_rule(1)


class Result(StrEnum):
    """How a function ends."""

    OK = "returns"
    RETRY = "raises an error that is retried"
    FINAL = "fails for good"
    NO_EFFECT = "fails for good and says that nothing happened"
    SKIP = "says that there is nothing to do"
    TIMEOUT = "is cut off by its timeout"
    PARK = "parks the run"
    HUMAN = "asks for a person"
    LATE = "is not called, because the deadline of the run has passed"
    CUT_OFF = "is cut off by a shutdown"
    ANSWER = "answers what it saw"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStep:
    """A step, and how its functions may end.

    Attributes:
        before: how the step may end without its effect.
        after: how it may end after its effect.
        undo_before: how the compensation may end without its effect.
        undo_after: how the compensation may end after its effect.
        question: how its questions may end instead of with the truth.
    """

    contract: StepContract
    before: tuple[Result, ...]
    after: tuple[Result, ...]
    undo_before: tuple[Result, ...]
    undo_after: tuple[Result, ...]
    question: tuple[Result, ...]


def steps_of(pipeline: tuple[ModelStep, ...]) -> Plan:
    """Return the plan of a pipeline."""
    return Plan(pipeline="modelled", steps=tuple(step.contract for step in pipeline))


_UNHAPPY: Final = frozenset({Result.RETRY, Result.FINAL, Result.NO_EFFECT, Result.TIMEOUT})


def model_step(
    name: str,
    *,
    idempotent: bool = False,
    reconcile: bool = False,
    verify: bool = False,
    recovery: RecoveryKind = RecoveryKind.COMPENSATE,
    effect: Effect = Effect.WRITE,
    on_failure: OnFailure = OnFailure.ROLLBACK,
    undo_idempotent: bool = True,
    undo_on_failure: OnCompensationFailure = OnCompensationFailure.HALT,
    before: Set[Result] = _UNHAPPY,
    undo_fails: bool = True,
    question_fails: bool = True,
) -> ModelStep:
    """Return a step whose functions tell the truth about themselves.

    An error that is retried comes before the effect, unless the step is idempotent: that an attempt which raises may be
    followed by another is the contract of the function, and no promise of the engine.
    """
    undo = undoing(f"undo {name}", idempotent=undo_idempotent, on_failure=undo_on_failure, retry=RETRY)
    fields = undo if recovery is RecoveryKind.COMPENSATE else {"recovery": recovery, "recovery_reason": "so be it"}
    made = contract(
        name,
        **fields,
        idempotent=idempotent,
        reconcile=_asked(f"find {name}") if reconcile else None,
        verify=_asked(f"see {name}") if verify else None,
        effect=effect,
        on_failure=on_failure,
        retry=RETRY,
    )
    again = {Result.RETRY} if idempotent else set()
    undo_again = {Result.RETRY} if undo_idempotent else set()
    return ModelStep(
        contract=made,
        before=_ordered(before | ({Result.OK} if effect is Effect.READ else set())),
        after=_ordered({Result.OK} | (before & {Result.FINAL, Result.TIMEOUT, *again})),
        undo_before=_ordered({Result.RETRY, Result.FINAL, Result.TIMEOUT} if undo_fails else set()),
        undo_after=_ordered({Result.OK, *({Result.TIMEOUT, *undo_again} if undo_fails else set())}),
        question=_ordered({Result.RETRY, Result.FINAL, Result.UNKNOWN} if question_fails else set()),
    )


def _ordered(results: Iterable[Result]) -> tuple[Result, ...]:
    # A set's order differs from process to process, and with it the first counterexample.
    return tuple(sorted(results))


def _asked(task: str) -> QuestionContract:
    return replace(question(task), retry=RETRY)
