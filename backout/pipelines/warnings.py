"""What a careful reader of a pipeline's contracts would warn of. Pure; nothing here refuses anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from backout.pipelines.contract import Effect, OnFailure, Plan, RecoveryKind, StepContract
from backout.pipelines.recorded_ids import UNSEEN, RecordedIds

_NOTHING_SEEN: Final[Mapping[str, RecordedIds]] = MappingProxyType({})


class WarningCode(StrEnum):
    """What is warned of. Stable: programs read it from `backout check --json`."""

    DOUBT_ASKS_PERSON = "doubt_asks_person"
    """An attempt that is cut off in the middle will ask a person (R8)."""
    MAY_FAIL_AFTER_IRREVERSIBLE = "may_fail_after_irreversible"
    """A later step may ask for a rollback that cannot pass an irreversible one (R7)."""
    PUBLISHED_UNSEEN = "published_unseen"
    """Something is made live, and nobody looks whether it is."""
    NOTIFY_RECORDS_NO_ID = "notify_records_no_id"
    """A message is sent, and nobody could prove to its provider that it was."""
    SHARED_EXTERNAL_ID = "shared_external_id"
    """Two steps record an external id under one name; the run keeps the later one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractWarning:
    """One warning.

    Attributes:
        step: the step whose contract can remove it.
        problem: what may happen, without a full stop.
        remedy: what to write, without a full stop.
    """

    code: WarningCode
    step: str
    problem: str
    remedy: str


def find_warnings(plan: Plan, recorded_ids: Mapping[str, RecordedIds] = _NOTHING_SEEN) -> tuple[ContractWarning, ...]:
    """Return what is to be warned of in a pipeline, in the order of its steps; empty when there is nothing.

    Args:
        plan: of the pipeline.
        recorded_ids: `PipelineDefinition.recorded_ids`; what is not seen is not warned of.
    """
    warnings: list[ContractWarning] = []
    recorded_by: dict[str, str] = {}
    for position, step in enumerate(plan.steps):
        if _asks_person_in_doubt(step):
            warnings.append(_warn_of_doubt(step))
        if step.effect is Effect.PUBLISH and step.verify is None:
            warnings.append(_warn_of_unseen(step))
        if step.recovery is RecoveryKind.IRREVERSIBLE:
            later = [other.name for other in plan.steps[position + 1 :] if other.on_failure is OnFailure.ROLLBACK]
            if later:
                warnings.append(_warn_of_irreversible(step, later))
        ids = recorded_ids.get(step.name, UNSEEN)
        if step.effect is Effect.NOTIFY and ids.are_certainly_none:
            warnings.append(_warn_of_no_id(step))
        for name in sorted(ids.names):
            if name in recorded_by:
                warnings.append(_warn_of_shared_id(step, name, recorded_by[name]))
            recorded_by.setdefault(name, step.name)
    return tuple(warnings)


def _asks_person_in_doubt(step: StepContract) -> bool:
    return step.effect is not Effect.READ and not step.idempotent and step.reconcile is None


def _warn_of_doubt(step: StepContract) -> ContractWarning:
    return ContractWarning(
        code=WarningCode.DOUBT_ASKS_PERSON,
        step=step.name,
        problem="an attempt that is cut off in the middle will ask a person: nobody else can say whether it happened",
        remedy=(
            f"Write `@{step.name}.reconcile`, or declare `idempotent=True` if a second call under the same "
            "idempotency key has no second effect"
        ),
    )


def _warn_of_unseen(step: StepContract) -> ContractWarning:
    return ContractWarning(
        code=WarningCode.PUBLISHED_UNSEEN,
        step=step.name,
        problem="it publishes, and the run goes on without anybody having seen that it is live",
        remedy=f"Write `@{step.name}.verify`: a function that returns True when it is live",
    )


def _warn_of_irreversible(step: StepContract, later: list[str]) -> ContractWarning:
    return ContractWarning(
        code=WarningCode.MAY_FAIL_AFTER_IRREVERSIBLE,
        step=step.name,
        problem=(
            f"it cannot be undone, and {', '.join(later)} after it may fail and ask for a rollback, which then stops "
            "here and asks a person"
        ),
        remedy='Move it to the end, or give the later steps `on_failure` "park", "continue" or "review"',
    )


def _warn_of_no_id(step: StepContract) -> ContractWarning:
    return ContractWarning(
        code=WarningCode.NOTIFY_RECORDS_NO_ID,
        step=step.name,
        problem="it sends a message and records no id of it: nobody could ask its provider whether it arrived",
        remedy='Write `ctx.record_external_id("message", …)` with the id that the provider returned',
    )


def _warn_of_shared_id(step: StepContract, name: str, first: str) -> ContractWarning:
    return ContractWarning(
        code=WarningCode.SHARED_EXTERNAL_ID,
        step=step.name,
        problem=(
            f"it records the external id {name!r}, as {first} does before it: the run shows only the later of the two"
        ),
        remedy=f'Give it a name of its own, such as `ctx.record_external_id("{step.name}_{name}", …)`',
    )
