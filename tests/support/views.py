"""Runs as a person sees them when they decide, made without a database; and the pipeline that they are of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from backout.compensations.requests import RunView
from backout.ledger.records import ReviewRecord, RunRecord, StepKey, StepRecord
from backout.pipelines.contract import Effect, Plan, RecoveryKind, StepContract
from backout.states import FINAL_RUN_STATES, Direction, ReviewReason, RollbackOutcome, RunState, StepState
from tests.support.records import AN_INSTANT, RUN, step_record
from tests.support.runs import contract, question, undoing

CHECK: Final = contract(
    "check", effect=Effect.READ, recovery=RecoveryKind.NOTHING_TO_UNDO, recovery_reason="", idempotent=True
)
RESERVE: Final = contract("reserve", idempotent=True, **undoing("release the stock"))
CHARGE: Final = contract("charge", reconcile=question("shop.find_charge"), **undoing("refund the charge"))
BOOK: Final = contract("book", **undoing("cancel the courier", idempotent=False))
PAGE: Final = contract("page", effect=Effect.PUBLISH, verify=question("shop.see_page"), **undoing("take it down"))
RECEIPT: Final = contract("receipt", effect=Effect.NOTIFY, recovery_reason="a message cannot be unread")
SHIP: Final = contract("ship", recovery=RecoveryKind.IRREVERSIBLE, recovery_reason="it has left the house")

SHOP: Final = Plan(pipeline="shop", steps=(CHECK, RESERVE, CHARGE, BOOK, PAGE, RECEIPT))
BACK: Final = Direction.COMPENSATION
ASKED: Final = Direction.RECONCILE
SEEN: Final = Direction.VERIFY


def row(plan: Plan, name: str, state: StepState, **values: Any) -> StepRecord:
    """Return a row of a step; one that was never called has no attempt."""
    fresh = (StepState.PENDING, StepState.READY, StepState.WAITING, StepState.KEPT)
    attempt = values.pop("attempt", 0 if state in fresh else 1)
    return step_record(name, plan.position_of(name), state, attempt=attempt, **values)


def done(plan: Plan, *names: str, **values: Any) -> list[StepRecord]:
    """Return the rows of steps that have succeeded."""
    return [row(plan, name, StepState.SUCCEEDED, output={"step": name}, **values) for name in names]


def review_of(about: StepRecord | None, reason: ReviewReason, number: int = 7) -> ReviewRecord:
    """Return an open review of a row, or of the run."""
    return ReviewRecord(
        id=number,
        run_id=RUN,
        round=about.round if about else 1,
        position=about.position if about else None,
        step=about.step if about else None,
        direction=about.direction if about else None,
        reason=reason,
        evidence={},
        opened_at=AN_INSTANT,
        deadline_at=None,
        assignee=None,
        decision=None,
        decided_by=None,
        note=None,
        decided_at=None,
    )


def run_record(state: RunState, **values: Any) -> RunRecord:
    """Return a run."""
    defaults: dict[str, Any] = {
        "id": RUN,
        "pipeline": "shop",
        "definition_digest": "0" * 32,
        "source_event_id": None,
        "subject_id": None,
        "round": 1,
        "operator_state": "as it is",
        "last_successful_step": None,
        "external_ids": {},
        "attempt_count": 1,
        "next_retry_at": None,
        "requires_human_review": state is RunState.IN_REVIEW,
        "error_summary": None,
        "rollback_outcome": RollbackOutcome.NONE,
        "input": {},
        "output": None,
        "created_at": AN_INSTANT,
        "updated_at": AN_INSTANT,
        "finished_at": AN_INSTANT if state in FINAL_RUN_STATES else None,
    }
    return RunRecord(state=state, **{**defaults, **values})


def view_of(
    state: RunState,
    steps: Iterable[StepRecord],
    *,
    plan: Plan = SHOP,
    reviews: Iterable[ReviewRecord] = (),
    is_rollback_open: bool = False,
    alive_until: Any = None,
    **run: Any,
) -> RunView:
    """Return a run as a person sees it; its last success is that of the newest rows unless another one is given."""
    rows = tuple(steps)
    succeeded = [one.step for one in rows if one.direction is Direction.FORWARD and one.state is StepState.SUCCEEDED]
    values = {"last_successful_step": succeeded[-1] if succeeded else None, **run}
    values.setdefault("round", max((one.round for one in rows), default=1))
    return RunView(
        plan=plan,
        run=run_record(state, **values),
        steps=rows,
        reviews=tuple(reviews),
        is_rollback_open=is_rollback_open,
        alive_until=alive_until,
    )


def with_contract(plan: Plan, name: str, **values: Any) -> Plan:
    """Return the plan with another contract of one step."""
    changed: list[StepContract] = [replace(one, **values) if one.name == name else one for one in plan.steps]
    return replace(plan, steps=tuple(changed))


def key_of(about: StepRecord) -> StepKey:
    """Return the name of a row."""
    return about.key
