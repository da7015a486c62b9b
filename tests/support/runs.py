"""Runs in a real ledger, brought step by step into the state that a test needs; and the order pipeline they are of."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backout.identifiers import RunId, TaskId, new_claim_token, new_run_id, new_task_id
from backout.ledger import transitions
from backout.ledger.records import Claim, StepKey
from backout.ledger.session import Ledger
from backout.ledger.transitions import NewCompensation, NewRun, NextStep, Onward
from backout.pipelines.contract import (
    Backoff,
    CompensationContract,
    Effect,
    OnCompensationFailure,
    OnFailure,
    Plan,
    QuestionContract,
    RecoveryKind,
    RetryRule,
    StepContract,
)
from backout.states import Direction, ReviewReason, RollbackOutcome, StepState


def question(task: str, **values: Any) -> QuestionContract:
    """Return how a reconcile or verify function is asked."""
    return QuestionContract(task=task, retry=retry_rule(), timeout_seconds=60.0, **values)


def retry_rule(limit: int = 5, **values: object) -> RetryRule:
    """Return a retry rule with the defaults of `Retry`."""
    defaults = {"delay_seconds": 10.0, "backoff": Backoff.EXPONENTIAL, "max_delay_seconds": 3600.0, "jitter": 0.1}
    return RetryRule(limit=limit, **{**defaults, **values})  # type: ignore[arg-type] # plain values for a test


def contract(name: str, **values: object) -> StepContract:
    """Return a step's contract: a write that nobody can reconcile and that may stay."""
    defaults: dict[str, object] = {
        "task": f"shop.pipelines.{name}",
        "effect": Effect.WRITE,
        "recovery": RecoveryKind.KEEP,
        "recovery_reason": "it does no harm",
        "idempotent": False,
        "retry": retry_rule(),
        "timeout_seconds": 600.0,
        "on_failure": OnFailure.ROLLBACK,
        "done": f"{name}_done",
        "pending": f"{name}_pending",
        "failed": f"{name}_failed",
    }
    return StepContract(name=name, **{**defaults, **values})  # type: ignore[arg-type] # plain values for a test


def undoing(action: str, **values: object) -> dict[str, object]:
    """Return the fields of a contract whose step is undone by a compensation."""
    defaults: dict[str, object] = {
        "task": "shop.pipelines.undo",
        "action": action,
        "retry": retry_rule(),
        "timeout_seconds": 120.0,
        "on_failure": OnCompensationFailure.HALT,
        "idempotent": True,
    }
    compensation = CompensationContract(**{**defaults, **values})  # type: ignore[arg-type] # plain values for a test
    return {"recovery": RecoveryKind.COMPENSATE, "recovery_reason": "", "compensation": compensation}


ORDER_PLAN = Plan(
    pipeline="fulfil_order",
    steps=(
        contract("check_address", effect=Effect.READ, recovery=RecoveryKind.NOTHING_TO_UNDO, idempotent=True),
        contract("reserve_stock", **undoing("release the stock")),
        contract("charge_card", **undoing("refund the charge"), reconcile=question("shop.pipelines.find_charge")),
        contract("book_courier", **undoing("cancel the courier"), retry=retry_rule(2)),
        contract("send_receipt", effect=Effect.NOTIFY, on_failure=OnFailure.CONTINUE),
    ),
)
"""Five steps: a read, three writes that are undone, and a notification that may fail."""


@dataclass(kw_only=True)
class RecordedRun:
    """A run in a ledger, and what its worker holds."""

    ledger: Ledger
    plan: Plan = ORDER_PLAN
    subject: str | None = "customer-17"
    source_event: str | None = None
    input: Any = field(default_factory=lambda: {"id": "order-1", "amount_cents": 4200})
    id: RunId = field(default_factory=new_run_id)

    def __post_init__(self) -> None:
        """Record it, with its first step ready."""
        first = self.plan.steps[0]
        new = NewRun(
            id=self.id,
            pipeline=self.plan.pipeline,
            definition_digest=self.plan.digest,
            plan=self.plan.as_json,
            source_event_id=self.source_event,
            subject_id=self.subject,
            operator_state=first.pending,
            input=self.input,
            first_step=first.name,
            idempotency_key=f"{self.id}:{first.name}",
            task_id=TaskId(self.id),
            actor="process:shop",
        )
        with self.ledger.transaction() as connection:
            assert transitions.create_run(connection, new, resend_seconds=60)

    def key(self, step: str, direction: Direction = Direction.FORWARD) -> StepKey:
        """Return the key of a step's row."""
        return StepKey(run_id=self.id, round=1, position=self.plan.position_of(step), direction=direction)

    def claim(self, step: str, *, attempt: int = 1, direction: Direction = Direction.FORWARD) -> Claim:
        """Start an attempt."""
        with self.ledger.change() as connection:
            claim = transitions.claim_step(
                connection,
                self.key(step, direction),
                token=new_claim_token(),
                lease_seconds=60,
                worker="worker-1",
                attempt=attempt,
            )
        assert claim is not None, f"{step} is not due"
        return claim

    def succeed(self, *steps: str, ids: Mapping[str, str] | None = None) -> None:
        """Run steps that succeed, each at its next attempt; the last of the plan closes the run."""
        for name in steps:
            claim = self.claim(name)
            for id_name, value in (ids or {}).items():
                with self.ledger.change() as connection:
                    transitions.record_external_id(connection, claim, name=id_name, value=value)
            following = self.plan.step_after(claim.key.position)
            with self.ledger.change() as connection:
                assert transitions.succeed_step(
                    connection,
                    claim,
                    output={"step": name},
                    onward=Onward(
                        following=self._next(following),
                        operator_state=self.plan.steps[claim.key.position].done,
                        resend_seconds=60,
                    ),
                )

    def retry(self, step: str, message: str, *, attempt: int = 1, delay_seconds: float = 0.0) -> None:
        """Run an attempt that fails and is followed by another."""
        claim = self.claim(step, attempt=attempt)
        with self.ledger.change() as connection:
            assert transitions.schedule_retry(
                connection,
                claim,
                error={"type": "builtins.ConnectionError", "message": message},
                reason=f"ConnectionError: {message}",
                delay_seconds=delay_seconds,
                resend_seconds=60,
            )

    def fail(self, step: str, message: str, *, attempt: int = 1) -> None:
        """Run an attempt that fails for good and turns the run round, with the plan of its rollback."""
        claim = self.claim(step, attempt=attempt)
        names = [contract.name for contract in self.plan.steps[: claim.key.position + 1]]
        with self.ledger.transaction() as connection:
            assert transitions.fail_step(
                connection,
                claim,
                error={"type": "shop.NoCourier", "message": message},
                reason=f"NoCourier: {message}",
            )
            assert transitions.begin_rollback(
                connection,
                self.id,
                operator_state=f"{step}_failed_rolling_back",
                error_summary=f"NoCourier: {message}",
                requested_by="engine",
                compensations=tuple(reversed(names)),
            )
            transitions.plan_compensation(connection, self._plan_rollback(names), actor="engine", resend_seconds=60)

    def undo(self, *steps: str) -> None:
        """Run compensations that succeed, and make the next one ready."""
        for name in steps:
            claim = self.claim(name, direction=Direction.COMPENSATION)
            with self.ledger.transaction() as connection:
                assert transitions.succeed_compensation(connection, claim, output=None, operator_state=f"{name}_undone")
                for position in range(claim.key.position - 1, -1, -1):
                    if self.plan.steps[position].compensation is not None:
                        key = self.key(self.plan.steps[position].name, Direction.COMPENSATION)
                        assert transitions.ready_step(connection, key, resend_seconds=60)
                        break

    def finish_rollback(self, outcome: RollbackOutcome = RollbackOutcome.COMPLETE) -> None:
        """Close the run after its rollback."""
        with self.ledger.transaction() as connection:
            assert transitions.finish_rollback(
                connection, self.id, operator_state="book_courier_failed_rolled_back", outcome=outcome
            )

    def ask_person(self, step: str, reason: ReviewReason) -> None:
        """Cut an attempt off in the middle, and ask a person what became of it."""
        claim = self.claim(step)
        with self.ledger.transaction() as connection:
            assert transitions.doubt_step(
                connection,
                claim.key,
                token=claim.token,
                reason="its worker was killed",
                actor="sweeper",
                operator_state=f"{step}_in_doubt",
            )
            transitions.review_run(
                connection,
                self.id,
                reason=reason,
                about=claim.key,
                step_name=step,
                evidence={"attempt": 1, "idempotency_key": claim.idempotency_key, "do_not_repeat": [step]},
                operator_state=f"{step}_in_doubt",
                rollback_outcome=RollbackOutcome.NONE,
            )

    def park(self, reason: str) -> None:
        """Let the run wait for a person, with what was done kept."""
        with self.ledger.transaction() as connection:
            assert transitions.park_run(connection, self.id, operator_state="parked", reason=reason)

    def roll_back_order(self) -> None:
        """Run the order pipeline into a courier that fails at attempt 3, and undo everything."""
        self.succeed("check_address")
        self.succeed("reserve_stock", ids={"hold": "h_17"})
        self.succeed("charge_card", ids={"charge": "ch_881"})
        self.retry("book_courier", "timed out")
        self.retry("book_courier", "timed out again", attempt=2)
        self.fail("book_courier", "no courier in that area", attempt=3)
        self.undo("book_courier", "charge_card", "reserve_stock")
        self.finish_rollback()

    def _next(self, following: StepContract | None) -> NextStep | None:
        if following is None:
            return None
        return NextStep(
            name=following.name,
            position=self.plan.position_of(following.name),
            direction=Direction.FORWARD,
            idempotency_key=f"{self.id}:{following.name}",
            task_id=new_task_id(),
        )

    def _plan_rollback(self, names: list[str]) -> list[NewCompensation]:
        states = {RecoveryKind.KEEP: StepState.KEPT, RecoveryKind.NOTHING_TO_UNDO: StepState.SKIPPED}
        planned: list[NewCompensation] = []
        for order, name in enumerate(reversed(names), start=1):
            step = self.plan.steps[self.plan.position_of(name)]
            state = states.get(step.recovery, StepState.PENDING if planned else StepState.READY)
            planned.append(
                NewCompensation(
                    key=self.key(name, Direction.COMPENSATION),
                    step=name,
                    state=state,
                    start_order=order,
                    idempotency_key=f"{self.id}:{name}:undo",
                    task_id=TaskId(str(uuid.uuid4())),
                    reason={StepState.KEPT: step.recovery_reason, StepState.SKIPPED: "it only reads"}.get(state, ""),
                ),
            )
        return planned
